#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include <troupe/model/files/gguf_tensors.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

constexpr std::uint64_t kElementsMax = std::uint64_t{1} << 60;

// Names a ggml type, also one that this build cannot compute with, so that the message can say more
// than a number.
std::string type_name(std::uint32_t type) {
  static constexpr std::pair<std::uint32_t, std::string_view> kNames[] = {
      {0, "F32"},
      {1, "F16"},
      {2, "Q4_0"},
      {3, "Q4_1"},
      {6, "Q5_0"},
      {7, "Q5_1"},
      {8, "Q8_0"},
      {9, "Q8_1"},
      {10, "Q2_K"},
      {11, "Q3_K"},
      {12, "Q4_K"},
      {13, "Q5_K"},
      {14, "Q6_K"},
      {15, "Q8_K"},
      {16, "IQ2_XXS"},
      {17, "IQ2_XS"},
      {18, "IQ3_XXS"},
      {19, "IQ1_S"},
      {20, "IQ4_NL"},
      {21, "IQ3_S"},
      {22, "IQ2_S"},
      {23, "IQ4_XS"},
      {24, "I8"},
      {25, "I16"},
      {26, "I32"},
      {27, "I64"},
      {28, "F64"},
      {29, "IQ1_M"},
      {30, "BF16"},
      {34, "TQ1_0"},
      {35, "TQ2_0"},
      {39, "MXFP4"},
      {40, "NVFP4"},
      // Types that llama.cpp once wrote and no longer supports.
      {4, "Q4_2"},
      {5, "Q4_3"},
      {31, "Q4_0_4_4"},
      {32, "Q4_0_4_8"},
      {33, "Q4_0_8_8"},
      {36, "IQ4_NL_4_4"},
      {37, "IQ4_NL_4_8"},
      {38, "IQ4_NL_8_8"}};
  for (const auto& [id, name] : kNames) {
    if (id == type) return std::string(name);
  }
  return "number " + std::to_string(type);
}

// Says whether a tensor of whole numbers or doubles belongs to another program than this one.
bool is_foreign(const RawGgufTensor& tensor) {
  constexpr std::uint32_t kFirst = 24, kLast = 28;  // I8, I16, I32, I64, F64
  return tensor.type >= kFirst && tensor.type <= kLast && !is_model_tensor(tensor.name);
}

Status read_tensor_entry(GgufCursor* cursor, std::uint64_t index, RawGgufTensor* out) {
  TROUPE_RETURN_IF_ERROR(
      cursor->read_string("the name of tensor " + std::to_string(index), &out->name));
  if (out->name.empty() || utf8_valid_prefix(out->name) != out->name.size()) {
    return cursor->malformed("the name of tensor " + std::to_string(index) + " is " +
                             in_quotes(out->name) + ", expected UTF-8 text");
  }
  const std::string tensor = "tensor " + in_quotes(out->name);
  std::uint32_t dimensions = 0;
  TROUPE_RETURN_IF_ERROR(cursor->read("the number of dimensions of " + tensor, &dimensions));
  if (dimensions < 1 || dimensions > 4) {
    return cursor->malformed(tensor + " has " + std::to_string(dimensions) +
                             " dimensions, expected 1 to 4");
  }
  out->shape.resize(dimensions);
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    std::uint64_t size = 0;
    TROUPE_RETURN_IF_ERROR(cursor->read("dimension " + std::to_string(i) + " of " + tensor, &size));
    if (size == 0 || size > kElementsMax / elements) {
      return cursor->malformed("dimension " + std::to_string(i) + " of " + tensor + " is " +
                               std::to_string(size) + ", which cannot be");
    }
    elements *= size;
    out->shape[dimensions - 1 - i] = size;
  }
  TROUPE_RETURN_IF_ERROR(cursor->read("the type of " + tensor, &out->type));
  return cursor->read("the offset of " + tensor, &out->offset);
}

