#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

#include <troupe/model/gguf.h>
#include <troupe/model/utf8.h>

// Layout (all little-endian; a string is u64 bytes, then the bytes):
//   "GGUF"  u32 version  u64 tensors  u64 metadata entries
//   metadata entry: string key, u32 value type, value; an array is u32 type, u64 count, values
//   tensor entry:   string name, u32 dimensions n, u64 x n (contiguous first), u32 type, u64 offset
//   padding to general.alignment; offsets count from here

// Longer than 500 lines: one checked reader for one format, whose steps share its cursor.
namespace troupe::model {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF fields are read in place");

constexpr std::uint64_t kMetadataEntryBytesMin = 8 + 4 + 1;
constexpr std::uint64_t kTensorEntryBytesMin = 8 + 4 + 8 + 4 + 8;
constexpr std::uint64_t kElementsMax = std::uint64_t{1} << 60;
constexpr std::uint64_t kAlignmentMax = std::uint64_t{1} << 20;

enum ValueType : std::uint32_t {
  kU8 = 0,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

// Bytes of a value of a fixed size; 0 for strings, arrays and unknown types.
std::uint64_t scalar_bytes(std::uint32_t type) {
  switch (type) {
    case kU8:
    case kI8:
    case kBool:
      return 1;
    case kU16:
    case kI16:
      return 2;
    case kU32:
    case kI32:
    case kF32:
      return 4;
    case kU64:
    case kI64:
    case kF64:
      return 8;
    default:
      return 0;
  }
}

// Names of ggml types that this build may not compute with, so that the message can say more than
// a number.
std::string type_name(std::uint32_t type) {
  static constexpr std::pair<std::uint32_t, std::string_view> kNames[] = {
      {0, "F32"},     {1, "F16"},      {2, "Q4_0"},   {3, "Q4_1"},    {6, "Q5_0"},
      {7, "Q5_1"},    {8, "Q8_0"},     {9, "Q8_1"},   {10, "Q2_K"},   {11, "Q3_K"},
      {12, "Q4_K"},   {13, "Q5_K"},    {14, "Q6_K"},  {15, "Q8_K"},   {16, "IQ2_XXS"},
      {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},
      {22, "IQ2_S"},  {23, "IQ4_XS"},  {24, "I8"},    {25, "I16"},    {26, "I32"},
      {27, "I64"},    {28, "F64"},     {29, "IQ1_M"}, {30, "BF16"},   {34, "TQ1_0"},
      {35, "TQ2_0"},  {39, "MXFP4"}};
  for (const auto& [id, name] : kNames) {
    if (id == type) return std::string(name);
  }
  return "number " + std::to_string(type);
}

// Reads fields in order; every read is checked against what is left, and the first failure says
// which field it was.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& what) : bytes_(bytes), what_(what) {}

  std::uint64_t left() const { return bytes_.size() - at_; }
  std::uint64_t at() const { return at_; }

  Status bad(const std::string& sentence) const {
    return Status(Code::kBadData, what_ + ": " + sentence);
  }

  Status truncated(const std::string& field, std::uint64_t needed) const {
    return bad("the file is cut off: " + field + " needs " + std::to_string(needed) +
               " bytes at byte " + std::to_string(at_) + ", where " + std::to_string(left()) +
               " are left");
  }

