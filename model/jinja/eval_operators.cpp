#include <algorithm>
#include <cmath>
#include <optional>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/evaluator.h>
#include <troupe/model/jinja/format.h>
#include <troupe/model/jinja/marks.h>
#include <troupe/model/jinja/order.h>
#include <troupe/model/jinja/tests.h>
#include <troupe/runtime/text/utf8.h>

// Signs, and operators between two values.

namespace troupe::model::jinja {

Result<Value> Evaluator::evaluate_sign(const Expression& expression) {
  TROUPE_ASSIGN_OR_RETURN(const Value operand, evaluate(*expression.children[0]));
  const bool negate = expression.kind == ExpressionKind::kNegate;
  if (const double* real = operand.real()) return Value(negate ? -*real : *real);
  const std::optional<BigInteger> whole = whole_of(operand);
  if (whole) return Value(negate ? -*whole : *whole);
  return template_error(expression.line,
                        "a value of type " + std::string(type_name(operand)) + " has no sign");
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
    TROUPE_RETURN_IF_ERROR(compared(&budget_, line, left, right));
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
  if (const Text* text = value.text()) {
    std::string out;
    for (std::size_t i = 0; i < times && bytes > 0; ++i) out += text->text;
    const Value made(Text{std::move(out), {}, text->markup});
    return value.is_foreign() ? made.as_foreign() : made;
  }
  List out;
  for (std::size_t i = 0; i < times && bytes > 0; ++i) {
    out.insert(out.end(), value.list()->begin(), value.list()->end());
  }
  return Value(std::move(out), value.sequence());
}

namespace {

Status too_large(int line, const std::string& op) {
  return template_error(line, "the result of " + in_quotes(op) + " is too large");
}

Result<Value> whole_power(int line, const BigInteger& base, const BigInteger& exponent) {
  const std::optional<std::int64_t> times = exponent.to_int64();
  if (exponent.is_negative()) {
    if (base.is_zero()) return template_error(line, "a division by zero");
    return Value(std::pow(base.to_double(), exponent.to_double()));
  }
  const bool small = base.is_zero() || BigInteger::compare(base, BigInteger(1)) == 0 ||
                     BigInteger::compare(base, BigInteger(-1)) == 0;
  if (small) {
    if (exponent.is_zero()) return Value(std::int64_t{1});
    return Value(base.is_negative() && !exponent.is_odd() ? -base : base);
  }
  if (!times || *times > 32 * static_cast<std::int64_t>(BigInteger::kWordsMax)) {
    return too_large(line, "**");
  }
  BigInteger result(1), square = base;
  for (std::int64_t left = *times; left > 0; left /= 2) {
    if (left % 2 != 0) result = result * square;
    if (left > 1) square = square * square;
    if (std::max(result.words(), square.words()) > BigInteger::kWordsMax + 1) {
      return too_large(line, "**");
    }
  }
  return Value(result);
}

Result<Value> whole_arithmetic(Budget* budget, int line, const std::string& op, const BigInteger& a,
                               const BigInteger& b) {
  TROUPE_RETURN_IF_ERROR(budget->work(line, 4 * a.words() * b.words()));
  if (op == "**") return whole_power(line, a, b);
  if (op == "/") {
    const double quotient = a.to_double() / b.to_double();
    if (!std::isfinite(quotient)) return too_large(line, op);
    return Value(quotient);
  }
  BigInteger result;
  if (op == "-") result = a - b;
  if (op == "*") result = a * b;
  if (op == "//" || op == "%") {
    // A long division makes one bit of the quotient after the other.
    TROUPE_RETURN_IF_ERROR(budget->work(line, 128 * a.words() * (a.words() + b.words())));
    auto [quotient, rest] = BigInteger::divide(a, b);
    result = op == "//" ? std::move(quotient) : std::move(rest);
  }
  if (result.words() > BigInteger::kWordsMax) return too_large(line, op);
  return Value(result);
}

// Returns what Python computes: the remainder has the sign of the divisor, and is exact.
double real_remainder(double x, double y) {
  double rest = std::fmod(x, y);
  if (rest != 0 && (y < 0) != (rest < 0)) rest += y;
  return rest == 0 ? std::copysign(0.0, y) : rest;
}

double real_quotient(double x, double y) {
  const double whole = (x - real_remainder(x, y)) / y;
  if (whole == 0) return std::copysign(0.0, x / y);
  const double floored = std::floor(whole);
  return whole - floored > 0.5 ? floored + 1.0 : floored;
}

}  // namespace

Result<Value> Evaluator::arithmetic(int line, const std::string& op, const Value& left,
                                    const Value& right) {
  const auto repeats = [](const Value& value) {
    return value.string() != nullptr || value.is_indexed();
  };
  if (op == "%" && left.text() != nullptr) return format_percent(&budget_, line, left, right);
  std::int64_t times = 0;
  if (op == "*" && repeats(left) && to_integer(right, &times)) return repeat(line, left, times);
  if (op == "*" && repeats(right) && to_integer(left, &times)) return repeat(line, right, times);
  double x = 0, y = 0;
  if (!to_number(left, &x) || !to_number(right, &y)) {
    return template_error(
        line, "the operator " + in_quotes(op) + " is not known for values of the types " +
                  std::string(type_name(left)) + " and " + std::string(type_name(right)));
  }
  if ((op == "/" || op == "//" || op == "%") && y == 0) {
    return template_error(line, "a division by zero");
  }
  const std::optional<BigInteger> a = whole_of(left), b = whole_of(right);
  if (a && b) return whole_arithmetic(&budget_, line, op, *a, *b);
  if ((a && std::isinf(x)) || (b && std::isinf(y))) return too_large(line, op);
  if (op == "-") return Value(x - y);
  if (op == "*") return Value(x * y);
  if (op == "/") return Value(x / y);
  if (op == "//") return Value(real_quotient(x, y));
  if (op == "%") return Value(real_remainder(x, y));
  if (x == 0 && y < 0) return template_error(line, "a division by zero");
  if (x < 0 && y != std::floor(y)) return template_error(line, "the root of a negative number");
  const double power = std::pow(x, y);
  if (std::isinf(power) && std::isfinite(x) && std::isfinite(y)) return too_large(line, op);
  return Value(power);
}

}  // namespace troupe::model::jinja
