#include <unordered_map>
#include <utility>

#include <troupe/model/tensor_source.h>
#include <troupe/model/utf8.h>
#include <troupe/runtime/file.h>

namespace troupe::model {
namespace {

class GgufFile final : public TensorSource {
 public:
  GgufFile(MappedFile file, GgufHeader header, std::string path)
      : file_(std::move(file)), header_(std::move(header)), path_(std::move(path)) {
    for (const TensorInfo& tensor : header_.tensors) by_name_.emplace(tensor.name, &tensor);
  }

  const GgufHeader& header() const override { return header_; }

  Result<std::span<const std::byte>> bytes(std::string_view tensor) const override {
    const auto found = by_name_.find(tensor);
    if (found == by_name_.end()) {
      return Status(Code::kNotFound, path_ + " has no tensor " + in_quotes(tensor));
    }
    return file_.bytes().subspan(found->second->offset, found->second->bytes);
  }

  void drop(std::string_view tensor) const override {
    const auto found = by_name_.find(tensor);
    if (found != by_name_.end()) file_.drop_pages(found->second->offset, found->second->bytes);
  }

 private:
  MappedFile file_;
  GgufHeader header_;
  std::string path_;
  std::unordered_map<std::string_view, const TensorInfo*> by_name_;
};

}  // namespace

Result<std::unique_ptr<TensorSource>> open_gguf(const std::string& path) {
  TROUPE_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();
  TROUPE_ASSIGN_OR_RETURN(GgufHeader header, parse_gguf_header(bytes, bytes.size(), path));
  file.drop_pages(0, header.header_bytes);  // everything in it has been copied
  return std::unique_ptr<TensorSource>(
      std::make_unique<GgufFile>(std::move(file), std::move(header), path));
}

}  // namespace troupe::model