  template <class T>
  Status read(const std::string& field, T* out) {
    if (left() < sizeof(T)) return truncated(field, sizeof(T));
    std::memcpy(out, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return Status::ok();
  }

  Status read_string(const std::string& field, std::string* out) {
    std::uint64_t bytes = 0;
    TROUPE_RETURN_IF_ERROR(read("the length of " + field, &bytes));
    if (left() < bytes) return truncated(field, bytes);
    out->assign(reinterpret_cast<const char*>(bytes_.data() + at_), bytes);
    at_ += bytes;
    return Status::ok();
  }

  // For long arrays: no message is built unless the read fails.
  bool try_string(std::string* out) {
    std::uint64_t bytes = 0;
    if (left() < sizeof bytes) return false;
    std::memcpy(&bytes, bytes_.data() + at_, sizeof bytes);
    if (left() - sizeof bytes < bytes) return false;
    out->assign(reinterpret_cast<const char*>(bytes_.data() + at_ + sizeof bytes), bytes);
    at_ += sizeof bytes + bytes;
    return true;
  }

  // The next `bytes` bytes, which the caller knows to be there.
  const std::byte* take(std::uint64_t bytes) {
    const std::byte* data = bytes_.data() + at_;
    at_ += bytes;
    return data;
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& what_;
  std::uint64_t at_ = 0;
};

template <class T>
Status read_scalar(Reader* reader, const std::string& field, GgufValue* out) {
  T value{};
  TROUPE_RETURN_IF_ERROR(reader->read(field, &value));
  *out = value;
  return Status::ok();
}

template <class From, class To>
std::vector<To> convert(const std::byte* bytes, std::uint64_t count) {
  std::vector<To> values(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, bytes + i * sizeof(From), sizeof(From));
    values[i] = static_cast<To>(value);
  }
  return values;
}

Status read_strings(Reader* reader, const std::string& field, std::uint64_t count, GgufValue* out) {
  if (count > reader->left() / 8) {
    return reader->bad("the file is cut off: " + field + " has " + std::to_string(count) +
                       " strings, more than fit into the " + std::to_string(reader->left()) +
                       " bytes that are left");
  }
  std::vector<std::string> values(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!reader->try_string(&values[i])) {
      return reader->read_string("string " + std::to_string(i) + " of " + field, &values[i]);
    }
  }
  *out = std::move(values);
  return Status::ok();
}

Status read_array(Reader* reader, const std::string& field, GgufValue* out) {
  std::uint32_t type = 0;
  std::uint64_t count = 0;
  TROUPE_RETURN_IF_ERROR(reader->read("the element type of " + field, &type));
  TROUPE_RETURN_IF_ERROR(reader->read("the count of " + field, &count));
  if (type == kArray) return reader->bad(field + " is an array of arrays, which is not supported");
  if (type == kString) return read_strings(reader, field, count, out);
  const std::uint64_t bytes = scalar_bytes(type);
  if (bytes == 0) {
    return reader->bad(field + " is an array of the unknown value type " + std::to_string(type));
  }
  if (count > reader->left() / bytes) {
    return reader->bad("the file is cut off: " + field + " has " + std::to_string(count) +
                       " elements of " + std::to_string(bytes) + " bytes, where " +
                       std::to_string(reader->left()) + " bytes are left");
  }
  const std::byte* data = reader->take(count * bytes);
  switch (type) {
    case kU8:
      *out = convert<std::uint8_t, std::int64_t>(data, count);
      break;
    case kI8:
      *out = convert<std::int8_t, std::int64_t>(data, count);
      break;
    case kU16:
      *out = convert<std::uint16_t, std::int64_t>(data, count);
      break;
    case kI16:
      *out = convert<std::int16_t, std::int64_t>(data, count);
      break;
    case kU32:
      *out = convert<std::uint32_t, std::int64_t>(data, count);
      break;
    case kI32:
      *out = convert<std::int32_t, std::int64_t>(data, count);
      break;
    case kI64:
      *out = convert<std::int64_t, std::int64_t>(data, count);
      break;
    case kF32:
      *out = convert<float, double>(data, count);
      break;
    case kF64:
      *out = convert<double, double>(data, count);
      break;
    case kBool:
    case kU64: {
      // The two types of which not every bit pattern is an i64 (or a truth value).
      std::vector<std::int64_t> values = type == kBool
                                             ? convert<std::uint8_t, std::int64_t>(data, count)
                                             : convert<std::uint64_t, std::int64_t>(data, count);
      for (std::uint64_t i = 0; i < count; ++i) {
        if (values[i] < 0 || (type == kBool && values[i] > 1)) {
          return reader->bad("element " + std::to_string(i) + " of " + field + " is " +
                             std::to_string(static_cast<std::uint64_t>(values[i])) +
                             ", out of its range");
        }
      }
      *out = std::move(values);
      break;
    }
  }
  return Status::ok();
}

Status read_value(Reader* reader, std::uint32_t type, const std::string& field, GgufValue* out) {
  switch (type) {
    case kU8:
      return read_scalar<std::uint8_t>(reader, field, out);
    case kI8:
      return read_scalar<std::int8_t>(reader, field, out);
    case kU16:
      return read_scalar<std::uint16_t>(reader, field, out);
    case kI16:
      return read_scalar<std::int16_t>(reader, field, out);
    case kU32:
      return read_scalar<std::uint32_t>(reader, field, out);
    case kI32:
      return read_scalar<std::int32_t>(reader, field, out);
    case kF32:
      return read_scalar<float>(reader, field, out);
    case kU64:
      return read_scalar<std::uint64_t>(reader, field, out);
    case kI64:
      return read_scalar<std::int64_t>(reader, field, out);
    case kF64:
      return read_scalar<double>(reader, field, out);
    case kArray:
      return read_array(reader, field, out);
    case kString: {
      std::string value;
      TROUPE_RETURN_IF_ERROR(reader->read_string(field, &value));
      *out = std::move(value);
      return Status::ok();
    }
    case kBool: {
      std::uint8_t value = 0;
      TROUPE_RETURN_IF_ERROR(reader->read(field, &value));
      if (value > 1) {
        return reader->bad(field + " is a bool of value " + std::to_string(value) +
                           ", expected 0 or 1");
      }
      *out = value == 1;
      return Status::ok();
    }
    default:
      return reader->bad(field + " has the unknown value type " + std::to_string(type));
  }
}

Status read_metadata(Reader* reader, std::uint64_t count, GgufHeader* header) {
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string key;
    TROUPE_RETURN_IF_ERROR(reader->read_string("metadata key " + std::to_string(i), &key));
    if (key.empty() || utf8_valid_prefix(key) != key.size()) {
      return reader->bad("metadata key " + std::to_string(i) + " is " + in_quotes(key) +
                         ", expected UTF-8 text");
    }
    std::uint32_t type = 0;
    TROUPE_RETURN_IF_ERROR(reader->read("the value type of " + in_quotes(key), &type));
    GgufValue value;
    TROUPE_RETURN_IF_ERROR(read_value(reader, type, "the value of " + in_quotes(key), &value));
    if (!header->metadata.try_emplace(key, std::move(value)).second) {
      return reader->bad("the metadata key " + in_quotes(key) + " is there twice");
    }
  }
  return Status::ok();
}

