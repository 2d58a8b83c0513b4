#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <troupe/model/files/gguf_values.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

// The most that a vocabulary can need. In memory, a number takes 8 bytes and a string 32 or more.
constexpr std::uint64_t kArrayElementsMax = std::uint64_t{1} << 24;

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

// Returns the bytes of a value of fixed size, and 0 for strings, arrays and unknown types.
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

template <class T>
Status read_scalar(GgufCursor* cursor, const std::string& field, std::optional<GgufValue>* out) {
  T value{};
  TROUPE_RETURN_IF_ERROR(cursor->read(field, &value));
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

Status read_strings(GgufCursor* cursor, const std::string& field, std::uint64_t count,
                    std::optional<GgufValue>* out) {
  if (count > cursor->left() / 8) {
    return cursor->bad("the file is cut off: " + field + " has " + std::to_string(count) +
                       " strings, more than fit into the " + std::to_string(cursor->left()) +
                       " bytes that are left; fetch it again");
  }
  // The vector grows as strings are read, so that a false count takes no memory.
  std::vector<std::string> values;
  for (std::uint64_t i = 0; i < count; ++i) {
    values.emplace_back();
    if (!cursor->try_string(&values.back())) {
      return cursor->read_string("string " + std::to_string(i) + " of " + field, &values.back());
    }
  }
  *out = std::move(values);
  return Status::ok();
}

// Goes past an array of arrays, whose element type is still to be read. No key that this program
// knows has one, so its values are not kept.
Status skip_arrays(GgufCursor* cursor, const std::string& field, int depth) {
  constexpr int kDepthMax = 8;
  if (depth > kDepthMax) return cursor->malformed(field + " is nested too deeply");
  std::uint32_t type = 0;
  std::uint64_t count = 0;
  TROUPE_RETURN_IF_ERROR(cursor->read("the element type of " + field, &type));
  TROUPE_RETURN_IF_ERROR(cursor->read("the count of " + field, &count));
  const std::uint64_t bytes = scalar_bytes(type);
  if (bytes == 0 && type != kString && type != kArray) {
    return cursor->malformed(field + " is an array of the unknown value type " +
                             std::to_string(type));
  }
  // Every element takes a byte at least, so that a false count ends at the end of the file.
  if (count > cursor->left() / std::max<std::uint64_t>(bytes, 1)) {
    return cursor->bad("the file is cut off: " + field + " has " + std::to_string(count) +
                       " elements, more than fit into the " + std::to_string(cursor->left()) +
                       " bytes that are left; fetch it again");
  }
  if (bytes > 0) {
    cursor->take(count * bytes);
    return Status::ok();
  }
  std::string text;
  for (std::uint64_t i = 0; i < count; ++i) {
    TROUPE_RETURN_IF_ERROR(type == kString ? cursor->read_string("a string of " + field, &text)
                                           : skip_arrays(cursor, field, depth + 1));
  }
  return Status::ok();
}

// Takes `count` numbers of a type of fixed size, which the caller knows to be there.
Status take_numbers(GgufCursor* cursor, const std::string& field, std::uint32_t type,
                    std::uint64_t count, std::optional<GgufValue>* out) {
  const std::byte* data = cursor->take(count * scalar_bytes(type));
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
      // The two types in which not every bit pattern is an i64 (or a truth value).
      std::vector<std::int64_t> values = type == kBool
                                             ? convert<std::uint8_t, std::int64_t>(data, count)
                                             : convert<std::uint64_t, std::int64_t>(data, count);
      for (std::uint64_t i = 0; i < count; ++i) {
        if (values[i] < 0 || (type == kBool && values[i] > 1)) {
          return cursor->malformed("element " + std::to_string(i) + " of " + field + " is " +
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

// Sets `out` to nothing for an array of arrays.
Status read_array(GgufCursor* cursor, const std::string& field, std::optional<GgufValue>* out) {
  std::uint32_t type = 0;
  std::uint64_t count = 0;
  TROUPE_RETURN_IF_ERROR(cursor->read("the element type of " + field, &type));
  TROUPE_RETURN_IF_ERROR(cursor->read("the count of " + field, &count));
  if (type == kArray) {
    for (std::uint64_t i = 0; i < count; ++i) {
      TROUPE_RETURN_IF_ERROR(skip_arrays(cursor, field, 0));
    }
    *out = std::nullopt;
    return Status::ok();
  }
  if (count > kArrayElementsMax) {
    return cursor->malformed(field + " has " + std::to_string(count) +
                             " elements, more than the limit of " +
                             std::to_string(kArrayElementsMax));
  }
  if (type == kString) return read_strings(cursor, field, count, out);
  const std::uint64_t bytes = scalar_bytes(type);
  if (bytes == 0) {
    return cursor->malformed(field + " is an array of the unknown value type " +
                             std::to_string(type));
  }
  if (count > cursor->left() / bytes) {
    return cursor->bad("the file is cut off: " + field + " has " + std::to_string(count) +
                       " elements of " + std::to_string(bytes) + " bytes, where " +
                       std::to_string(cursor->left()) + " bytes are left; fetch it again");
  }
  return take_numbers(cursor, field, type, count, out);
}

Status read_value(GgufCursor* cursor, std::uint32_t type, const std::string& field,
                  std::optional<GgufValue>* out) {
  switch (type) {
    case kU8:
      return read_scalar<std::uint8_t>(cursor, field, out);
    case kI8:
      return read_scalar<std::int8_t>(cursor, field, out);
    case kU16:
      return read_scalar<std::uint16_t>(cursor, field, out);
    case kI16:
      return read_scalar<std::int16_t>(cursor, field, out);
    case kU32:
      return read_scalar<std::uint32_t>(cursor, field, out);
    case kI32:
      return read_scalar<std::int32_t>(cursor, field, out);
    case kF32:
      return read_scalar<float>(cursor, field, out);
    case kU64:
      return read_scalar<std::uint64_t>(cursor, field, out);
    case kI64:
      return read_scalar<std::int64_t>(cursor, field, out);
    case kF64:
      return read_scalar<double>(cursor, field, out);
    case kArray:
      return read_array(cursor, field, out);
    case kString: {
      std::string value;
      TROUPE_RETURN_IF_ERROR(cursor->read_string(field, &value));
      *out = std::move(value);
      return Status::ok();
    }
    case kBool: {
      std::uint8_t value = 0;
      TROUPE_RETURN_IF_ERROR(cursor->read(field, &value));
      if (value > 1) {
        return cursor->malformed(field + " is a bool of value " + std::to_string(value) +
                                 ", expected 0 or 1");
      }
      *out = value == 1;
      return Status::ok();
    }
    default:
      return cursor->malformed(field + " has the unknown value type " + std::to_string(type));
  }
}

}  // namespace

Status read_gguf_metadata(GgufCursor* cursor, std::uint64_t count, GgufHeader* header,
                          std::vector<GgufEntryPlace>* places) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t begin = cursor->at();
    std::string key;
    TROUPE_RETURN_IF_ERROR(cursor->read_string("metadata key " + std::to_string(i), &key));
    if (key.empty() || utf8_valid_prefix(key) != key.size()) {
      return cursor->malformed("metadata key " + std::to_string(i) + " is " + in_quotes(key) +
                               ", expected UTF-8 text");
    }
    std::uint32_t type = 0;
    TROUPE_RETURN_IF_ERROR(cursor->read("the value type of " + in_quotes(key), &type));
    std::optional<GgufValue> value;
    TROUPE_RETURN_IF_ERROR(read_value(cursor, type, "the value of " + in_quotes(key), &value));
    if (value && !header->metadata.try_emplace(key, std::move(*value)).second) {
      return cursor->malformed("the metadata key " + in_quotes(key) + " appears twice");
    }
    if (places != nullptr) places->push_back({std::move(key), begin, cursor->at()});
  }
  return Status::ok();
}

}  // namespace troupe::model
