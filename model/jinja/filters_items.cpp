#include <algorithm>
#include <utility>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/attributes.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filter_tables.h>
#include <troupe/model/jinja/order.h>

// Filters that iterate over the items of a value.

namespace troupe::model::jinja {
namespace {

Result<List> items_of(const Use& use) { return iterate(use.budget, use.line, use.input); }

// Returns the part of each item that `attribute` names, or the item.
Result<List> parts_of(const Use& use, List items, const Value* attribute) {
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

Result<Value> sort(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  return sorted(use.budget, use.line, std::move(items),
                {use.get(2, "attribute"), use.flag(0, "reverse"), use.flag(1, "case_sensitive")});
}

Result<Value> unique(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  TROUPE_ASSIGN_OR_RETURN(const List parts, parts_of(use, items, use.get(1, "attribute")));
  const bool case_sensitive = use.flag(0, "case_sensitive");
  List seen, out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Value key = comparable(parts[i], case_sensitive);
    if (!is_hashable(key)) {
      return iterator_of(std::move(out), "generator", wrong_type(use.line, "comparing items", key));
    }
    bool known = false;
    for (const Value& one : seen) {
      TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, std::min(one.weight(), key.weight())));
      known = known || equal(one, key);
    }
    if (known) continue;
    seen.push_back(key);
    out.push_back(std::move(items[i]));
  }
  return iterator_of(std::move(out));
}

Result<Value> extreme(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  TROUPE_ASSIGN_OR_RETURN(const List parts, parts_of(use, items, use.get(1, "attribute")));
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

// Takes only one item from an iterator.
Result<Value> first(const Use& use) {
  if (use.input.is(Object::Kind::kIterator)) {
    Object& iterator = *use.input.object();
    if (iterator.at < iterator.items.size()) return iterator.items[iterator.at++];
    TROUPE_RETURN_IF_ERROR(iterator.failed);
    return Value();
  }
  TROUPE_ASSIGN_OR_RETURN(const List items, items_of(use));
  return items.empty() ? Value() : items.front();
}

Result<Value> last(const Use& use) {
  if (use.input.is(Object::Kind::kIterator)) {
    return wrong_type(use.line, "going backwards", use.input);
  }
  TROUPE_ASSIGN_OR_RETURN(const List items, items_of(use));
  return items.empty() ? Value() : items.back();
}

// Chooses an item. Any choice is right; this one is the same in every rendering.
Result<Value> random(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const List items, items_of(use));
  if (use.input.dict() != nullptr || use.input.is(Object::Kind::kIterator)) {
    return wrong_type(use.line, "choosing an item", use.input);
  }
  return items.empty() ? Value() : items[items.size() * 7 / 16];
}

Result<Value> reverse(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  std::reverse(items.begin(), items.end());
  if (use.input.string() != nullptr) {
    TROUPE_ASSIGN_OR_RETURN(const Value text, join(use.budget, use.line, items, ""));
    return soft_text(use, *text.string());
  }
  if (use.input.is(Object::Kind::kIterator)) return Value(std::move(items));
  return iterator_of(std::move(items), std::string(type_name(use.input)) + "_reverseiterator");
}

Result<Value> join_items(const Use& use) {
  std::string separator;
  if (const Value* given = use.get(0, "d")) {
    TROUPE_ASSIGN_OR_RETURN(separator, text_of(use.line, *given));
  }
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  TROUPE_ASSIGN_OR_RETURN(const List parts,
                          parts_of(use, std::move(items), use.get(1, "attribute")));
  return join(use.budget, use.line, parts, separator);
}

Result<Value> sum(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(List items, items_of(use));
  TROUPE_ASSIGN_OR_RETURN(const List parts,
                          parts_of(use, std::move(items), use.get(0, "attribute")));
  const Value* start = use.get(1, "start");
  Value total = start == nullptr ? Value(std::int64_t{0}) : *start;
  if (total.string() != nullptr) return wrong_type(use.line, "a sum", total);
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
  if (filling != nullptr && filling->is_none()) filling = nullptr;
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
  return iterator_of(std::move(out));
}

// Returns a number of lists of nearly the same size, the first ones one item longer.
Result<Value> slice(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const List items, items_of(use));
  TROUPE_ASSIGN_OR_RETURN(const std::int64_t slices,
                          integer_argument(use.line, use.arguments, 0, "slices", 0));
  if (slices < 1) return template_error(use.line, "'slice' needs a number of lists above 0");
  TROUPE_RETURN_IF_ERROR(
      use.budget->take(use.line, static_cast<std::size_t>(slices) * sizeof(Value)));
  const Value* filling = use.get(1, "fill_with");
  const auto size = static_cast<std::int64_t>(items.size());
  const std::int64_t each = size / slices, longer = size % slices;
  List out;
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < slices; ++i) {
    const std::int64_t end = at + each + (i < longer ? 1 : 0);
    List one(items.begin() + at, items.begin() + end);
    at = end;
    if (filling != nullptr && !filling->is_none() && i >= longer) one.push_back(*filling);
    out.emplace_back(std::move(one));
  }
  return iterator_of(std::move(out));
}

// Returns [(grouper, [its items]), ...] by ascending keys.
Result<Value> group(const Use& use) {
  const Value* attribute = use.get(0, "attribute");
  if (attribute == nullptr) return template_error(use.line, "'groupby' needs an attribute");
  const Value* fallback = use.get(1, "default");
  if (fallback != nullptr && fallback->is_none()) fallback = nullptr;
  const bool case_sensitive = use.flag(2, "case_sensitive");
  TROUPE_ASSIGN_OR_RETURN(const List items, items_of(use));
  List keyed;  // (key, part, item)
  for (const Value& item : items) {
    TROUPE_ASSIGN_OR_RETURN(const Value part,
                            path_of(use.budget, use.line, item, *attribute, fallback));
    keyed.push_back(tuple_of({comparable(part, case_sensitive), part, item}));
  }
  const Value place(std::int64_t{0});
  TROUPE_ASSIGN_OR_RETURN(const Value ordered,
                          sorted(use.budget, use.line, std::move(keyed), {&place, false, true}));
  List out, members;
  Value key, grouper;
  for (const Value& one : *ordered.list()) {
    const List& parts = *one.list();
    if (!members.empty() && !equal(parts[0], key)) {
      out.emplace_back(List{grouper, Value(std::exchange(members, {}))}, Sequence::kGroup);
    }
    if (members.empty()) grouper = parts[1];
    key = parts[0];
    members.push_back(parts[2]);
  }
  if (!members.empty()) {
    out.emplace_back(List{grouper, Value(std::move(members))}, Sequence::kGroup);
  }
  return counted(use.budget, use.line, std::move(out));
}

constexpr Row kItemFilters[] = {
    {"list", "", to_list},
    {"join", "d attribute", join_items},
    {"first", "", first},
    {"last", "", last},
    {"random", "", random},
    {"reverse", "", reverse},
    {"sort", "reverse case_sensitive attribute", sort},
    {"unique", "case_sensitive attribute", unique},
    {"max", "case_sensitive attribute", extreme},
    {"min", "case_sensitive attribute", extreme},
    {"sum", "attribute start", sum},
    {"batch", "linecount fill_with", batch},
    {"slice", "slices fill_with", slice},
    {"groupby", "attribute default case_sensitive", group},
};

}  // namespace

std::span<const Row> item_filters() { return kItemFilters; }

}  // namespace troupe::model::jinja
