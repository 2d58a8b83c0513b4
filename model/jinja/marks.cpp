#include <algorithm>
#include <iterator>

#include <troupe/model/jinja/marks.h>

namespace troupe::model::jinja {
namespace {

bool any_foreign(const Value& input, const Arguments& arguments) {
  return input.is_foreign() ||
         std::any_of(arguments.positional.begin(), arguments.positional.end(),
                     [](const Value& one) { return one.is_foreign(); }) ||
         std::any_of(arguments.keywords.begin(), arguments.keywords.end(),
                     [](const auto& one) { return one.second.is_foreign(); });
}

// Returns `part`, which is `source` without characters at its ends, with the marks of `source`. The
// characters cut off on the left do not contain the first character of the part, so the first place
// where the part occurs is its own.
Value stripped(const Text& source, const std::string& part) {
  const std::size_t at = source.text.find(part);
  Text out{part, {}, source.markup};
  for (const TextSpan& span : source.foreign) {
    const std::size_t begin = std::max(span.begin, at), end = std::min(span.end, at + part.size());
    if (begin < end) out.foreign.push_back({begin - at, end - at});
  }
  return Value(std::move(out));
}

}  // namespace

Result<Text> marked_text_of(int line, const Value& value) {
  if (value.text() != nullptr) return *value.text();
  TROUPE_ASSIGN_OR_RETURN(std::string text, text_of(line, value));
  Text out{std::move(text), {}, false};
  if (value.is_foreign() && !out.text.empty()) out.foreign.push_back({0, out.text.size()});
  return out;
}

Value marked_filter(const std::string& name, const Value& input, const Arguments& arguments,
                    Value result) {
  if (!any_foreign(input, arguments)) return result;
  if (name == "trim" && input.text() != nullptr && result.string() != nullptr) {
    return stripped(*input.text(), *result.string());
  }
  static constexpr std::string_view kPicking[] = {
      "default", "d",      "first",      "last",       "list",  "sort",   "select", "reject",
      "batch",   "slice",  "selectattr", "rejectattr", "items", "map",    "unique", "dictsort",
      "attr",    "random", "groupby",    "max",        "min",   "length", "count"};
  const bool picks =
      std::find(std::begin(kPicking), std::end(kPicking), name) != std::end(kPicking);
  return picks ? result : result.as_foreign();
}

Value marked_method(const std::string& name, const Value& object, const Arguments& arguments,
                    Value result) {
  if (!any_foreign(object, arguments)) return result;
  if (object.text() != nullptr && result.string() != nullptr) {
    if (name == "strip") return stripped(*object.text(), *result.string());
    if (name == "rstrip") return stripped(*object.text(), *result.string());
    if (name == "lstrip") return stripped(*object.text(), *result.string());
  }
  static constexpr std::string_view kPicking[] = {"get",  "items", "keys",   "values",
                                                  "copy", "next",  "format", "format_map"};
  const bool picks =
      std::find(std::begin(kPicking), std::end(kPicking), name) != std::end(kPicking);
  if (picks) return result;
  return result.as_foreign();
}

}  // namespace troupe::model::jinja
