#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <troupe/runtime/status.h>

// Models that other programs have fetched onto this machine, by names such as
// "ollama:llama3.2:1b". They are read in place and never copied or changed, and they are trusted no
// more than any other file: hashes in their names do not count, only a bounded part of a program's
// own files is read, and a model's files must lie within the program's folder.

namespace troupe::tools {

struct FoundModel {
  // A name: "ollama:NAME:TAG" (as Ollama prints it), "lmstudio:PUBLISHER/REPO/FILE.gguf",
  // "huggingface:USER/REPO" (a folder) or "huggingface:USER/REPO/FILE.gguf", "llama.cpp:FILE.gguf".
  std::string name;
  std::filesystem::path path;  // of the GGUF file (its first part) or the folder
  std::uint64_t bytes = 0;
  std::string trouble;  // why it cannot be used; "" if it can
};

// A folder in which a program keeps its models.
struct FoundPlace {
  std::string program;           // "ollama", the prefix of its models' names
  std::filesystem::path folder;  // that is there
};

// Returns the folders of this user's programs, as their variables (OLLAMA_MODELS, HF_HOME,
// HF_HUB_CACHE, LLAMA_CACHE, XDG_CACHE_HOME) and HOME say.
std::vector<FoundPlace> found_places();

// Lists the models in `places`, by name. Folders that cannot be read have none.
std::vector<FoundModel> find_models(const std::vector<FoundPlace>& places);

// Says whether `name` begins with one of the programs' names and a colon.
bool is_found_name(const std::string& name);

// Returns the path of the model `name`, for which is_found_name() holds. Ollama's tag may be left
// out if it is "latest".
//   Errors: kNotFound (says which models there are), kFailedPrecondition (it cannot be used; says
//   why).
Result<std::filesystem::path> resolve_found(const std::string& name,
                                            const std::vector<FoundPlace>& places);

}  // namespace troupe::tools
