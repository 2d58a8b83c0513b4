#include <algorithm>
#include <utility>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filter_tables.h>
#include <troupe/model/jinja/filters.h>
#include <troupe/model/jinja/order.h>
#include <troupe/model/jinja/tests.h>

// Filters that go through the items of a value.

namespace troupe::model::jinja {
namespace {

Result<List> items_of(const Use& use) { return iterate(use.budget, use.line, use.input); }

// Returns each item, or the part of it that `attribute` names.
Result<List> parts_of(const Use& use, const Value* attribute) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  if (attribute == nullptr || attribute->is_none()) return items;
  for (Value& item : items) {
    TROUPE_ASSIGN_OR_RETURN(item, path_of(use.budget, use.line, item, *attribute));
  }
  return items;
}

Result<Value> to_list(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  return Value(std::move(items));
}

// map(filter, arguments...) or map(attribute=..., default=...)
Result<Value> map(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const List items, items_of(use));
  List out;
  const Value* attribute = find(use.arguments.keywords, "attribute");
  if (use.arguments.positional.empty() && attribute != nullptr) {
    const Value* fallback = find(use.arguments.keywords, "default");
    for (const Value& item : items) {
      TROUPE_ASSIGN_OR_RETURN(Value value, path_of(use.budget, use.line, item, *attribute));
      out.push_back(value.is_undefined() && fallback != nullptr ? *fallback : std::move(value));
    }
    return counted(use.budget, use.line, std::move(out));
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string name,
                          string_argument(use.line, use.arguments, 0, "filter"));
  Arguments rest = use.arguments;
  rest.positional.erase(rest.positional.begin());
  for (const Value& item : items) {
    TROUPE_ASSIGN_OR_RETURN(Value value, apply_filter(use.budget, use.line, name, item, rest));
    out.push_back(std::move(value));
  }
  return counted(use.budget, use.line, std::move(out));
}

// select, reject: (test, arguments...); selectattr, rejectattr: (attribute, test, arguments...)
Result<Value> select(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const List items, items_of(use));
  const bool by_attribute = use.name.ends_with("attr");
  const bool keep = use.name.starts_with("select");
  Arguments rest = use.arguments;
  Value attribute;
  std::string test;
  if (by_attribute) {
    if (rest.positional.empty()) {
      return template_error(use.line, "'" + use.name + "' needs the name of an attribute");
    }
    attribute = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  if (!rest.positional.empty()) {
    TROUPE_ASSIGN_OR_RETURN(test, string_argument(use.line, rest, 0, "test"));
    rest.positional.erase(rest.positional.begin());
  }
  List out;
  for (const Value& item : items) {
    TROUPE_RETURN_IF_ERROR(use.budget->step(use.line));
    Value subject = item;
    if (by_attribute) {
      TROUPE_ASSIGN_OR_RETURN(subject, path_of(use.budget, use.line, item, attribute));
    }
    bool holds = truth(subject);
    if (!test.empty()) {
      TROUPE_ASSIGN_OR_RETURN(holds, apply_test(use.budget, use.line, test, subject, rest));
    }
    if (holds == keep) out.push_back(item);
  }
  return counted(use.budget, use.line, std::move(out));
}

Result<Value> sort(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  return sorted(use.budget, use.line, std::move(items),
                {use.get(2, "attribute"), use.flag(0, "reverse"), use.flag(1, "case_sensitive")});
}

Result<Value> unique(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  TROUPE_ASSIGN_OR_RETURN(const List parts, parts_of(use, use.get(1, "attribute")));
  const bool case_sensitive = use.flag(0, "case_sensitive");
  List seen, out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Value key = comparable(parts[i], case_sensitive);
    bool known = false;
    for (const Value& one : seen) {
      TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, std::min(one.weight(), key.weight())));
      known = known || equal(one, key);
    }
    if (known) continue;
    seen.push_back(key);
    out.push_back(std::move(items[i]));
  }
  return counted(use.budget, use.line, std::move(out));
}

