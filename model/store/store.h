#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <troupe/model/source/tensor_source.h>
#include <troupe/model/store/blob_writer.h>
#include <troupe/model/store/manifest.h>
#include <troupe/model/store/model_entries.h>
#include <troupe/runtime/status.h>

// The content-addressed store below a home:
//
//   HOME/store/blobs/<sha256>      whole model files, headers and single tensors alike
//   HOME/store/models/<name>.json  models by name (model_entries.h)
//   HOME/store/hashes.json         hashes of files, so that none is hashed twice (hash_cache.h)
//   HOME/store/partial/            blobs and files on their way into the store (blob_writer.h)
//
// A blob is written once, verified, sealed (blob_seal.h), and renamed into place read-only. Several
// processes may share one store. Any thread may call.

namespace troupe::model {

class Store {
 public:
  // Creates the folders if they are absent, and removes what interrupted transfers left in partial/
  // several days ago or earlier. If they cannot be made, the store has what is there,
  // and every operation that writes fails and says why.
  static Result<std::shared_ptr<Store>> open(const std::filesystem::path& home);

  // Says why nothing can be written into the store; ok if it can.
  const Status& writable() const { return writable_; }

  std::filesystem::path blob_path(const std::string& sha256) const;
  // Says whether the blob is here and unchanged since it was verified (blob_seal.h). A blob that
  // was changed is removed.
  bool has_blob(const std::string& sha256) const;

  // Moves or copies `file` into the store and gives it `name`.
  //   Errors: kBadData (says both hashes) if `expected_sha256` is given and is not the file's hash.
  Result<ModelEntry> import_model(const std::filesystem::path& file, const std::string& name,
                                  const std::optional<std::string>& expected_sha256);
  // Does the same for a model of several files: moves the files `names` in from `folder`, which is
  // one of the store's own folders below partial/. `expected_listing` is what listing_sha256() of
  // them must be.
  //   Errors: kBadData if the listing differs or no model can be read (then the store keeps none of
  //   the files); kResourceExhausted if the disk is full.
  Result<ModelEntry> import_files(const std::filesystem::path& folder,
                                  const std::vector<std::string>& names, const std::string& name,
                                  const std::optional<std::string>& expected_listing);
  // Gives a model of the store another name, too.
  Result<ModelEntry> name_model(const ModelEntry& entry, const std::string& name);
  // Says whether the model's files are here and unchanged since they were verified.
  bool intact(const ModelEntry& entry) const;
  std::vector<ModelEntry> list() const;

  struct Removed {
    ModelEntry entry;
    std::uint64_t freed_bytes = 0, kept_bytes = 0;
    std::vector<std::string> kept_for;  // the other models that have the kept files
  };
  // Forgets the name of a model, and removes the files that no other model has.
  //   Errors: kNotFound, kPermissionDenied.
  Result<Removed> remove(const ModelEntry& entry);
  // Finds MODEL as people write it: a name in this store, a path, sha256:HEX (the hash of a whole
  // file) or model:HEX (the id) of a model in the store.
  //   Errors: kNotFound says what was looked for and what to do.
  Result<std::filesystem::path> resolve(const std::string& model) const;

  // Returns the hashes of the file at `path` and of its parts. They are remembered by (inode, size,
  // mtime).
  Result<Manifest> manifest(const std::filesystem::path& path);

  // Lets this process read the model of `manifest` from `path`, a file outside the store, as long
  // as this object lives. Nothing is written.
  void adopt(const Manifest& manifest, const std::filesystem::path& path);
  // Returns where the whole file of the model with this id can be read: a file of the store whose
  // hashes were computed here, or an adopted path.
  std::optional<std::filesystem::path> whole_file(const std::string& model) const;
  // Returns the hash of that file, or "" if it was not computed here.
  std::string file_sha256(const std::string& model) const;
  // Returns the manifest of the file with this hash, if the store has the file.
  std::optional<Manifest> manifest_of_file(const std::string& sha256);

  // Opens the model's whole file if it is here (whole_file), else the parts of `manifest` that lie
  // in this store as blobs. In the second case, bytes() of an absent part fails with kNotFound.
  Result<std::unique_ptr<TensorSource>> source(const Manifest& manifest) const;
  // Returns the blobs of `tensors` that are not here.
  std::vector<BlobRef> missing(const Manifest& manifest,
                               const std::vector<std::string>& tensors) const;

  // Errors: kAlreadyExists while another writer of this blob is open.
  Result<std::unique_ptr<BlobWriter>> begin_blob(const BlobRef& blob);

 private:
  explicit Store(std::filesystem::path root) : root_(std::move(root)) {}
  std::filesystem::path root_;  // HOME/store
  Status writable_;             // says why nothing can be written; ok if it can
  mutable std::mutex mutex_;
  mutable std::mutex adopted_mutex_;
  std::map<std::string, std::filesystem::path> adopted_;  // model -> file; guarded by its mutex
  // Returns the path of the file with this hash, if it is here and unchanged.
  std::optional<std::filesystem::path> file_of(const std::string& sha256) const;
  // The hashes of the files whose manifests were computed here, by the ids that these prove, and
  // the hashes that were looked at. Guarded by its mutex.
  mutable std::mutex ids_mutex_;
  mutable std::map<std::string, std::string> ids_;
  mutable std::set<std::string> known_files_;
};

}  // namespace troupe::model
