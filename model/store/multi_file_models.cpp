#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include <troupe/model/store/blob_writer.h>
#include <troupe/model/store/hash_cache.h>
#include <troupe/model/store/store.h>
#include <troupe/runtime/sha256.h>

// The members of Store that handle models of several files, further names of models, and the
// removal of models.

namespace troupe::model {
namespace {

namespace fs = std::filesystem;

Result<BlobRef> blob_of(const fs::path& path) {
  TROUPE_ASSIGN_OR_RETURN(std::string sha256, sha256_of_file(path));
  std::error_code error;
  const std::uint64_t bytes = fs::file_size(path, error);
  if (error) return Status(Code::kInternal, "cannot stat " + path.string());
  return BlobRef{std::move(sha256), bytes};
}

}  // namespace

bool Store::intact(const ModelEntry& entry) const {
  const std::vector<BlobRef> blobs = blobs_of(entry);
  return std::all_of(blobs.begin(), blobs.end(),
                     [this](const BlobRef& blob) { return has_blob(blob.sha256); }) &&
         (entry.files.empty() || link_files(root_, entry.files).is_ok());
}

Result<ModelEntry> Store::import_files(const fs::path& folder,
                                       const std::vector<std::string>& names,
                                       const std::string& name,
                                       const std::optional<std::string>& expected_listing) {
  TROUPE_RETURN_IF_ERROR(check_model_name(name));
  TROUPE_RETURN_IF_ERROR(writable_);
  ModelEntry entry{name, "", "", 0, {}};
  for (const std::string& file : names) {
    TROUPE_RETURN_IF_ERROR(check_model_name(file));
    TROUPE_ASSIGN_OR_RETURN(const BlobRef blob, blob_of(folder / file));
    entry.files.push_back({file, blob});
    entry.bytes += blob.bytes;
  }
  const std::string listing = listing_sha256(entry.files);
  if (expected_listing && listing != *expected_listing) {
    return Status(Code::kBadData, "the files of " + name + " have the listing " + listing +
                                      ", expected " + *expected_listing +
                                      "; they are damaged, or belong to another model");
  }
  // Read it as a model before the store takes any of its files.
  entry.path = path_of_files(root_, entry.files);
  const bool is_folder = entry.path.filename() == listing;
  TROUPE_ASSIGN_OR_RETURN(const Manifest manifest,
                          hash_model_file(is_folder ? folder : folder / names.front()));
  entry.sha256 = manifest.file_sha256;
  for (const ModelFile& file : entry.files) {
    if (has_blob(file.blob.sha256)) continue;
    TROUPE_RETURN_IF_ERROR(move_into_store(folder / file.name, blob_path(file.blob.sha256)));
  }
  TROUPE_RETURN_IF_ERROR(link_files(root_, entry.files));
  TROUPE_ASSIGN_OR_RETURN(const std::string key, content_key(root_, entry.path));
  remember_manifest(root_, key, manifest);
  TROUPE_RETURN_IF_ERROR(write_entry(root_, entry));
  return entry;
}

Result<ModelEntry> Store::name_model(const ModelEntry& entry, const std::string& name) {
  TROUPE_RETURN_IF_ERROR(check_model_name(name));
  TROUPE_RETURN_IF_ERROR(writable_);
  ModelEntry named = entry;
  named.name = name;
  TROUPE_RETURN_IF_ERROR(write_entry(root_, named));
  return named;
}

Result<Store::Removed> Store::remove(const ModelEntry& entry) {
  TROUPE_RETURN_IF_ERROR(writable_);
  Removed removed{entry, 0, 0, {}};
  std::map<std::string, std::set<std::string>> users;  // blob -> other models that have it
  bool same_identity = false, same_files = false;
  for (const ModelEntry& other : list()) {
    if (other.name == entry.name) continue;
    same_identity = same_identity || other.sha256 == entry.sha256;
    same_files = same_files || other.path == entry.path;
    for (const BlobRef& blob : blobs_of(other)) users[blob.sha256].insert(other.name);
  }
  // Remove the name first: an interruption then leaves files without a model, never the reverse.
  std::error_code error;
  if (!fs::remove(root_ / "models" / (entry.name + ".json"), error)) {
    return Status(error ? Code::kPermissionDenied : Code::kNotFound,
                  "cannot remove the model " + entry.name + " from " + root_.string() + ": " +
                      (error ? error.message() : "it is not there any more"));
  }
  std::error_code ignored;
  if (!entry.files.empty() && !same_files) {
    fs::remove_all(root_ / "folders" / listing_sha256(entry.files), ignored);
  }
  std::set<std::string> kept_for, seen;
  for (const BlobRef& blob : blobs_of(entry)) {
    if (!seen.insert(blob.sha256).second) continue;
    const auto others = users.find(blob.sha256);
    if (others != users.end()) {
      removed.kept_bytes += blob.bytes;
      kept_for.insert(others->second.begin(), others->second.end());
    } else if (fs::remove(blob_path(blob.sha256), ignored)) {
      removed.freed_bytes += blob.bytes;
    }
  }
  if (!same_identity) fs::remove(root_ / "manifests" / (entry.sha256 + ".json"), ignored);
  removed.kept_for.assign(kept_for.begin(), kept_for.end());
  return removed;
}

}  // namespace troupe::model
