#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <troupe/runtime/status.h>

// Models on a Hugging Face hub, as people name them: hf://USER/REPO, hf://USER/REPO:QUANT or
// hf://USER/REPO:FILE. HF_ENDPOINT names another hub, HF_TOKEN is its bearer token.

namespace troupe::tools {

struct HubFile {
  std::string url;                    // where its bytes are
  std::string name;                   // file name without the extension
  std::optional<std::string> sha256;  // as the hub states it for large files
  std::uint64_t bytes = 0;
};

// Asks the hub which GGUF files the repository has, and chooses the one that is meant: FILE as it
// is spelt; else the one whose name holds QUANT, in any case; else the only one there is.
//   Errors: kInvalidArgument (not hf://USER/REPO...; several files fit: names them; a hub over
//   http:// that is not this machine), kNotFound (no such repository or file: says which there
//   are), kPermissionDenied (needs HF_TOKEN), kUnavailable, kBadData (not what a hub answers).
Result<HubFile> find_on_hub(const std::string& hf_url);

// The token of HF_TOKEN, "" without one.
std::string hub_token();

}  // namespace troupe::tools