struct RawTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::uint32_t type = 0;
  std::uint64_t offset = 0;
};

Status read_tensor_entry(Reader* reader, std::uint64_t index, RawTensor* out) {
  TROUPE_RETURN_IF_ERROR(
      reader->read_string("the name of tensor " + std::to_string(index), &out->name));
  if (out->name.empty() || utf8_valid_prefix(out->name) != out->name.size()) {
    return reader->bad("the name of tensor " + std::to_string(index) + " is " +
                       in_quotes(out->name) + ", expected UTF-8 text");
  }
  const std::string tensor = "tensor " + in_quotes(out->name);
  std::uint32_t dimensions = 0;
  TROUPE_RETURN_IF_ERROR(reader->read("the number of dimensions of " + tensor, &dimensions));
  if (dimensions < 1 || dimensions > 4) {
    return reader->bad(tensor + " has " + std::to_string(dimensions) +
                       " dimensions, expected 1 to 4");
  }
  out->shape.resize(dimensions);
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    std::uint64_t size = 0;
    TROUPE_RETURN_IF_ERROR(reader->read("dimension " + std::to_string(i) + " of " + tensor, &size));
    if (size == 0 || size > kElementsMax / elements) {
      return reader->bad("dimension " + std::to_string(i) + " of " + tensor + " is " +
                         std::to_string(size) + ", which cannot be");
    }
    elements *= size;
    out->shape[dimensions - 1 - i] = size;
  }
  TROUPE_RETURN_IF_ERROR(reader->read("the type of " + tensor, &out->type));
  return reader->read("the offset of " + tensor, &out->offset);
}

// A model may mix formats; the message names the first that cannot be computed with, and how many
// tensors are concerned.
Status check_types(const Reader& reader, const std::vector<RawTensor>& tensors) {
  const RawTensor* first = nullptr;
  std::uint64_t unsupported = 0;
  for (const RawTensor& tensor : tensors) {
    if (quant::find(tensor.type) != nullptr) continue;
    if (first == nullptr) first = &tensor;
    ++unsupported;
  }
  if (first == nullptr) return Status::ok();
  std::string supported;
  for (const quant::Format& format : quant::formats()) {
    if (!supported.empty()) supported += ", ";
    supported += format.name;
  }
  return reader.bad("tensor " + in_quotes(first->name) + " has the type " + type_name(first->type) +
                    (unsupported > 1 ? " (and " + std::to_string(unsupported - 1) +
                                           " more tensors have types like it)"
                                     : "") +
                    ", which this build does not support; use a file of the types " + supported);
}

