#include <cstdlib>
#include <utility>

#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/parser.h>

// Expressions, from the loosest binding to the tightest.

namespace troupe::model::jinja {

ExpressionResult Parser::parse_tuple(bool with_condition) {
  const int line = peek().line;
  const auto parse_one = [&] { return with_condition ? parse_expression() : parse_or(); };
  TROUPE_ASSIGN_OR_RETURN(ExpressionPtr first, parse_one());
  if (!is_operator(",")) return first;
  std::vector<ExpressionPtr> items = list_of(std::move(first));
  while (accept_operator(",")) {
    if (peek().kind == TokenKind::kTagEnd || peek().kind == TokenKind::kOutputEnd) break;
    if (!with_condition && (is_name("if") || is_name("recursive"))) break;
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr item, parse_one());
    items.push_back(std::move(item));
  }
  return node(ExpressionKind::kTuple, line, "", std::move(items));
}

ExpressionResult Parser::parse_expression() {
  const Level level(&level_);
  if (level_ > kRecursionMax) {
    return template_error(peek().line, "an expression is nested too deeply");
  }
  TROUPE_ASSIGN_OR_RETURN(ExpressionPtr value, parse_or());
  while (is_name("if")) {
    const int line = next().line;
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr condition, parse_or());
    ExpressionPtr otherwise;
    if (accept_name("else")) {
      TROUPE_ASSIGN_OR_RETURN(otherwise, parse_expression());
    }
    TROUPE_ASSIGN_OR_RETURN(
        value, node(ExpressionKind::kConditional, line, "",
                    list_of(std::move(value), std::move(condition), std::move(otherwise))));
  }
  return value;
}

ExpressionResult Parser::parse_or() {
  TROUPE_ASSIGN_OR_RETURN(ExpressionPtr left, parse_and());
  while (is_name("or")) {
    const int line = next().line;
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr right, parse_and());
    TROUPE_ASSIGN_OR_RETURN(
        left, node(ExpressionKind::kOr, line, "", list_of(std::move(left), std::move(right))));
  }
  return left;
}

ExpressionResult Parser::parse_and() {
  TROUPE_ASSIGN_OR_RETURN(ExpressionPtr left, parse_not());
  while (is_name("and")) {
    const int line = next().line;
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr right, parse_not());
    TROUPE_ASSIGN_OR_RETURN(
        left, node(ExpressionKind::kAnd, line, "", list_of(std::move(left), std::move(right))));
  }
  return left;
}

ExpressionResult Parser::parse_not() {
  if (!is_name("not")) return parse_compare();
  const Level level(&level_);
  const int line = next().line;
  if (level_ > kRecursionMax) return template_error(line, "an expression is nested too deeply");
  TROUPE_ASSIGN_OR_RETURN(ExpressionPtr operand, parse_not());
  return node(ExpressionKind::kNot, line, "", list_of(std::move(operand)));
}

std::string Parser::next_comparison() const {
  static constexpr std::string_view kOperators[] = {"==", "!=", "<", "<=", ">", ">="};
  if (is_name("in")) return "in";
  if (is_name("not") && is_name("in", 1)) return "not in";
  for (const std::string_view one : kOperators) {
    if (is_operator(one)) return std::string(one);
  }
  return "";
}

ExpressionResult Parser::parse_compare() {
  const int line = peek().line;
  TROUPE_ASSIGN_OR_RETURN(ExpressionPtr first, parse_sum());
  std::vector<ExpressionPtr> operands = list_of(std::move(first));
  std::vector<std::string> operators;
  for (std::string what = next_comparison(); !what.empty(); what = next_comparison()) {
    at_ += what == "not in" ? 2 : 1;
    operators.push_back(std::move(what));
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr operand, parse_sum());
    operands.push_back(std::move(operand));
  }
  if (operators.empty()) return std::move(operands[0]);
  if (operators.size() == 1) {
    return node(ExpressionKind::kBinary, line, operators[0], std::move(operands));
  }
  TROUPE_ASSIGN_OR_RETURN(ExpressionPtr made,
                          node(ExpressionKind::kComparisons, line, "", std::move(operands)));
  made->comparisons = std::move(operators);
  return made;
}

