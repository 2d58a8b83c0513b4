#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <troupe/model/jinja/ast.h>
#include <troupe/model/jinja/lexer.h>

// The grammar of the template language, with one function for each rule: statements in parser.cpp,
// expressions in parser_expressions.cpp. The class is for these files; others call parse_template.

namespace troupe::model::jinja {

// The bound of the parser's own recursion.
constexpr int kRecursionMax = 100;

using ExpressionResult = Result<ExpressionPtr>;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Body> run();

 private:
  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  Token next() { return tokens_[std::min(at_++, tokens_.size() - 1)]; }
  bool is_operator(std::string_view text, std::size_t ahead = 0) const {
    return peek(ahead).kind == TokenKind::kOperator && peek(ahead).text == text;
  }
  bool is_name(std::string_view text, std::size_t ahead = 0) const {
    return peek(ahead).kind == TokenKind::kName && peek(ahead).text == text;
  }
  bool accept_operator(std::string_view text) {
    if (!is_operator(text)) return false;
    ++at_;
    return true;
  }
  bool accept_name(std::string_view text) {
    if (!is_name(text)) return false;
    ++at_;
    return true;
  }

  Status unexpected(const std::string& expected) const;
  Status expect_operator(std::string_view text);
  Status expect_tag_end();
  Result<std::string> expect_name();

  // Makes a node over `children`. Refuses it if the tree gets too deep.
  ExpressionResult node(ExpressionKind kind, int line, std::string text,
                        std::vector<ExpressionPtr> children);
  ExpressionResult finish(ExpressionPtr made);
  template <class... Children>
  static std::vector<ExpressionPtr> list_of(Children... children) {
    std::vector<ExpressionPtr> list;
    (list.push_back(std::move(children)), ...);
    return list;
  }

  // --- statements ---

  // Parses up to a tag whose first word is in `ends`. The word is consumed, the tag's '%}' is not.
  // Without `ends`, it parses up to the end of the template.
  Status parse_body(std::span<const std::string_view> ends, Body* body,
                    std::string* ended_by = nullptr);
  Status parse_tag(Statement* statement);
  Status parse_until_end(std::string_view end, Body* body);
  Status parse_if(Statement* statement);
  Status parse_for(Statement* statement);
  Status parse_set(Statement* statement);
  // Parses "a", "(a, b)" or, with `is_set`, "namespace.attribute".
  Status parse_target(bool is_set, Target* target);
  // Parses targets with commas between them.
  Status parse_targets(bool is_set, Target* target);
  Status parse_block(Statement* statement);
  // Parses the filters of {% set x | filter %} and {% filter name %}.
  Status parse_block_filters(Statement* statement);
  Status parse_with(Statement* statement);
  // Parses "(a, b=1)".
  Status parse_parameters(Macro* macro);
  Status parse_macro(Statement* statement);
  Status parse_call_block(Statement* statement);
  // Parses the body of a macro or call block. Loops around it do not count for its breaks.
  Status parse_macro_body(std::string_view end, Macro* macro);

  // --- expressions, from the loosest binding to the tightest ---

  // Parses a tuple, which is a, b, c without brackets.
  ExpressionResult parse_tuple(bool with_condition = true);
  ExpressionResult parse_expression();
  ExpressionResult parse_or();
  ExpressionResult parse_and();
  ExpressionResult parse_not();

  std::string next_comparison() const;
  // Parses comparisons. a < b < c is (a < b) and (b < c), with b evaluated once.
  ExpressionResult parse_compare();

  template <class Operand>
  ExpressionResult parse_binary(std::span<const std::string_view> operators, Operand operand);
  ExpressionResult parse_sum();
  ExpressionResult parse_concatenation();
  ExpressionResult parse_product();
  ExpressionResult parse_power();
  ExpressionResult parse_unary(bool with_filters);
  ExpressionResult parse_primary();
  ExpressionResult parse_name(const Token& token, ExpressionPtr made);
  ExpressionResult parse_parentheses(int line);
  Status parse_number(const Token& token, Value* value);

  // Parses expressions with commas between them, up to `end`, which is consumed.
  Status parse_items(std::string_view end, std::vector<ExpressionPtr>* items);
  ExpressionResult parse_dict(ExpressionPtr made);
  Status parse_arguments(Expression* call);
  ExpressionResult parse_postfix(ExpressionPtr value);
  Status parse_subscript(Expression* made, ExpressionPtr value);
  ExpressionResult parse_filters(ExpressionPtr value);

  // Says whether an argument without brackets follows, as in "x is divisibleby 3".
  bool begins_test_argument() const;

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int level_ = 0;
  int loops_ = 0;
};

// Parses a whole template.
//   Errors: kBadData naming the line of what is not known, not complete or nested too deeply.
Result<Body> parse_template(std::string_view source);

}  // namespace troupe::model::jinja
