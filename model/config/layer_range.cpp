#include <algorithm>
#include <charconv>
#include <string_view>

#include <troupe/model/config/layer_range.h>
#include <troupe/model/config/model_config.h>

namespace troupe::model {
namespace {

Status bad_range(std::string_view part, const std::string& why) {
  std::string message = "\"";
  message += part.substr(0, 40);
  message += "\" is not a range of layers (" + why + "); write for example 0-9,10-19";
  return Status(Code::kInvalidArgument, message);
}

Result<LayerRange> parse_layer_range(std::string_view part) {
  constexpr std::size_t kLayerMax = kLayersMax - 1;
  const auto number = [](std::string_view text, std::size_t* value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
    return error == std::errc() && end == text.data() + text.size();
  };
  const std::size_t dash = part.find('-');
  std::size_t first = 0, last = 0;
  if (!number(part.substr(0, dash), &first)) return bad_range(part, "not a number");
  last = first;
  if (dash != part.npos && !number(part.substr(dash + 1), &last))
    return bad_range(part, "not a number");
  if (last < first) return bad_range(part, "it ends before it begins");
  if (last > kLayerMax)
    return bad_range(part, "layers go up to " + std::to_string(kLayerMax) + " at most");
  return LayerRange{first, last + 1};
}

}  // namespace

Result<std::vector<LayerRange>> parse_layer_ranges(const std::string& text) {
  std::vector<LayerRange> ranges;
  const std::string_view all = text;
  for (std::size_t begin = 0; begin <= all.size();) {
    const std::size_t comma = std::min(all.find(',', begin), all.size());
    TROUPE_ASSIGN_OR_RETURN(LayerRange range, parse_layer_range(all.substr(begin, comma - begin)));
    ranges.push_back(range);
    begin = comma + 1;
  }
  return ranges;
}

std::string to_string(LayerRange range) {
  if (range.end <= range.begin) return "none";
  const std::string first = std::to_string(range.begin);
  if (range.end == range.begin + 1) return first;
  return first + "-" + std::to_string(range.end - 1);
}

}  // namespace troupe::model
