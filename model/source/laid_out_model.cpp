#include <algorithm>
#include <iterator>
#include <utility>

#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/source/laid_out_model.h>

namespace troupe::model {

Status LaidOutModel::lay_out(std::string header_text, std::uint64_t file_bytes,
                             const std::string& what) {
  header_text_ = std::move(header_text);
  file_bytes_ = file_bytes;
  const auto bytes = std::as_bytes(std::span(header_text_.data(), header_text_.size()));
  TROUPE_ASSIGN_OR_RETURN(header_, parse_gguf_header(bytes, file_bytes_, what));
  return Status::ok();
}

std::span<const std::byte> LaidOutModel::piece(std::uint64_t offset,
                                               std::uint64_t bytes_max) const {
  const auto cut = [&](std::span<const std::byte> bytes, std::uint64_t at) {
    bytes = bytes.subspan(at);
    return bytes.first(std::min<std::uint64_t>(bytes.size(), bytes_max));
  };
  if (offset >= file_bytes_) return {};
  if (offset < header_text_.size())
    return cut(std::as_bytes(std::span(header_text_.data(), header_text_.size())), offset);
  const auto next = std::upper_bound(
      header_.tensors.begin(), header_.tensors.end(), offset,
      [](std::uint64_t at, const TensorInfo& tensor) { return at < tensor.offset; });
  const TensorInfo& tensor = *std::prev(next);
  const std::uint64_t at = offset - tensor.offset;
  if (at < tensor.bytes) return cut(bytes_of(tensor), at);
  static constexpr std::byte kZeros[256] = {};
  const std::uint64_t end = next == header_.tensors.end() ? file_bytes_ : next->offset;
  const std::uint64_t zeros = std::min<std::uint64_t>(sizeof kZeros, end - offset);
  return std::span(kZeros).first(std::min(zeros, bytes_max));
}

}  // namespace troupe::model
