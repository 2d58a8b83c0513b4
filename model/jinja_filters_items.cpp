#include <algorithm>

#include <troupe/model/jinja_builtin_parts.h>
#include <troupe/model/jinja_text.h>

// Filters that go through the items of a value.

namespace troupe::model::jinja {
namespace {

Result<Value> filter_map(Budget* budget, int line, const List& items, const Arguments& arguments) {
  List out;
  const Value* attribute = arguments.positional.empty() ? arguments.get(9, "attribute") : nullptr;
  if (attribute != nullptr && attribute->string() != nullptr) {
    const Value* fallback = arguments.get(9, "default");
    for (const Value& item : items) {
      TROUPE_ASSIGN_OR_RETURN(Value value, path_of(budget, line, item, *attribute->string()));
      out.push_back(value.is_undefined() && fallback != nullptr ? *fallback : std::move(value));
    }
  } else {
    TROUPE_ASSIGN_OR_RETURN(const std::string name, string_argument(line, arguments, 0, "filter"));
    Arguments rest = arguments;
    rest.positional.erase(rest.positional.begin());
    for (const Value& item : items) {
      TROUPE_ASSIGN_OR_RETURN(Value value, apply_filter(budget, line, name, item, rest));
      out.push_back(std::move(value));
    }
  }
  return counted(budget, line, std::move(out));
}

// select, reject: (test, arguments...); selectattr, rejectattr: (attribute, test, arguments...)
Result<Value> filter_select(Budget* budget, int line, const std::string& name, const List& items,
                            const Arguments& arguments) {
  const bool by_attribute = name.ends_with("attr");
  const bool keep = name.starts_with("select");
  Arguments rest = arguments;
  std::string attribute, test;
  if (by_attribute) {
    TROUPE_ASSIGN_OR_RETURN(attribute, string_argument(line, rest, 0, "attribute"));
    rest.positional.erase(rest.positional.begin());
  }
  if (!rest.positional.empty()) {
    TROUPE_ASSIGN_OR_RETURN(test, string_argument(line, rest, 0, "test"));
    rest.positional.erase(rest.positional.begin());
  }
  List out;
  for (const Value& item : items) {
    TROUPE_RETURN_IF_ERROR(budget->step(line));
    Value subject = item;
    if (by_attribute) {
      TROUPE_ASSIGN_OR_RETURN(subject, path_of(budget, line, item, attribute));
    }
    bool holds = truth(subject);
    if (!test.empty()) {
      TROUPE_ASSIGN_OR_RETURN(holds, apply_test(budget, line, test, subject, rest));
    }
    if (holds == keep) out.push_back(item);
  }
  return counted(budget, line, std::move(out));
}

}  // namespace

Result<Value> filter_sort(Budget* budget, int line, List items, const Arguments& arguments) {
  const Value* reverse = arguments.get(0, "reverse");
  const Value* attribute = arguments.get(9, "attribute");
  std::vector<std::pair<Value, Value>> keyed;  // key, item
  for (Value& item : items) {
    Value key = item;
    if (attribute != nullptr && attribute->string() != nullptr) {
      TROUPE_ASSIGN_OR_RETURN(key, path_of(budget, line, item, *attribute->string()));
    }
    TROUPE_RETURN_IF_ERROR(budget->take(line, 16 * key.weight()));   // it is compared some times
    if (key.string() != nullptr) key = Value(lower(*key.string()));  // case does not count
    keyed.emplace_back(std::move(key), std::move(item));
  }
  TROUPE_RETURN_IF_ERROR(budget->step(line, keyed.size() * 20));
  Status status;
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    const Result<bool> before = less(line, a.first, b.first);
    if (!before.is_ok()) status = before.status();
    return before.is_ok() && *before;
  });
  TROUPE_RETURN_IF_ERROR(status);
  List out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  if (reverse != nullptr && truth(*reverse)) std::reverse(out.begin(), out.end());
  return counted(budget, line, std::move(out));
}

namespace {

Result<Value> filter_unique(Budget* budget, int line, const List& items) {
  List out;
  for (const Value& item : items) {
    for (const Value& one : out) {
      TROUPE_RETURN_IF_ERROR(budget->take(line, std::min(one.weight(), item.weight())));
    }
    const bool seen =
        std::any_of(out.begin(), out.end(), [&](const Value& one) { return equal(one, item); });
    if (!seen) out.push_back(item);
  }
  return counted(budget, line, std::move(out));
}

Result<Value> filter_extreme(int line, const List& items, bool largest) {
  if (items.empty()) return Value();
  const Value* best = &items[0];
  for (const Value& item : items) {
    TROUPE_ASSIGN_OR_RETURN(const bool before,
                            largest ? less(line, *best, item) : less(line, item, *best));
    if (before) best = &item;
  }
  return *best;
}

}  // namespace

Result<std::optional<Value>> items_filter(Budget* budget, int line, const std::string& name,
                                          const Value& input, const Arguments& arguments) {
  static constexpr std::string_view kNames[] = {
      "list", "map",     "select", "reject", "selectattr", "rejectattr", "join", "first",
      "last", "reverse", "sort",   "unique", "max",        "min",        "sum"};
  if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames)) {
    return std::optional<Value>();
  }
  TROUPE_ASSIGN_OR_RETURN(List items, iterate(budget, line, input));
  const auto run = [&]() -> Result<Value> {
    if (name == "list") return Value(std::move(items));
    if (name == "map") return filter_map(budget, line, items, arguments);
    if (name == "first") return items.empty() ? Value() : items.front();
    if (name == "last") return items.empty() ? Value() : items.back();
    if (name == "sort") return filter_sort(budget, line, std::move(items), arguments);
    if (name == "unique") return filter_unique(budget, line, items);
    if (name == "max" || name == "min") return filter_extreme(line, items, name == "max");
    if (name == "reverse") {
      std::reverse(items.begin(), items.end());
      return input.string() != nullptr ? join(budget, line, items, "") : Value(std::move(items));
    }
    if (name == "join") {
      std::string separator;
      if (const Value* given = arguments.get(0, "d")) {
        TROUPE_ASSIGN_OR_RETURN(separator, text_of(line, *given));
      }
      if (const Value* attribute = arguments.get(1, "attribute")) {
        TROUPE_ASSIGN_OR_RETURN(const std::string path, text_of(line, *attribute));
        for (Value& item : items) {
          TROUPE_ASSIGN_OR_RETURN(item, path_of(budget, line, item, path));
        }
      }
      return join(budget, line, items, separator);
    }
    if (name == "sum") {
      Value sum(std::int64_t{0});
      for (const Value& item : items) {
        TROUPE_ASSIGN_OR_RETURN(sum, concatenate(budget, line, sum, item));
      }
      return sum;
    }
    return filter_select(budget, line, name, items, arguments);
  };
  TROUPE_ASSIGN_OR_RETURN(Value value, run());
  return std::optional<Value>(std::move(value));
}

}  // namespace troupe::model::jinja