template <class Operand>
ExpressionResult Parser::parse_binary(std::span<const std::string_view> operators,
                                      Operand operand) {
  TROUPE_ASSIGN_OR_RETURN(ExpressionPtr left, operand());
  for (;;) {
    const auto found = std::find_if(operators.begin(), operators.end(),
                                    [&](std::string_view one) { return is_operator(one); });
    if (found == operators.end()) return left;
    const int line = next().line;
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr right, operand());
    TROUPE_ASSIGN_OR_RETURN(left, node(ExpressionKind::kBinary, line, std::string(*found),
                                       list_of(std::move(left), std::move(right))));
  }
}

ExpressionResult Parser::parse_sum() {
  static constexpr std::string_view kOperators[] = {"+", "-"};
  return parse_binary(kOperators, [&] { return parse_concatenation(); });
}

ExpressionResult Parser::parse_concatenation() {
  static constexpr std::string_view kOperators[] = {"~"};
  return parse_binary(kOperators, [&] { return parse_product(); });
}

ExpressionResult Parser::parse_product() {
  static constexpr std::string_view kOperators[] = {"*", "/", "//", "%"};
  return parse_binary(kOperators, [&] { return parse_power(); });
}

ExpressionResult Parser::parse_power() {
  static constexpr std::string_view kOperators[] = {"**"};
  return parse_binary(kOperators, [&] { return parse_unary(/*with_filters=*/true); });
}

ExpressionResult Parser::parse_unary(bool with_filters) {
  const Level level(&level_);
  const int line = peek().line;
  if (level_ > kRecursionMax) return template_error(line, "an expression is nested too deeply");
  ExpressionPtr value;
  if (is_operator("-") || is_operator("+")) {
    const ExpressionKind kind =
        next().text == "-" ? ExpressionKind::kNegate : ExpressionKind::kPlus;
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr operand, parse_unary(/*with_filters=*/false));
    TROUPE_ASSIGN_OR_RETURN(value, node(kind, line, "", list_of(std::move(operand))));
  } else {
    TROUPE_ASSIGN_OR_RETURN(value, parse_primary());
  }
  TROUPE_ASSIGN_OR_RETURN(value, parse_postfix(std::move(value)));
  if (!with_filters) return value;
  return parse_filters(std::move(value));
}

ExpressionResult Parser::parse_primary() {
  const Token token = next();
  auto made = std::make_unique<Expression>();
  made->line = token.line;
  switch (token.kind) {
    case TokenKind::kName:
      return parse_name(token, std::move(made));
    case TokenKind::kString: {
      std::string text = token.text;
      while (peek().kind == TokenKind::kString) text += next().text;
      made->value = Value(std::move(text));
      return made;
    }
    case TokenKind::kInteger: {
      TROUPE_RETURN_IF_ERROR(parse_number(token, &made->value));
      return made;
    }
    case TokenKind::kReal: {
      made->value = Value(std::strtod(token.text.c_str(), nullptr));
      return made;
    }
    default:
      break;
  }
  if (token.kind == TokenKind::kOperator) {
    if (token.text == "(") return parse_parentheses(token.line);
    if (token.text == "[") {
      made->kind = ExpressionKind::kList;
      TROUPE_RETURN_IF_ERROR(parse_items("]", &made->children));
      return finish(std::move(made));
    }
    if (token.text == "{") return parse_dict(std::move(made));
  }
  --at_;
  return unexpected("an expression");
}

Status Parser::parse_number(const Token& token, Value* value) {
  const bool based = token.text.size() > 2 && token.text[0] == '0' && token.text[1] > '9';
  const char kind = based ? token.text[1] : '0';
  const int base = kind == 'x' || kind == 'X'   ? 16
                   : kind == 'o' || kind == 'O' ? 8
                   : based                      ? 2
                                                : 10;
  const auto number = BigInteger::parse(std::string_view(token.text).substr(based ? 2 : 0), base);
  if (!number) return template_error(token.line, "the number " + token.text + " is too large");
  *value = Value(*number);
  return Status::ok();
}

