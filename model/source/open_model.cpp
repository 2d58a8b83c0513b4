#include <algorithm>
#include <system_error>
#include <unordered_map>
#include <utility>

#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/source/adapted_model.h>
#include <troupe/model/source/gguf_split.h>
#include <troupe/model/source/hf_folder.h>
#include <troupe/model/source/open_model.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

class GgufFile final : public WholeModel {
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

  std::string where(std::string_view) const override { return path_; }

  void drop(std::string_view tensor) const override {
    const auto found = by_name_.find(tensor);
    if (found != by_name_.end()) file_.drop_pages(found->second->offset, found->second->bytes);
  }

  std::uint64_t file_bytes() const override { return file_.bytes().size(); }
  std::span<const std::byte> piece(std::uint64_t offset, std::uint64_t bytes_max) const override {
    if (offset >= file_.bytes().size()) return {};
    const std::span<const std::byte> rest = file_.bytes().subspan(offset);
    return rest.first(std::min<std::uint64_t>(rest.size(), bytes_max));
  }
  void drop_piece(std::span<const std::byte> piece) const override {
    file_.drop_pages(static_cast<std::size_t>(piece.data() - file_.bytes().data()), piece.size());
  }

 private:
  MappedFile file_;
  GgufHeader header_;
  std::string path_;
  std::unordered_map<std::string_view, const TensorInfo*> by_name_;
};

Result<std::unique_ptr<WholeModel>> open_gguf_file(const std::string& path) {
  TROUPE_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();
  TROUPE_ASSIGN_OR_RETURN(GgufHeader header, parse_gguf_header(bytes, bytes.size(), path));
  file.drop_pages(0, header.header_bytes);  // everything in it has been copied
  const Result<std::uint64_t> parts = gguf_parts(header);
  if (!parts.is_ok()) return parts.status().with_context(path);
  if (*parts > 1) return open_gguf_split(path);
  return std::unique_ptr<WholeModel>(
      std::make_unique<GgufFile>(std::move(file), std::move(header), path));
}

}  // namespace

Result<std::unique_ptr<TensorSource>> open_gguf(const std::string& path) {
  TROUPE_ASSIGN_OR_RETURN(std::unique_ptr<WholeModel> file, open_gguf_file(path));
  return std::unique_ptr<TensorSource>(std::move(file));
}

Result<std::unique_ptr<WholeModel>> open_model(const std::string& path) {
  std::error_code error;
  if (is_adapted_model(path)) {
    TROUPE_ASSIGN_OR_RETURN(const AdaptedPair pair, read_adapted_pair(path));
    TROUPE_RETURN_IF_ERROR(adapter_files(pair.adapter).status());
    TROUPE_ASSIGN_OR_RETURN(auto base, open_model(pair.base.string()));
    return add_adapter(std::move(base), pair.adapter, path);
  }
  return std::filesystem::is_directory(path, error) ? open_hf_folder(path) : open_gguf_file(path);
}

Result<std::vector<std::filesystem::path>> model_files(const std::filesystem::path& path) {
  std::error_code error;
  if (is_adapted_model(path)) {
    TROUPE_ASSIGN_OR_RETURN(const AdaptedPair pair, read_adapted_pair(path));
    TROUPE_ASSIGN_OR_RETURN(auto files, model_files(pair.base));
    TROUPE_ASSIGN_OR_RETURN(const auto adapter, adapter_files(pair.adapter));
    files.insert(files.end(), adapter.begin(), adapter.end());
    files.push_back(path / kAdaptedName);
    return files;
  }
  if (std::filesystem::is_directory(path, error)) return hf_folder_files(path);
  return gguf_files(path);
}

}  // namespace troupe::model
