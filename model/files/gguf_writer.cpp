#include <limits>
#include <type_traits>
#include <variant>

#include <troupe/model/files/gguf_writer.h>

namespace troupe::model {
namespace {

template <class T>
void put(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put(const std::string& text, std::string* out) {
  put(std::uint64_t{text.size()}, out);
  *out += text;
}

// Returns the number of a value's type in the file (ggml/docs/gguf.md).
template <class T>
constexpr std::uint32_t type_number() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return 0;
  if constexpr (std::is_same_v<T, std::int8_t>) return 1;
  if constexpr (std::is_same_v<T, std::uint16_t>) return 2;
  if constexpr (std::is_same_v<T, std::int16_t>) return 3;
  if constexpr (std::is_same_v<T, std::uint32_t>) return 4;
  if constexpr (std::is_same_v<T, std::int32_t>) return 5;
  if constexpr (std::is_same_v<T, float>) return 6;
  if constexpr (std::is_same_v<T, bool>) return 7;
  if constexpr (std::is_same_v<T, std::string>) return 8;
  if constexpr (std::is_same_v<T, std::uint64_t>) return 10;
  if constexpr (std::is_same_v<T, std::int64_t>) return 11;
  if constexpr (std::is_same_v<T, double>) return 12;
}

template <class T>
void put_value(const T& value, std::string* out) {
  put(type_number<T>(), out);
  put(value, out);
}

template <class T>
void put_value(const std::vector<T>& values, std::string* out) {
  put(std::uint32_t{9}, out);
  put(type_number<T>(), out);
  put(std::uint64_t{values.size()}, out);
  for (const T& value : values) put(value, out);
}

// Returns the value in 32 bits if it is a number that fits, and any other value unchanged.
GgufValue narrowed(const GgufValue& value) {
  if (const auto* number = std::get_if<double>(&value)) return static_cast<float>(*number);
  if (const auto* number = std::get_if<std::uint64_t>(&value))
    if (*number <= std::numeric_limits<std::uint32_t>::max())
      return static_cast<std::uint32_t>(*number);
  if (const auto* number = std::get_if<std::int64_t>(&value))
    if (*number == static_cast<std::int32_t>(*number)) return static_cast<std::int32_t>(*number);
  return value;
}

std::uint64_t aligned(std::uint64_t bytes, std::uint64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

}  // namespace

std::string write_gguf_header(const GgufHeaderText& text, std::vector<TensorInfo>* tensors) {
  std::string out = "GGUF";
  put(text.version, &out);
  put(std::uint64_t{tensors->size()}, &out);
  put(text.entry_count, &out);
  out += text.entries;
  std::uint64_t at = 0;
  for (TensorInfo& tensor : *tensors) {
    put(tensor.name, &out);
    put(static_cast<std::uint32_t>(tensor.shape.size()), &out);
    for (std::size_t i = tensor.shape.size(); i-- > 0;) put(tensor.shape[i], &out);
    put(static_cast<std::uint32_t>(tensor.type), &out);
    put(at, &out);
    tensor.offset = at;
    at = aligned(at + tensor.bytes, text.alignment);
  }
  out.resize(aligned(out.size(), text.alignment), '\0');
  for (TensorInfo& tensor : *tensors) tensor.offset += out.size();
  return out;
}

GgufHeaderText narrow_gguf_text(const GgufMetadata& metadata) {
  GgufHeaderText text;
  text.entry_count = metadata.size();
  for (const auto& [key, value] : metadata) {
    put(key, &text.entries);
    const auto* numbers = std::get_if<std::vector<std::int64_t>>(&value);
    if (numbers != nullptr && key == "tokenizer.ggml.precompiled_charsmap") {
      put_value(std::vector<std::uint8_t>(numbers->begin(), numbers->end()), &text.entries);
    } else if (numbers != nullptr) {
      put_value(std::vector<std::int32_t>(numbers->begin(), numbers->end()), &text.entries);
    } else if (const auto* fractions = std::get_if<std::vector<double>>(&value)) {
      put_value(std::vector<float>(fractions->begin(), fractions->end()), &text.entries);
    } else {
      std::visit([&](const auto& v) { put_value(v, &text.entries); }, narrowed(value));
    }
  }
  return text;
}

std::string write_gguf_header(const GgufMetadata& metadata, std::vector<TensorInfo>* tensors) {
  GgufHeaderText text;
  text.entry_count = metadata.size();
  for (const auto& [key, value] : metadata) {
    put(key, &text.entries);
    std::visit([&](const auto& v) { put_value(v, &text.entries); }, value);
  }
  return write_gguf_header(text, tensors);
}

}  // namespace troupe::model