Status place_tensor(const Reader& reader, RawTensor&& raw, std::uint64_t data_begin,
                    std::uint64_t alignment, std::uint64_t file_bytes, TensorInfo* out) {
  const std::string tensor = "tensor " + in_quotes(raw.name);
  const quant::Format* format = quant::find(raw.type);
  Result<std::uint64_t> row = quant::row_bytes(*format, raw.shape.back());
  if (!row.is_ok()) return reader.bad(tensor + ": " + row.message());
  std::uint64_t bytes = *row;
  for (std::size_t i = 0; i + 1 < raw.shape.size(); ++i) {
    if (raw.shape[i] > file_bytes / bytes) {
      return reader.bad(tensor + " is larger than the file of " + std::to_string(file_bytes) +
                        " bytes");
    }
    bytes *= raw.shape[i];
  }
  if (raw.offset % alignment != 0) {
    return reader.bad("the offset of " + tensor + " is " + std::to_string(raw.offset) +
                      ", no multiple of the alignment " + std::to_string(alignment));
  }
  const std::uint64_t data_bytes = file_bytes - data_begin;
  if (raw.offset > data_bytes || bytes > data_bytes - raw.offset) {
    return reader.bad("the file is cut off: " + tensor + " of " + std::to_string(bytes) +
                      " bytes lies at " + std::to_string(raw.offset) + " of the data, which has " +
                      std::to_string(data_bytes) + " bytes");
  }
  out->name = std::move(raw.name);
  out->type = format->type;
  out->shape = std::move(raw.shape);
  out->offset = data_begin + raw.offset;
  out->bytes = bytes;
  return Status::ok();
}

Status check_disjoint(const Reader& reader, const std::vector<TensorInfo>& tensors) {
  std::set<std::string_view> names;
  std::vector<const TensorInfo*> order;
  order.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return reader.bad("tensor " + in_quotes(tensor.name) + " is there twice");
    }
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(),
            [](const TensorInfo* a, const TensorInfo* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (order[i]->offset < order[i - 1]->offset + order[i - 1]->bytes) {
      return reader.bad("tensor " + in_quotes(order[i]->name) + " at byte " +
                        std::to_string(order[i]->offset) + " overlaps tensor " +
                        in_quotes(order[i - 1]->name));
    }
  }
  return Status::ok();
}

Status read_fixed_part(Reader* reader, std::uint64_t file_bytes, GgufHeader* header,
                       std::uint64_t* tensors, std::uint64_t* entries) {
  char magic[4] = {};
  if (reader->left() < sizeof magic) {
    return reader->bad("is not a GGUF file: it has only " + std::to_string(file_bytes) + " bytes");
  }
  TROUPE_RETURN_IF_ERROR(reader->read("the magic", &magic));
  if (std::string_view(magic, 4) != "GGUF") {
    return reader->bad("is not a GGUF file: it begins with " +
                       in_quotes(std::string_view(magic, 4)) + ", expected 'GGUF'");
  }
  TROUPE_RETURN_IF_ERROR(reader->read("the version", &header->version));
  if (header->version != 2 && header->version != 3) {
    const bool swapped = (header->version & 0xffff) == 0 && header->version != 0;
    return reader->bad(swapped ? "is a big-endian GGUF file; convert it to little-endian"
                               : "has the GGUF version " + std::to_string(header->version) +
                                     "; versions 2 and 3 can be read");
  }
  TROUPE_RETURN_IF_ERROR(reader->read("the tensor count", tensors));
  TROUPE_RETURN_IF_ERROR(reader->read("the metadata count", entries));
  if (*entries > reader->left() / kMetadataEntryBytesMin) {
    return reader->bad("the metadata count " + std::to_string(*entries) +
                       " is more than fits into the file");
  }
  if (*tensors > reader->left() / kTensorEntryBytesMin) {
    return reader->bad("the tensor count " + std::to_string(*tensors) +
                       " is more than fits into the file");
  }
  return Status::ok();
}

