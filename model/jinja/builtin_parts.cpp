#include <algorithm>
#include <utility>

#include <troupe/model/jinja/builtin_parts.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/print.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {

const Value* Arguments::get(std::size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  return name.empty() ? nullptr : find(keywords, name);
}

Result<std::string> text_of(int line, const Value& value) {
  Result<std::string> text = to_text(value, Budget::kTextBytesMax);
  return text.is_ok() ? std::move(text) : template_error(line, text.message(), text.code());
}

const Row* find_row(std::span<const Row> rows, std::string_view name) {
  for (const Row& row : rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

Result<Value> run_row(const Row& row, const Use& use) {
  if (row.parameters == "*") return row.run(use);
  std::vector<std::string> names;
  for (const Value& name : split_at_white_space(row.parameters, -1)) {
    names.push_back(*name.string());
  }
  if (use.arguments.positional.size() > names.size()) {
    return template_error(use.line, in_quotes(use.name) + " takes " + std::to_string(names.size()) +
                                        (names.size() == 1 ? " argument" : " arguments") +
                                        " at most");
  }
  for (const auto& [name, value] : use.arguments.keywords) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return template_error(use.line, in_quotes(use.name) + " has no argument " + in_quotes(name));
    }
  }
  return row.run(use);
}

Status wrong_type(int line, const std::string& doing, const Value& value) {
  return template_error(
      line, doing + " cannot be done with a value of type " + std::string(type_name(value)));
}

Result<std::int64_t> integer_argument(int line, const Arguments& arguments, std::size_t index,
                                      std::string_view name, std::int64_t fallback) {
  const Value* value = arguments.get(index, name);
  if (value == nullptr) return fallback;
  if (value->boolean() != nullptr) return std::int64_t{*value->boolean()};
  if (value->integer() == nullptr) {
    return wrong_type(line, "counting with the argument " + in_quotes(name), *value);
  }
  return *value->integer();
}

Result<std::string> string_argument(int line, const Arguments& arguments, std::size_t index,
                                    std::string_view name) {
  const Value* value = arguments.get(index, name);
  if (value == nullptr || value->string() == nullptr) {
    return template_error(line, "the argument " + in_quotes(name) + " must be a string");
  }
  return *value->string();
}

Result<Value> counted(Budget* budget, int line, std::string text) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, text.size()));
  return Value(std::move(text));
}
Result<Value> counted(Budget* budget, int line, List list) {
  std::size_t bytes = list.size() * sizeof(Value);
  for (const Value& item : list) {
    if (item.string() != nullptr) bytes += item.string()->size();
  }
  TROUPE_RETURN_IF_ERROR(budget->take(line, bytes));
  return Value(std::move(list));
}

Status take_search(Budget* budget, int line, std::string_view text, std::string_view part) {
  return budget->work(line, text.size() + text.size() * part.size() / 128);
}

Result<Value> join(Budget* budget, int line, const List& items, const std::string& separator) {
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(line, items[i]));
    TROUPE_RETURN_IF_ERROR(budget->take(line, text.size() + separator.size()));
    if (i > 0) out += separator;
    out += text;
  }
  return Value(std::move(out));
}

List dict_items(const Dict& dict) {
  List items;
  for (const auto& [key, value] : dict) items.push_back(tuple_of({key, value}));
  return items;
}

Result<Text> escaped(int line, const Value& value) {
  if (value.is_markup()) return *value.text();
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(line, value));
  Text out{escape_html(text), {}, true};
  if (value.is_foreign() && !out.text.empty()) out.foreign.push_back({0, out.text.size()});
  return out;
}

}  // namespace troupe::model::jinja
