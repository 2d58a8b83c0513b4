#include <algorithm>
#include <iterator>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/order.h>
#include <troupe/model/jinja/tests.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {

Result<bool> apply_test(Budget* budget, int line, const std::string& name, const Value& input,
                        const Arguments& arguments) {
  TROUPE_RETURN_IF_ERROR(budget->step(line));
  if (name == "defined") return !input.is_undefined();
  if (name == "undefined") return input.is_undefined();
  if (name == "none") return input.is_none();
  if (name == "string") return input.string() != nullptr;
  if (name == "boolean") return input.boolean() != nullptr;
  if (name == "integer") return input.integer() != nullptr;
  if (name == "float") return input.real() != nullptr;
  if (name == "mapping") return input.dict() != nullptr;
  if (name == "callable") return input.callable() != nullptr;
  if (name == "true") return input.boolean() != nullptr && *input.boolean();
  if (name == "false") return input.boolean() != nullptr && !*input.boolean();
  double number = 0;
  if (name == "number") return to_number(input, &number);
  if (name == "iterable" || name == "sequence") {
    return input.string() != nullptr || input.list() != nullptr || input.dict() != nullptr ||
           input.is_undefined();
  }
  if (name == "odd" || name == "even") {
    if (input.integer() == nullptr) return wrong_type(line, "the test " + in_quotes(name), input);
    return (*input.integer() % 2 != 0) == (name == "odd");
  }
  if (name == "lower" || name == "upper") {
    TROUPE_RETURN_IF_ERROR(budget->take(line, input.weight()));
    TROUPE_ASSIGN_OR_RETURN(const std::string text, text_of(line, input));
    const bool cased = lower(text) != upper(text);
    return cased && (name == "lower" ? text == lower(text) : text == upper(text));
  }
  const Value* other = arguments.get(0, "other");
  static constexpr std::string_view kComparisons[] = {
      "equalto", "eq",          "==", "ne", "!=", "lt",          "lessthan",
      "gt",      "greaterthan", "le", "ge", "in", "divisibleby", "sameas"};
  if (std::find(std::begin(kComparisons), std::end(kComparisons), name) == std::end(kComparisons)) {
    return template_error(line, "the test " + in_quotes(name) + " is not known");
  }
  if (other == nullptr)
    return template_error(line, "the test " + in_quotes(name) + " needs a value");
  TROUPE_RETURN_IF_ERROR(budget->take(line, std::min(input.weight(), other->weight())));
  if (name == "equalto" || name == "eq" || name == "==") return equal(input, *other);
  if (name == "sameas") return input.data.index() == other->data.index() && equal(input, *other);
  if (name == "ne" || name == "!=") return !equal(input, *other);
  if (name == "in") return contains(budget, line, *other, input);
  if (name == "divisibleby") {
    if (input.integer() == nullptr || other->integer() == nullptr || *other->integer() == 0) {
      return wrong_type(line, "the test 'divisibleby'", input);
    }
    return *other->integer() == -1 || *input.integer() % *other->integer() == 0;
  }
  if (name == "lt" || name == "lessthan") return less(line, input, *other);
  if (name == "gt" || name == "greaterthan") return less(line, *other, input);
  TROUPE_ASSIGN_OR_RETURN(const bool reverse,
                          name == "le" ? less(line, *other, input) : less(line, input, *other));
  return !reverse;
}

}  // namespace troupe::model::jinja
