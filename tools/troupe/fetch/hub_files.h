#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <troupe/runtime/status.h>

// Chooses the files of a repository that make up a model. Pure.

namespace troupe::tools {

struct ListedFile {
  std::string path;  // in the repository
  std::uint64_t bytes = 0;
  std::optional<std::string> sha256;
  std::string git = {};  // Git's hash of it; "" if it is not stated
};

// A GGUF model: one file, or all parts of one (NAME-00001-of-00003.gguf), in order.
struct GgufChoice {
  std::string name;  // of the file, without its part and extension
  std::vector<ListedFile> parts;
};

// Chooses among the GGUF files of `files` the model that `choice` means ("" means the only one);
// see hub.h. `where` is hf://USER/REPO, for messages.
Result<GgufChoice> choose_gguf(const std::vector<ListedFile>& files, const std::string& choice,
                               const std::string& where);
bool has_gguf(const std::vector<ListedFile>& files);
// True if there is a config.json at the top: a model of safetensors, or what claims to be one.
bool has_folder(const std::vector<ListedFile>& files);

constexpr const char* kIndexFile = "model.safetensors.index.json";

// Lists the files of a safetensors model at the top of the repository. These are the texts that
// Troupe reads, and the weights: model.safetensors, or else the index file and the shards that it
// names (`index` is its text).
//   Errors: kNotFound (no config.json, no weights, a shard that is not there), kBadData (the index
//   cannot be understood).
Result<std::vector<ListedFile>> choose_folder(const std::vector<ListedFile>& files,
                                              const std::string& index, const std::string& where);
// True if choose_folder() needs the index.
bool needs_index(const std::vector<ListedFile>& files);

}  // namespace troupe::tools