// Refuses formats that this build cannot compute with. A model may mix formats, so the message
// names the first such tensor and the number of the others.
Status check_types(const GgufCursor& cursor, const std::vector<RawGgufTensor>& tensors) {
  const RawGgufTensor* first = nullptr;
  std::uint64_t unsupported = 0;
  for (const RawGgufTensor& tensor : tensors) {
    if (quant::find(tensor.type) != nullptr) continue;
    if (first == nullptr) first = &tensor;
    ++unsupported;
  }
  if (first == nullptr) return Status::ok();
  std::string supported;
  for (const std::span<const quant::Format> formats : {quant::formats(), quant::file_formats()})
    for (const quant::Format& format : formats) {
      if (format.repack_scaled != nullptr) continue;  // GGUF has no such format
      if (!supported.empty()) supported += ", ";
      supported += format.name;
    }
  return cursor.bad("tensor " + in_quotes(first->name) + " has the type " + type_name(first->type) +
                    (unsupported > 1 ? " (and " + std::to_string(unsupported - 1) +
                                           " more tensors have types like it)"
                                     : "") +
                    ", which this build does not support; use a file of the types " + supported);
}

Status place_tensor(const GgufCursor& cursor, RawGgufTensor&& raw, std::uint64_t data_begin,
                    std::uint64_t alignment, std::uint64_t file_bytes, TensorInfo* out) {
  const std::string tensor = "tensor " + in_quotes(raw.name);
  const quant::Format* format = quant::find(raw.type);
  Result<std::uint64_t> row = quant::row_bytes(*format, raw.shape.back());
  if (!row.is_ok()) return cursor.malformed(tensor + ": " + row.message());
  std::uint64_t bytes = *row;
  for (std::size_t i = 0; i + 1 < raw.shape.size(); ++i) {
    if (raw.shape[i] > file_bytes / bytes) {
      return cursor.bad("the file is cut off: " + tensor + " is larger than the file of " +
                        std::to_string(file_bytes) + " bytes; fetch it again");
    }
    bytes *= raw.shape[i];
  }
  if (raw.offset % alignment != 0) {
    return cursor.malformed("the offset of " + tensor + " is " + std::to_string(raw.offset) +
                            ", which is not a multiple of the alignment " +
                            std::to_string(alignment));
  }
  const std::uint64_t data_bytes = file_bytes - data_begin;
  if (raw.offset > data_bytes || bytes > data_bytes - raw.offset) {
    return cursor.bad("the file is cut off: " + tensor + " of " + std::to_string(bytes) +
                      " bytes lies at " + std::to_string(raw.offset) + " of the data, which has " +
                      std::to_string(data_bytes) + " bytes; fetch it again");
  }
  out->name = std::move(raw.name);
  out->type = format->type;
  out->shape = std::move(raw.shape);
  out->offset = data_begin + raw.offset;
  out->bytes = bytes;
  return Status::ok();
}

Status check_disjoint(const GgufCursor& cursor, const std::vector<TensorInfo>& tensors) {
  std::set<std::string_view> names;
  std::vector<const TensorInfo*> order;
  order.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return cursor.malformed("tensor " + in_quotes(tensor.name) + " appears twice");
    }
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(),
            [](const TensorInfo* a, const TensorInfo* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (order[i]->offset < order[i - 1]->offset + order[i - 1]->bytes) {
      return cursor.malformed("tensor " + in_quotes(order[i]->name) + " at byte " +
                              std::to_string(order[i]->offset) + " overlaps tensor " +
                              in_quotes(order[i - 1]->name));
    }
  }
  return Status::ok();
}

}  // namespace

Status read_gguf_tensors(GgufCursor* cursor, std::uint64_t count, std::vector<RawGgufTensor>* out) {
  if (count > cursor->left() / kGgufTensorBytesMin) {
    return cursor->bad("the file is cut off: its " + std::to_string(count) +
                       " tensor entries do not fit into the " + std::to_string(cursor->left()) +
                       " bytes after the metadata; fetch it again");
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    out->emplace_back();  // the vector grows as entries are read: a false count takes no memory
    TROUPE_RETURN_IF_ERROR(read_tensor_entry(cursor, i, &out->back()));
    if (is_foreign(out->back())) out->pop_back();
  }
  return check_types(*cursor, *out);
}

Status place_gguf_tensors(const GgufCursor& cursor, std::vector<RawGgufTensor> raw,
                          std::uint64_t file_bytes, GgufHeader* header) {
  header->tensors.resize(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    TROUPE_RETURN_IF_ERROR(place_tensor(cursor, std::move(raw[i]), header->header_bytes,
                                        header->alignment, file_bytes, &header->tensors[i]));
  }
  return check_disjoint(cursor, header->tensors);
}

}  // namespace troupe::model
