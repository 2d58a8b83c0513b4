#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filters.h>
#include <troupe/model/jinja/order.h>
#include <troupe/model/jinja/tests.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

// A test without arguments, which only inspects the value.
struct Kind {
  std::string_view name;
  bool (*holds)(const Value&);
};

bool is_number(const Value& value) {
  double number = 0;
  return to_number(value, &number);
}
// Says whether a value has Python's Sequence protocol as Jinja requires it: a length and items.
bool is_sequence(const Value& value) {
  return value.string() != nullptr || value.is_indexed() || value.dict() != nullptr ||
         value.range() != nullptr || value.is_undefined();
}
bool is_iterable(const Value& value) {
  return is_sequence(value) || value.list() != nullptr || value.is(Object::Kind::kIterator) ||
         value.is(Object::Kind::kLoop);
}
bool is_callable(const Value& value) {
  return value.callable() != nullptr || value.is(Object::Kind::kJoiner) ||
         value.is(Object::Kind::kLoop) || value.is_undefined();
}

constexpr Kind kKinds[] = {
    {"defined", [](const Value& one) { return !one.is_undefined(); }},
    {"undefined", [](const Value& one) { return one.is_undefined(); }},
    {"none", [](const Value& one) { return one.is_none(); }},
    {"string", [](const Value& one) { return one.string() != nullptr; }},
    {"boolean", [](const Value& one) { return one.boolean() != nullptr; }},
    {"integer", [](const Value& one) { return one.is_whole(); }},
    {"float", [](const Value& one) { return one.real() != nullptr; }},
    {"number", is_number},
    {"mapping", [](const Value& one) { return one.dict() != nullptr; }},
    {"sequence", is_sequence},
    {"iterable", is_iterable},
    {"callable", is_callable},
    {"escaped", [](const Value& one) { return one.is_markup(); }},
    {"true", [](const Value& one) { return one.boolean() != nullptr && *one.boolean(); }},
    {"false", [](const Value& one) { return one.boolean() != nullptr && !*one.boolean(); }},
};

constexpr std::string_view kCased[] = {"lower", "upper"};
constexpr std::string_view kParity[] = {"odd", "even"};
constexpr std::string_view kNames[] = {"filter", "test"};
constexpr std::string_view kComparisons[] = {"equalto",  "eq", "==", "ne", "!=",          "lt",
                                             "lessthan", "<",  "gt", ">",  "greaterthan", "le",
                                             "<=",       "ge", ">=", "in", "divisibleby", "sameas"};

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<bool> is_cased(Budget* budget, int line, const std::string& name, const Value& input) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, input.weight()));
  TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(line, input));
  const bool cased = lower(text) != upper(text);
  return cased && (name == "lower" ? text == lower(text) : text == upper(text));
}

// Says whether one number divides the other without a remainder.
Result<bool> divides(int line, const Value& input, const Value& other) {
  const auto a = whole_of(input), b = whole_of(other);
  if (!a || !b || b->is_zero()) return wrong_type(line, "the test 'divisibleby'", input);
  return BigInteger::divide(*a, *b).second.is_zero();
}

// Says whether two values are one object. Equal numbers and strings are taken as one.
bool is_same(const Value& a, const Value& b) {
  if (a.data.index() != b.data.index()) return false;
  if (a.list() != nullptr) return a.list() == b.list();
  if (a.dict() != nullptr) return a.dict() == b.dict();
  return equal(a, b);
}

Result<bool> compare(Budget* budget, int line, const std::string& name, const Value& input,
                     const Value& other) {
  TROUPE_RETURN_IF_ERROR(compared(budget, line, input, other));
  if (name == "equalto" || name == "eq" || name == "==") return equal(input, other);
  if (name == "ne" || name == "!=") return !equal(input, other);
  if (name == "sameas") return is_same(input, other);
  if (name == "in") return contains(budget, line, other, input);
  if (name == "divisibleby") return divides(line, input, other);
  if (name == "lt" || name == "lessthan" || name == "<") return less(line, input, other);
  if (name == "gt" || name == "greaterthan" || name == ">") return less(line, other, input);
  const bool ascending = name == "le" || name == "<=";
  TROUPE_ASSIGN_OR_RETURN(const bool before,
                          ascending ? less(line, input, other) : less(line, other, input));
  return before || equal(input, other);
}

}  // namespace

bool is_test(std::string_view name) {
  return is_one_of(name, kCased) || is_one_of(name, kParity) || is_one_of(name, kNames) ||
         is_one_of(name, kComparisons) ||
         std::any_of(std::begin(kKinds), std::end(kKinds),
                     [&](const Kind& kind) { return kind.name == name; });
}

Result<bool> apply_test(Budget* budget, int line, const std::string& name, const Value& input,
                        const Arguments& arguments) {
  TROUPE_RETURN_IF_ERROR(budget->step(line));
  for (const Kind& kind : kKinds) {
    if (kind.name == name) return kind.holds(input);
  }
  if (is_one_of(name, kParity)) {
    const auto whole = whole_of(input);
    if (whole) return whole->is_odd() == (name == "odd");
    if (input.real() == nullptr) return wrong_type(line, "the test " + in_quotes(name), input);
    const double rest = *input.real() - 2 * std::floor(*input.real() / 2);
    return rest == (name == "odd" ? 1.0 : 0.0);
  }
  if (is_one_of(name, kCased)) return is_cased(budget, line, name, input);
  if (is_one_of(name, kNames)) {
    if (input.string() == nullptr) return false;
    return name == "filter" ? is_filter(*input.string()) : is_test(*input.string());
  }
  if (!is_one_of(name, kComparisons)) {
    return template_error(line, "the test " + in_quotes(name) + " is not known");
  }
  const Value* other = arguments.get(0, "other");
  if (other == nullptr && name == "divisibleby") other = arguments.get(0, "num");
  if (other == nullptr) {
    return template_error(line, "the test " + in_quotes(name) + " needs a value");
  }
  return compare(budget, line, name, input, *other);
}

}  // namespace troupe::model::jinja
