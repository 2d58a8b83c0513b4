#include <set>
#include <vector>

#include <troupe/model/json_text.h>
#include <troupe/model/utf8.h>

namespace troupe::model {
namespace {

using nlohmann::json;

constexpr const char* kDamaged = "; the file is damaged: fetch it again";

// The byte at which brackets go deeper than `depth_max`, or text.size().
std::size_t too_deep_at(std::string_view text, std::size_t depth_max) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > depth_max) return i;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return text.size();
}

}  // namespace

Result<json> parse_json(std::string_view text, const std::string& what, const JsonLimits& limits) {
  const auto bad = [&](const std::string& sentence) {
    return Status(Code::kBadData, what + " " + sentence);
  };
  if (text.size() > limits.bytes_max)
    return bad("has " + std::to_string(text.size()) + " bytes, more than the limit of " +
               std::to_string(limits.bytes_max));
  const std::size_t deep = too_deep_at(text, limits.depth_max);
  if (deep != text.size())
    return bad("is nested more than " + std::to_string(limits.depth_max) + " deep at byte " +
               std::to_string(deep) + kDamaged);
  std::vector<std::set<std::string>> keys;  // of every object that is open
  std::string repeated;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && repeated.empty() &&
        !keys.back().insert(parsed.get<std::string>()).second)
      repeated = parsed.get<std::string>();
    return true;
  };
  try {
    json value = json::parse(text.begin(), text.end(), watch);
    if (!repeated.empty()) return bad("has the key " + in_quotes(repeated) + " twice" + kDamaged);
    return value;
  } catch (const json::parse_error& error) {
    return bad("is no JSON at byte " + std::to_string(error.byte) + kDamaged);
  } catch (const json::exception&) {
    return bad(std::string("holds a number that is out of range") + kDamaged);
  }
}

}  // namespace troupe::model