ExpressionResult Parser::parse_name(const Token& token, ExpressionPtr made) {
  if (token.text == "true" || token.text == "True") {
    made->value = Value(true);
  } else if (token.text == "false" || token.text == "False") {
    made->value = Value(false);
  } else if (token.text == "none" || token.text == "None") {
    made->value = Value(None{});
  } else {
    made->kind = ExpressionKind::kName;
    made->text = token.text;
  }
  return made;
}

ExpressionResult Parser::parse_parentheses(int line) {
  if (accept_operator(")")) return node(ExpressionKind::kTuple, line, "", {});
  TROUPE_ASSIGN_OR_RETURN(ExpressionPtr first, parse_expression());
  if (!is_operator(",")) {
    TROUPE_RETURN_IF_ERROR(expect_operator(")"));
    return first;
  }
  ++at_;
  std::vector<ExpressionPtr> items = list_of(std::move(first));
  TROUPE_RETURN_IF_ERROR(parse_items(")", &items));
  return node(ExpressionKind::kTuple, line, "", std::move(items));
}

Status Parser::parse_items(std::string_view end, std::vector<ExpressionPtr>* items) {
  while (!accept_operator(end)) {
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr item, parse_expression());
    items->push_back(std::move(item));
    if (!is_operator(end)) TROUPE_RETURN_IF_ERROR(expect_operator(","));
  }
  return Status::ok();
}

ExpressionResult Parser::parse_dict(ExpressionPtr made) {
  made->kind = ExpressionKind::kDict;
  while (!accept_operator("}")) {
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr key, parse_expression());
    TROUPE_RETURN_IF_ERROR(expect_operator(":"));
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr value, parse_expression());
    made->children.push_back(std::move(key));
    made->children.push_back(std::move(value));
    if (!is_operator("}")) TROUPE_RETURN_IF_ERROR(expect_operator(","));
  }
  return finish(std::move(made));
}

Status Parser::parse_arguments(Expression* call) {
  while (!accept_operator(")")) {
    if (is_operator("*") || is_operator("**")) {
      ExpressionPtr& spread = is_operator("*") ? call->star : call->double_star;
      if (spread != nullptr || call->double_star != nullptr) return unexpected("')'");
      ++at_;
      TROUPE_ASSIGN_OR_RETURN(spread, parse_expression());
    } else if (peek().kind == TokenKind::kName && is_operator("=", 1)) {
      if (call->double_star != nullptr) return unexpected("')'");
      auto& [name, value] = call->keywords.emplace_back();
      name = next().text;
      ++at_;
      TROUPE_ASSIGN_OR_RETURN(value, parse_expression());
    } else {
      if (!call->keywords.empty() || call->star != nullptr || call->double_star != nullptr) {
        return unexpected("a named argument");
      }
      TROUPE_ASSIGN_OR_RETURN(ExpressionPtr value, parse_expression());
      call->arguments.push_back(std::move(value));
    }
    if (!is_operator(")")) TROUPE_RETURN_IF_ERROR(expect_operator(","));
  }
  return Status::ok();
}

ExpressionResult Parser::parse_postfix(ExpressionPtr value) {
  for (;;) {
    const int line = peek().line;
    auto made = std::make_unique<Expression>();
    made->line = line;
    if (accept_operator(".")) {
      if (peek().kind == TokenKind::kInteger) {  // messages.0
        made->kind = ExpressionKind::kIndex;
        TROUPE_ASSIGN_OR_RETURN(ExpressionPtr index, parse_primary());
        made->children = list_of(std::move(value), std::move(index));
      } else {
        made->kind = ExpressionKind::kAttribute;
        TROUPE_ASSIGN_OR_RETURN(made->text, expect_name());
        made->children = list_of(std::move(value));
      }
    } else if (accept_operator("[")) {
      TROUPE_RETURN_IF_ERROR(parse_subscript(made.get(), std::move(value)));
    } else if (accept_operator("(")) {
      made->kind = ExpressionKind::kCall;
      made->children = list_of(std::move(value));
      TROUPE_RETURN_IF_ERROR(parse_arguments(made.get()));
    } else {
      return value;
    }
    TROUPE_ASSIGN_OR_RETURN(value, finish(std::move(made)));
  }
}

