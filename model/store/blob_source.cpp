#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>

#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/store/blob_source.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

Result<MappedFile> open_blob(const std::filesystem::path& blobs, const BlobRef& blob,
                             const std::string& what) {
  if (!is_sha256_hex(blob.sha256)) {
    return Status(Code::kBadData, "the hash of " + what + " is " + in_quotes(blob.sha256) +
                                      ", expected 64 hex digits");
  }
  Result<MappedFile> file = MappedFile::open(blobs / blob.sha256);
  if (!file.is_ok() && file.code() == Code::kNotFound) {
    return Status(Code::kNotFound, what + " (sha256 " + blob.sha256 + ") is not in the store " +
                                       blobs.parent_path().string() + "; fetch it first");
  }
  if (file.is_ok() && file->bytes().size() != blob.bytes) {
    return Status(Code::kBadData, what + " has " + std::to_string(file->bytes().size()) +
                                      " bytes in the store, expected " +
                                      std::to_string(blob.bytes) + "; remove " +
                                      (blobs / blob.sha256).string() + " and fetch it again");
  }
  return file;
}

class BlobSource final : public TensorSource {
 public:
  BlobSource(std::filesystem::path blobs, GgufHeader header, const Manifest& manifest)
      : blobs_(std::move(blobs)), header_(std::move(header)) {
    for (const Manifest::Tensor& tensor : manifest.tensors) parts_[tensor.name].blob = tensor.blob;
  }

  const GgufHeader& header() const override { return header_; }

  Result<std::span<const std::byte>> bytes(std::string_view tensor) const override {
    const std::lock_guard lock(mutex_);
    const auto part = parts_.find(tensor);
    if (part == parts_.end()) {
      return Status(Code::kNotFound, "the model has no tensor " + in_quotes(tensor));
    }
    if (!part->second.mapped) {
      TROUPE_ASSIGN_OR_RETURN(part->second.file,
                              open_blob(blobs_, part->second.blob, "tensor " + in_quotes(tensor)));
      part->second.mapped = true;
    }
    return part->second.file.bytes();
  }

  std::string where(std::string_view tensor) const override {
    const std::lock_guard lock(mutex_);
    const auto part = parts_.find(tensor);
    return part == parts_.end() ? header_.what : (blobs_ / part->second.blob.sha256).string();
  }

  void drop(std::string_view tensor) const override {
    const std::lock_guard lock(mutex_);
    const auto part = parts_.find(tensor);
    if (part == parts_.end() || !part->second.mapped) return;
    part->second.file.drop_pages(0, part->second.file.bytes().size());
  }

 private:
  struct Part {
    BlobRef blob;
    MappedFile file;
    bool mapped = false;
  };
  std::filesystem::path blobs_;
  GgufHeader header_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Part, std::less<>> parts_;
};

}  // namespace

Result<std::unique_ptr<TensorSource>> open_blobs(const std::filesystem::path& blobs,
                                                 const Manifest& manifest) {
  const std::string what = "the header of model " + in_quotes(manifest.name);
  TROUPE_ASSIGN_OR_RETURN(const MappedFile file, open_blob(blobs, manifest.header, what));
  if (file.bytes().size() > manifest.file_bytes) {
    return Status(Code::kBadData, what + " is larger than the file of " +
                                      std::to_string(manifest.file_bytes) + " bytes");
  }
  TROUPE_ASSIGN_OR_RETURN(GgufHeader header,
                          parse_gguf_header(file.bytes(), manifest.file_bytes, what));
  // The manifest comes from a peer, so its sizes and offsets must be the header's own.
  std::unordered_map<std::string_view, const Manifest::Tensor*> by_name;
  for (const Manifest::Tensor& tensor : manifest.tensors) by_name[tensor.name] = &tensor;
  for (const TensorInfo& tensor : header.tensors) {
    const auto listed = by_name.find(tensor.name);
    if (listed == by_name.end() || listed->second->offset != tensor.offset ||
        listed->second->blob.bytes != tensor.bytes) {
      return Status(Code::kBadData, "the manifest of model " + in_quotes(manifest.name) +
                                        " and the model's header disagree about tensor " +
                                        in_quotes(tensor.name));
    }
  }
  return std::unique_ptr<TensorSource>(
      std::make_unique<BlobSource>(blobs, std::move(header), manifest));
}

}  // namespace troupe::model
