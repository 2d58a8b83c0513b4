#include <algorithm>

#include <troupe/model/jinja/builtin_parts.h>
#include <troupe/model/jinja/lexer.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {

Status Budget::step(int line, std::size_t count) {
  steps_ += count;
  if (steps_ <= kStepsMax) return Status::ok();
  return template_error(line,
                        "the rendering takes more than " + std::to_string(kStepsMax) + " steps",
                        Code::kResourceExhausted);
}

Status Budget::take(int line, std::size_t bytes) {
  if (bytes > kTextBytesMax) {
    return template_error(line,
                          "a value is larger than " + std::to_string(kTextBytesMax >> 20) + " MiB",
                          Code::kResourceExhausted);
  }
  return work(line, bytes);
}

Status Budget::work(int line, std::size_t bytes) {
  bytes_ += bytes;
  if (bytes_ > kBytesMax) {
    return template_error(line,
                          "the rendering goes through more than " +
                              std::to_string(kBytesMax >> 20) + " MiB of values",
                          Code::kResourceExhausted);
  }
  return step(line);
}

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

Result<Value> path_of(Budget* budget, int line, const Value& item, const Value& path) {
  if (path.string() == nullptr) return subscript(budget, line, item, path);
  Value value = item;
  for (const Value& part : split_at(*path.string(), ".", -1)) {
    TROUPE_ASSIGN_OR_RETURN(value, subscript(budget, line, value, part));
  }
  return value;
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

Result<bool> less(int line, const Value& a, const Value& b, int depth) {
  double x = 0, y = 0;
  if (to_number(a, &x) && to_number(b, &y)) return x < y;
  if (a.string() != nullptr && b.string() != nullptr) return *a.string() < *b.string();
  constexpr int kListDepthMax = 8;
  if (a.list() != nullptr && b.list() != nullptr && depth < kListDepthMax) {
    const std::size_t both = std::min(a.list()->size(), b.list()->size());
    for (std::size_t i = 0; i < both; ++i) {
      const Value &one = (*a.list())[i], &other = (*b.list())[i];
      if (!equal(one, other)) return less(line, one, other, depth + 1);
    }
    return a.list()->size() < b.list()->size();
  }
  return template_error(line, "values of the types " + std::string(type_name(a)) + " and " +
                                  std::string(type_name(b)) + " cannot be ordered");
}

bool to_integer(const Value& value, std::int64_t* out) {
  if (value.integer() != nullptr) {
    *out = *value.integer();
  } else if (value.boolean() != nullptr) {
    *out = *value.boolean() ? 1 : 0;
  } else {
    return false;
  }
  return true;
}

Value dict_items(const Dict& dict) {
  List items;
  for (const auto& [key, value] : dict) items.emplace_back(List{Value(key), value});
  return Value(std::move(items));
}

}  // namespace troupe::model::jinja
