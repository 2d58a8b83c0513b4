#include <algorithm>
#include <iterator>
#include <type_traits>
#include <utility>

#include <troupe/model/files/gguf.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

Status missing_key(std::string_view key) {
  return Status(Code::kBadData, "the metadata key " + in_quotes(key) +
                                    " is missing; take another file of the model");
}

Status wrong_value(std::string_view key, const std::string& sentence) {
  return Status(Code::kBadData, "the metadata value of " + in_quotes(key) + " " + sentence +
                                    "; take another file of the model");
}

}  // namespace

bool is_model_tensor(std::string_view name) {
  // The beginnings of the names. Source: gguf-py's constants.py (TENSOR_NAMES).
  static constexpr std::string_view kBeginnings[] = {
      "token_embd", "token_types", "position_embd", "output",     "rope_f", "cls",
      "blk.",       "enc.",        "dec.",          "per_layer_", "altup_", "dense_",
      "conv1d",     "posnet.",     "convnext.",     "nextn.",     "mtp.",   "v.",
      "a.",         "mm.",         "resampler.",    "hc_",        "model."};
  return std::any_of(std::begin(kBeginnings), std::end(kBeginnings),
                     [&](std::string_view begin) { return name.starts_with(begin); });
}

Status GgufHeader::of_this(const Status& status) const {
  return what.empty() ? status : status.with_context(what);
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
          return wrong_value(key, "is " + std::to_string(value) + ", expected 0 or more");
        } else if constexpr (std::is_same_v<T, std::vector<std::int64_t>>) {
          if (value.empty() || value.front() < 0) return wrong_value(key, "is not an integer");
          for (const std::int64_t other : value) {
            if (other != value.front())
              return Status(Code::kBadData,
                            "the metadata value of " + in_quotes(key) + " differs from layer to " +
                                "layer (" + std::to_string(value.front()) + " and " +
                                std::to_string(other) +
                                "), which this version cannot run yet; take another model, or a "
                                "newer version of Troupe");
          }
          return static_cast<std::uint64_t>(value.front());
        } else {
          return wrong_value(key, "is not an integer");
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
          return wrong_value(key, "is not a number");
        }
      },
      entry->second);
}

Result<std::string> GgufHeader::string(std::string_view key) const {
  const auto entry = metadata.find(key);
  if (entry == metadata.end()) return missing_key(key);
  if (const auto* value = std::get_if<std::string>(&entry->second)) return *value;
  return wrong_value(key, "is not a string");
}

}  // namespace troupe::model