Status Parser::parse_subscript(Expression* made, ExpressionPtr value) {
  ExpressionPtr parts[3];
  std::size_t colons = 0;
  std::vector<ExpressionPtr> items;  // of a tuple, as in x[1, 2]
  while (!accept_operator("]")) {
    if (items.empty() && accept_operator(":")) {
      if (++colons > 2) return unexpected("']'");
      continue;
    }
    if (colons == 0 && parts[0] != nullptr && accept_operator(",")) {
      items.push_back(std::move(parts[0]));
      continue;
    }
    if (parts[colons] != nullptr) return unexpected("']'");
    TROUPE_ASSIGN_OR_RETURN(parts[colons], parse_expression());
  }
  if (!items.empty()) {
    if (parts[0] != nullptr) items.push_back(std::move(parts[0]));
    TROUPE_ASSIGN_OR_RETURN(parts[0],
                            node(ExpressionKind::kTuple, made->line, "", std::move(items)));
  }
  if (colons == 0 && parts[0] == nullptr) return unexpected("an index");
  made->kind = colons > 0 ? ExpressionKind::kSlice : ExpressionKind::kIndex;
  made->children = list_of(std::move(value), std::move(parts[0]));
  if (colons > 0) {
    made->children.push_back(std::move(parts[1]));
    made->children.push_back(std::move(parts[2]));
  }
  return Status::ok();
}

ExpressionResult Parser::parse_filters(ExpressionPtr value) {
  for (;;) {
    auto made = std::make_unique<Expression>();
    made->line = peek().line;
    bool negated = false;
    if (accept_operator("|")) {
      made->kind = ExpressionKind::kFilter;
      TROUPE_ASSIGN_OR_RETURN(made->text, expect_name());
      if (accept_operator("(")) TROUPE_RETURN_IF_ERROR(parse_arguments(made.get()));
    } else if (accept_name("is")) {
      made->kind = ExpressionKind::kTest;
      negated = accept_name("not");
      TROUPE_ASSIGN_OR_RETURN(made->text, expect_name());
      if (accept_operator("(")) {
        TROUPE_RETURN_IF_ERROR(parse_arguments(made.get()));
      } else if (begins_test_argument()) {
        TROUPE_ASSIGN_OR_RETURN(ExpressionPtr argument, parse_primary());
        TROUPE_ASSIGN_OR_RETURN(argument, parse_postfix(std::move(argument)));
        made->arguments.push_back(std::move(argument));
      }
    } else if (accept_operator("(")) {  // the result of a filter may be called
      made->kind = ExpressionKind::kCall;
      TROUPE_RETURN_IF_ERROR(parse_arguments(made.get()));
    } else {
      return value;
    }
    const int line = made->line;
    made->children = list_of(std::move(value));
    TROUPE_ASSIGN_OR_RETURN(value, finish(std::move(made)));
    if (negated) {
      TROUPE_ASSIGN_OR_RETURN(value,
                              node(ExpressionKind::kNot, line, "", list_of(std::move(value))));
    }
  }
}

bool Parser::begins_test_argument() const {
  const Token& token = peek();
  if (token.kind == TokenKind::kString || token.kind == TokenKind::kInteger ||
      token.kind == TokenKind::kReal) {
    return true;
  }
  if (is_operator("[") || is_operator("{")) return true;
  return token.kind == TokenKind::kName && token.text != "else" && token.text != "or" &&
         token.text != "and" && token.text != "is" && token.text != "if" && token.text != "in" &&
         token.text != "not";
}

}  // namespace troupe::model::jinja