Result<std::uint64_t> alignment_of(const Reader& reader, const GgufHeader& header) {
  if (!header.metadata.contains("general.alignment")) return std::uint64_t{32};
  Result<std::uint64_t> alignment = header.u64("general.alignment");
  if (!alignment.is_ok()) return reader.bad(alignment.message());
  if (!std::has_single_bit(*alignment) || *alignment > kAlignmentMax) {
    return reader.bad("'general.alignment' is " + std::to_string(*alignment) +
                      ", expected a power of two up to " + std::to_string(kAlignmentMax));
  }
  return alignment;
}

Status missing_key(std::string_view key) {
  return Status(Code::kBadData, "the metadata key " + in_quotes(key) + " is missing");
}

}  // namespace

Result<GgufHeader> parse_gguf_header(std::span<const std::byte> bytes, std::uint64_t file_bytes,
                                     const std::string& what) {
  TROUPE_CHECK(bytes.size() <= file_bytes, what);
  Reader reader(bytes, what);
  GgufHeader header;
  std::uint64_t tensor_count = 0, entry_count = 0;
  TROUPE_RETURN_IF_ERROR(
      read_fixed_part(&reader, file_bytes, &header, &tensor_count, &entry_count));
  TROUPE_RETURN_IF_ERROR(read_metadata(&reader, entry_count, &header));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t alignment, alignment_of(reader, header));
  if (tensor_count > reader.left() / kTensorEntryBytesMin) {
    return reader.bad("the file is cut off: its " + std::to_string(tensor_count) +
                      " tensor entries do not fit into the " + std::to_string(reader.left()) +
                      " bytes after the metadata");
  }
  std::vector<RawTensor> raw(tensor_count);
  for (std::uint64_t i = 0; i < tensor_count; ++i) {
    TROUPE_RETURN_IF_ERROR(read_tensor_entry(&reader, i, &raw[i]));
  }
  TROUPE_RETURN_IF_ERROR(check_types(reader, raw));
  header.header_bytes = reader.at();
  if (tensor_count > 0) {
    header.header_bytes = (reader.at() + alignment - 1) / alignment * alignment;
    if (header.header_bytes > file_bytes) {
      return reader.bad("the file is cut off: the tensors' data begin at byte " +
                        std::to_string(header.header_bytes) + ", the file has " +
                        std::to_string(file_bytes) + " bytes");
    }
  }
  header.tensors.resize(tensor_count);
  for (std::uint64_t i = 0; i < tensor_count; ++i) {
    TROUPE_RETURN_IF_ERROR(place_tensor(reader, std::move(raw[i]), header.header_bytes, alignment,
                                        file_bytes, &header.tensors[i]));
  }
  TROUPE_RETURN_IF_ERROR(check_disjoint(reader, header.tensors));
  return header;
}

const TensorInfo* GgufHeader::tensor(std::string_view name) const {
  for (const TensorInfo& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

Result<std::uint64_t> GgufHeader::u64(std::string_view key) const {
  const auto entry = metadata.find(key);
  if (entry == metadata.end()) return missing_key(key);
  return std::visit(
      [&](const auto& value) -> Result<std::uint64_t> {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
          if (std::cmp_greater_equal(value, 0)) return static_cast<std::uint64_t>(value);
          return Status(Code::kBadData, "the metadata value of " + in_quotes(key) + " is " +
                                            std::to_string(value) + ", expected 0 or more");
        } else {
          return Status(Code::kBadData,
                        "the metadata value of " + in_quotes(key) + " is not an integer");
        }
      },
      entry->second);
}

Result<double> GgufHeader::f64(std::string_view key) const {
  const auto entry = metadata.find(key);
  if (entry == metadata.end()) return missing_key(key);
  return std::visit(
      [&](const auto& value) -> Result<double> {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
          return static_cast<double>(value);
        } else {
          return Status(Code::kBadData,
                        "the metadata value of " + in_quotes(key) + " is not a number");
        }
      },
      entry->second);
}

Result<std::string> GgufHeader::string(std::string_view key) const {
  const auto entry = metadata.find(key);
  if (entry == metadata.end()) return missing_key(key);
  if (const auto* value = std::get_if<std::string>(&entry->second)) return *value;
  return Status(Code::kBadData, "the metadata value of " + in_quotes(key) + " is not a string");
}

}  // namespace troupe::model