Result<Value> extreme(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  TROUPE_ASSIGN_OR_RETURN(const List parts, parts_of(use, use.get(1, "attribute")));
  if (items.empty()) return Value();
  std::size_t best = 0;
  const auto key = [&](std::size_t i) {
    return comparable(parts[i], use.flag(0, "case_sensitive"));
  };
  for (std::size_t i = 1; i < items.size(); ++i) {
    TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, parts[i].weight() + parts[best].weight()));
    TROUPE_ASSIGN_OR_RETURN(const bool better, use.name == "max"
                                                   ? less(use.line, key(best), key(i))
                                                   : less(use.line, key(i), key(best)));
    if (better) best = i;
  }
  return items[best];
}

Result<Value> end_item(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  if (items.empty()) return Value();
  return use.name == "first" ? items.front() : items.back();
}

Result<Value> reverse(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  std::reverse(items.begin(), items.end());
  return use.input.string() != nullptr ? join(use.budget, use.line, items, "")
                                       : Value(std::move(items));
}

Result<Value> join_items(const Use& use) {
  std::string separator;
  if (const Value* given = use.get(0, "d")) {
    TROUPE_ASSIGN_OR_RETURN(separator, text_of(use.line, *given));
  }
  TROUPE_ASSIGN_OR_RETURN(const List parts, parts_of(use, use.get(1, "attribute")));
  return join(use.budget, use.line, parts, separator);
}

Result<Value> sum(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const List parts, parts_of(use, use.get(0, "attribute")));
  const Value* start = use.get(1, "start");
  Value total = start == nullptr ? Value(std::int64_t{0}) : *start;
  for (const Value& part : parts) {
    TROUPE_ASSIGN_OR_RETURN(total, concatenate(use.budget, use.line, total, part));
  }
  return total;
}

Result<Value> batch(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const List items, items_of(use));
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t size,
                          integer_argument(use.line, use.arguments, 0, "linecount", 0));
  if (size < 1) return template_error(use.line, "'batch' needs a number of items above 0");
  const Value* filling = use.get(1, "fill_with");
  List out, row;
  for (const Value& item : items) {
    row.push_back(item);
    if (static_cast<std::int64_t>(row.size()) == size) out.emplace_back(std::exchange(row, {}));
  }
  if (!row.empty()) {
    TROUPE_RETURN_IF_ERROR(
        use.budget->take(use.line, static_cast<std::size_t>(size) * sizeof(Value)));
    while (filling != nullptr && static_cast<std::int64_t>(row.size()) < size) {
      row.push_back(*filling);
    }
    out.emplace_back(std::move(row));
  }
  return counted(use.budget, use.line, std::move(out));
}

// Returns [[key, [its items]], ...] by ascending keys.
Result<Value> group(const Use& use) {
  const Value* attribute = use.get(0, "attribute");
  if (attribute == nullptr) return template_error(use.line, "'groupby' needs an attribute");
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  TROUPE_ASSIGN_OR_RETURN(const Value ordered,
                          sorted(use.budget, use.line, std::move(items), {attribute}));
  List out, members;
  Value key;
  for (const Value& item : *ordered.list()) {
    TROUPE_ASSIGN_OR_RETURN(const Value part, path_of(use.budget, use.line, item, *attribute));
    const bool same = equal(comparable(part, false), comparable(key, false));
    if (!members.empty() && !same) {
      out.emplace_back(List{key, Value(std::exchange(members, {}))});
    }
    if (members.empty()) key = part;
    members.push_back(item);
  }
  if (!members.empty()) out.emplace_back(List{key, Value(std::move(members))});
  return counted(use.budget, use.line, std::move(out));
}

constexpr Row kFilters[] = {
    {"list", "", to_list},
    {"map", "*", map},
    {"select", "*", select},
    {"reject", "*", select},
    {"selectattr", "*", select},
    {"rejectattr", "*", select},
    {"join", "d attribute", join_items},
    {"first", "", end_item},
    {"last", "", end_item},
    {"reverse", "", reverse},
    {"sort", "reverse case_sensitive attribute", sort},
    {"unique", "case_sensitive attribute", unique},
    {"max", "case_sensitive attribute", extreme},
    {"min", "case_sensitive attribute", extreme},
    {"sum", "attribute start", sum},
    {"batch", "linecount fill_with", batch},
    {"groupby", "attribute", group},
};

}  // namespace

std::span<const Row> item_filters() { return kFilters; }

}  // namespace troupe::model::jinja
