#include <algorithm>
#include <bit>
#include <string_view>
#include <utility>

#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/files/gguf_tensors.h>
#include <troupe/runtime/text/known_files.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF fields are read in place");

constexpr std::uint64_t kAlignmentMax = std::uint64_t{1} << 20;

Status read_fixed_part(GgufCursor* cursor, std::span<const std::byte> bytes,
                       std::uint64_t file_bytes, GgufHeader* header, std::uint64_t* tensors,
                       std::uint64_t* entries) {
  char magic[4] = {};
  if (cursor->left() < sizeof magic) {
    return cursor->bad("is not a GGUF file: it has only " + std::to_string(file_bytes) +
                       " bytes; fetch it again");
  }
  TROUPE_RETURN_IF_ERROR(cursor->read("the magic", &magic));
  if (std::string_view(magic, 4) != "GGUF") {
    constexpr std::size_t kBeginBytes = 256;
    const std::span<const std::byte> begin =
        bytes.first(std::min<std::size_t>(bytes.size(), kBeginBytes));
    const std::string known =
        describe_known_file({reinterpret_cast<const char*>(begin.data()), begin.size()});
    if (!known.empty()) return cursor->bad(known);
    return cursor->bad("is not a GGUF file: it begins with " +
                       in_quotes(std::string_view(magic, 4)) +
                       ", expected 'GGUF'; give a GGUF file, or a folder with config.json and "
                       "model.safetensors");
  }
  TROUPE_RETURN_IF_ERROR(cursor->read("the version", &header->version));
  if (header->version != 2 && header->version != 3) {
    const bool swapped = (header->version & 0xffff) == 0 && header->version != 0;
    return cursor->bad(swapped ? "is a big-endian GGUF file; convert it to little-endian"
                               : "has the GGUF version " + std::to_string(header->version) +
                                     "; take a file of version 2 or 3, which can be read");
  }
  TROUPE_RETURN_IF_ERROR(cursor->read("the tensor count", tensors));
  TROUPE_RETURN_IF_ERROR(cursor->read("the metadata count", entries));
  if (*entries > cursor->left() / kGgufEntryBytesMin) {
    return cursor->bad("the file is cut off: its " + std::to_string(*entries) +
                       " key-values do not fit into it; fetch it again");
  }
  if (*tensors > cursor->left() / kGgufTensorBytesMin) {
    return cursor->bad("the file is cut off: its " + std::to_string(*tensors) +
                       " tensor entries do not fit into it; fetch it again");
  }
  return Status::ok();
}

Result<std::uint64_t> alignment_of(const GgufCursor& cursor, const GgufHeader& header) {
  if (!header.metadata.contains("general.alignment")) return std::uint64_t{32};
  Result<std::uint64_t> alignment = header.u64("general.alignment");
  if (!alignment.is_ok()) return cursor.bad(alignment.message());
  if (!std::has_single_bit(*alignment) || *alignment > kAlignmentMax) {
    return cursor.malformed("'general.alignment' is " + std::to_string(*alignment) +
                            ", expected a power of two up to " + std::to_string(kAlignmentMax));
  }
  return alignment;
}

}  // namespace

Result<GgufHeader> parse_gguf_header(std::span<const std::byte> bytes, std::uint64_t file_bytes,
                                     const std::string& what) {
  return parse_gguf(bytes, file_bytes, what, nullptr);
}

Result<GgufHeader> parse_gguf(std::span<const std::byte> bytes, std::uint64_t file_bytes,
                              const std::string& what, std::vector<GgufEntryPlace>* places) {
  TROUPE_CHECK(bytes.size() <= file_bytes, what);
  GgufCursor cursor(bytes, what);
  GgufHeader header;
  header.what = what;
  std::uint64_t tensor_count = 0, entry_count = 0;
  TROUPE_RETURN_IF_ERROR(
      read_fixed_part(&cursor, bytes, file_bytes, &header, &tensor_count, &entry_count));
  TROUPE_RETURN_IF_ERROR(read_gguf_metadata(&cursor, entry_count, &header, places));
  TROUPE_ASSIGN_OR_RETURN(header.alignment, alignment_of(cursor, header));
  const std::uint64_t alignment = header.alignment;
  std::vector<RawGgufTensor> raw;
  TROUPE_RETURN_IF_ERROR(read_gguf_tensors(&cursor, tensor_count, &raw));
  header.header_bytes = cursor.at();
  if (tensor_count > 0) {
    header.header_bytes = (cursor.at() + alignment - 1) / alignment * alignment;
    if (header.header_bytes > file_bytes) {
      return cursor.bad("the file is cut off: the tensors' data begin at byte " +
                        std::to_string(header.header_bytes) + ", the file has " +
                        std::to_string(file_bytes) + " bytes; fetch it again");
    }
  }
  TROUPE_RETURN_IF_ERROR(place_gguf_tensors(cursor, std::move(raw), file_bytes, &header));
  return header;
}

}  // namespace troupe::model
