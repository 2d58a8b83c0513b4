#include <algorithm>
#include <cmath>
#include <optional>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/evaluator.h>
#include <troupe/model/jinja/marks.h>
#include <troupe/model/jinja/tests.h>
#include <troupe/runtime/text/utf8.h>

// Signs, and operators between two values.

namespace troupe::model::jinja {

Result<Value> Evaluator::evaluate_sign(const Expression& expression) {
  TROUPE_ASSIGN_OR_RETURN(const Value operand, evaluate(*expression.children[0]));
  const bool negate = expression.kind == ExpressionKind::kNegate;
  double number = 0;
  if (!to_number(operand, &number)) {
    return template_error(expression.line,
                          "a value of type " + std::string(type_name(operand)) + " has no sign");
  }
  if (operand.real() != nullptr) return Value(negate ? -number : number);
  // Integers in a template's text are positive, so only INT64_MIN, which has no negative, is
  // refused.
  const auto value = operand.integer() != nullptr ? *operand.integer() : std::int64_t{number != 0};
  std::int64_t negative = 0;
  if (__builtin_sub_overflow(std::int64_t{0}, value, &negative)) {
    return template_error(expression.line, "a number is too large");
  }
  return Value(negate ? negative : value);
}

Result<Value> Evaluator::evaluate_binary(const Expression& expression) {
  TROUPE_ASSIGN_OR_RETURN(const Value left, evaluate(*expression.children[0]));
  TROUPE_ASSIGN_OR_RETURN(const Value right, evaluate(*expression.children[1]));
  const std::string& op = expression.text;
  const int line = expression.line;
  if (op == "+") return concatenate(&budget_, line, left, right);
  if (op == "~") {
    TROUPE_RETURN_IF_ERROR(budget_.take(line, std::max(left.weight(), right.weight())));
    TROUPE_ASSIGN_OR_RETURN(Text joined, marked_text_of(line, left));
    TROUPE_ASSIGN_OR_RETURN(const Text b, marked_text_of(line, right));
    TROUPE_RETURN_IF_ERROR(budget_.take(line, joined.text.size() + b.text.size()));
    joined.append(b);
    return Value(std::move(joined));
  }
  TROUPE_ASSIGN_OR_RETURN(const std::optional<bool> holds, compare(line, op, left, right));
  if (holds) return Value(*holds);
  return arithmetic(line, op, left, right);
}

Result<std::optional<bool>> Evaluator::compare(int line, const std::string& op, const Value& left,
                                               const Value& right) {
  if (op == "==" || op == "!=") {
    TROUPE_RETURN_IF_ERROR(budget_.take(line, std::min(left.weight(), right.weight())));
    return std::optional<bool>(equal(left, right) == (op == "=="));
  }
  if (op == "in" || op == "not in") {
    TROUPE_ASSIGN_OR_RETURN(const bool inside, contains(&budget_, line, right, left));
    return std::optional<bool>(inside == (op == "in"));
  }
  static const std::pair<std::string_view, std::string> kTests[] = {
      {"<", "lt"}, {">", "gt"}, {"<=", "le"}, {">=", "ge"}};
  for (const auto& [text, test] : kTests) {
    if (op != text) continue;
    TROUPE_ASSIGN_OR_RETURN(const bool holds,
                            apply_test(&budget_, line, test, left, {{right}, {}}));
    return std::optional<bool>(holds);
  }
  return std::optional<bool>();
}

Result<Value> Evaluator::evaluate_comparisons(const Expression& expression) {
  TROUPE_ASSIGN_OR_RETURN(Value left, evaluate(*expression.children[0]));
  for (std::size_t i = 0; i < expression.comparisons.size(); ++i) {
    TROUPE_ASSIGN_OR_RETURN(Value right, evaluate(*expression.children[i + 1]));
    TROUPE_ASSIGN_OR_RETURN(const std::optional<bool> holds,
                            compare(expression.line, expression.comparisons[i], left, right));
    if (!holds.value_or(false)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Evaluator::repeat(int line, const Value& value, std::int64_t count) {
  const auto times = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
  const std::size_t bytes =
      value.string() != nullptr ? value.string()->size() : value.list()->size() * sizeof(Value);
  if (bytes > 0 && times > Budget::kTextBytesMax / bytes) {
    return budget_.take(line, Budget::kTextBytesMax + 1);
  }
  TROUPE_RETURN_IF_ERROR(budget_.take(line, bytes * times));
  if (const std::string* text = value.string()) {
    std::string out;
    for (std::size_t i = 0; i < times && bytes > 0; ++i) out += *text;
    const Value made(std::move(out));
    return value.is_foreign() ? made.as_foreign() : made;
  }
  List out;
  for (std::size_t i = 0; i < times && bytes > 0; ++i) {
    out.insert(out.end(), value.list()->begin(), value.list()->end());
  }
  return Value(std::move(out));
}

namespace {

// Sets `overflow` if the result does not fit. Rounding is Python's, toward minus infinity.
Value whole_arithmetic(const std::string& op, std::int64_t a, std::int64_t b, bool* overflow) {
  std::int64_t result = 0;
  if (op == "-") {
    *overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    *overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    if (b < 0) return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
    result = 1;
    *overflow = b > 63 && a != 0 && a != 1 && a != -1;
    for (std::int64_t i = 0; i < std::min<std::int64_t>(b, 64) && !*overflow; ++i) {
      *overflow = __builtin_mul_overflow(result, a, &result);
    }
    if (a == -1) result = b % 2 == 0 ? 1 : -1;
  } else if (b == -1) {
    *overflow = op == "//" && __builtin_sub_overflow(std::int64_t{0}, a, &result);
  } else {
    const std::int64_t rest = a % b;
    const bool adjust = rest != 0 && (rest < 0) != (b < 0);
    result = op == "//" ? a / b - (adjust ? 1 : 0) : rest + (adjust ? b : 0);
  }
  return Value(result);
}

}  // namespace

Result<Value> Evaluator::arithmetic(int line, const std::string& op, const Value& left,
                                    const Value& right) {
  const auto repeats = [](const Value& value) {
    return value.string() != nullptr || value.list() != nullptr;
  };
  std::int64_t a = 0, b = 0;
  const bool left_whole = to_integer(left, &a), right_whole = to_integer(right, &b);
  if (op == "*" && repeats(left) && right_whole) return repeat(line, left, b);
  if (op == "*" && repeats(right) && left_whole) return repeat(line, right, a);
  double x = 0, y = 0;
  if (!to_number(left, &x) || !to_number(right, &y)) {
    return template_error(
        line, "the operator " + in_quotes(op) + " is not known for values of the types " +
                  std::string(type_name(left)) + " and " + std::string(type_name(right)));
  }
  if ((op == "/" || op == "//" || op == "%") && y == 0) {
    return template_error(line, "a division by zero");
  }
  if (op == "/") return Value(x / y);
  if (!left_whole || !right_whole) {
    if (op == "-") return Value(x - y);
    if (op == "*") return Value(x * y);
    if (op == "//") return Value(std::floor(x / y));
    if (op == "%") return Value(x - std::floor(x / y) * y);
    return Value(std::pow(x, y));
  }
  bool overflow = false;
  Value result = whole_arithmetic(op, a, b, &overflow);
  if (overflow) return template_error(line, "the result of " + in_quotes(op) + " is too large");
  return result;
}

}  // namespace troupe::model::jinja
