#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/store/manifest.h>
#include <troupe/runtime/status.h>

// How the store remembers models by name, and how it lays out a model of several files:
//
//   models/<name>.json     {"sha256","bytes"}; for a model of several files also "files":
//                          [{"name","sha256","bytes"},...]. sha256 is that of the whole file
//   folders/<listing>/     for a model of several files: under each file's name a link to
//                          ../../blobs/<sha256>. <listing> is listing_sha256() of the files
//
// Any thread may call.

namespace troupe::model {

// A file of a model that consists of several: a Hugging Face folder, or a GGUF model in parts.
struct ModelFile {
  std::string name;  // in its folder
  BlobRef blob;
};

struct ModelEntry {
  std::string name, sha256;           // sha256 is that of the whole file (Manifest::file_sha256)
  std::filesystem::path path;         // of the file, of the folder, or of the first part
  std::uint64_t bytes = 0;            // on the disk, all files together
  std::vector<ModelFile> files = {};  // empty if the model is one file
};

// Returns the blobs that a model consists of.
std::vector<BlobRef> blobs_of(const ModelEntry& entry);

// Returns the hash of a list of files as `sha256sum` prints it, sorted by name: "HEX  NAME" and a
// newline for each.
std::string listing_sha256(const std::vector<ModelFile>& files);

// Says whether `name` can be a model's name: letters, digits, '.', '_' and '-', because it becomes
// a file name and is typed at shells.
bool is_model_name(const std::string& name);
// Checks a name. Errors: kInvalidArgument unless is_model_name().
Status check_model_name(const std::string& name);

// Returns nothing if there is no such entry, or if it makes no sense.
std::optional<ModelEntry> read_entry(const std::filesystem::path& root, const std::string& name);
Status write_entry(const std::filesystem::path& root, const ModelEntry& entry);

// Returns where a model of these files is opened: the folder, or the first part of a GGUF model in
// parts.
std::filesystem::path path_of_files(const std::filesystem::path& root,
                                    const std::vector<ModelFile>& files);
// Makes the folder of links, or repairs it.
Status link_files(const std::filesystem::path& root, const std::vector<ModelFile>& files);
// Returns the <listing> of a path that path_of_files() gave, and "" for any other path.
std::string listing_of(const std::filesystem::path& root, const std::filesystem::path& path);

}  // namespace troupe::model
