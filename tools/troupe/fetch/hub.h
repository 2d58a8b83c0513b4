#pragma once

#include <string>
#include <vector>

#include <troupe/tools/troupe/fetch/fetch.h>

// Models on a Hugging Face hub, as people name them: hf://USER/REPO, and then, after a colon, a
// QUANT, a FILE or "safetensors". HF_ENDPOINT names another hub, and HF_TOKEN is its bearer token.

namespace troupe::tools {

struct HubModel {
  std::string name;               // of the file without its extension, or of the repository
  std::vector<RemoteFile> files;  // the names are those inside the model's folder
  bool folder = false;            // config.json and safetensors, not GGUF
  std::string license;            // as the hub states it; "" if it does not
  bool gated = false;             // files are given only to people who have agreed to its terms
  std::string page;               // the address of the repository's page, for people
};

// Returns `source` as hf://... if it is one of the ways in which people write a repository of the
// hub: hf://USER/REPO, hf.co/USER/REPO:CHOICE, huggingface.co/USER/REPO, or the address of its page
// or of a file's page. Any other text is returned as it is.
std::string as_hub_address(const std::string& source);

// Asks the hub which files the repository has, and chooses those that are meant.
//   hf://USER/REPO:FILE          the GGUF file with this path, with all its parts
//   hf://USER/REPO:QUANT         the GGUF file whose name contains QUANT, in upper or lower case
//   hf://USER/REPO:safetensors   the folder's model: config.json, safetensors, tokenizer
//   hf://USER/REPO               the only GGUF file there is; without any, the folder's model
//   Errors: kInvalidArgument (none of these; several files fit: names them; a hub over http:// that
//   is not this machine), kNotFound (no such repository or file: says which there are),
//   kPermissionDenied (needs HF_TOKEN), kUnavailable, kBadData (the answer is not that of a hub, or
//   parts of a model are missing).
Result<HubModel> find_on_hub(const std::string& hf_url, const FetchLimits& limits);

// Returns HF_TOKEN if `url` is an address of the hub, otherwise "".
std::string token_for(const std::string& url);

}  // namespace troupe::tools
