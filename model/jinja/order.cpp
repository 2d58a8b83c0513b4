#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <troupe/model/jinja/attributes.h>
#include <troupe/model/jinja/builtin_parts.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/order.h>
#include <troupe/model/jinja/text.h>

namespace troupe::model::jinja {

Result<bool> less(int line, const Value& a, const Value& b, int depth) {
  double x = 0, y = 0;
  if (to_number(a, &x) && to_number(b, &y)) return compare_numbers(a, b) == -1;
  if (a.string() != nullptr && b.string() != nullptr) return *a.string() < *b.string();
  constexpr int kListDepthMax = 8;
  const bool alike = a.is_indexed() && b.is_indexed() && a.is_tuple() == b.is_tuple();
  if (alike && depth < kListDepthMax) {
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

Status compared(Budget* budget, int line, const Value& a, const Value& b) {
  return budget->take(line, std::min(a.weight(), b.weight()));
}

Value comparable(const Value& value, bool case_sensitive) {
  return value.string() != nullptr && !case_sensitive ? Value(lower(*value.string())) : value;
}

namespace {

// Returns what an item is sorted by.
Result<Value> sort_key(Budget* budget, int line, const Value& item, const SortOrder& order) {
  if (order.attribute == nullptr || order.attribute->is_none()) {
    return comparable(item, order.case_sensitive);
  }
  if (order.attribute->string() == nullptr) {
    TROUPE_ASSIGN_OR_RETURN(const Value key, path_of(budget, line, item, *order.attribute));
    return comparable(key, order.case_sensitive);
  }
  List keys;
  for (const Value& path : split_at(*order.attribute->string(), ",", -1)) {
    TROUPE_ASSIGN_OR_RETURN(const Value key, path_of(budget, line, item, path));
    keys.push_back(comparable(key, order.case_sensitive));
  }
  return Value(std::move(keys));
}

}  // namespace

Result<Value> sorted(Budget* budget, int line, List items, const SortOrder& order) {
  std::vector<std::pair<Value, Value>> keyed;  // key, item
  for (Value& item : items) {
    TROUPE_ASSIGN_OR_RETURN(Value key, sort_key(budget, line, item, order));
    // A key is compared several times.
    TROUPE_RETURN_IF_ERROR(budget->take(line, 16 * key.weight()));
    keyed.emplace_back(std::move(key), std::move(item));
  }
  TROUPE_RETURN_IF_ERROR(budget->step(line, keyed.size() * 20));
  Status status;
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    const Result<bool> before =
        order.reverse ? less(line, b.first, a.first) : less(line, a.first, b.first);
    if (!before.is_ok()) status = before.status();
    return before.is_ok() && *before;
  });
  TROUPE_RETURN_IF_ERROR(status);
  List out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  return counted(budget, line, std::move(out));
}

}  // namespace troupe::model::jinja
