#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <span>

#include <troupe/model/jinja_ast.h>
#include <troupe/model/jinja_lexer.h>
#include <troupe/model/utf8.h>

// Longer than 500 lines: one grammar, a function a rule, mutually recursive.
namespace troupe::model::jinja {
namespace {

constexpr int kRecursionMax = 100;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Body> run() {
    Body body;
    TROUPE_RETURN_IF_ERROR(parse_body({}, &body));
    if (peek().kind != TokenKind::kEnd) return unexpected("a tag");
    return body;
  }

 private:
  using ExpressionResult = Result<ExpressionPtr>;

  // Counts how deep the parser itself is.
  class Level {
   public:
    explicit Level(int* level) : level_(level) { ++*level_; }
    ~Level() { --*level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    int* level_;
  };

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

  Status unexpected(const std::string& expected) const {
    const Token& token = peek();
    std::string found = in_quotes(token.text);
    if (token.kind == TokenKind::kEnd) found = "the end of the template";
    if (token.kind == TokenKind::kTagEnd) found = "'%}'";
    if (token.kind == TokenKind::kOutputEnd) found = "'}}'";
    if (token.kind == TokenKind::kText) found = "text";
    return template_error(token.line, "found " + found + " where " + expected + " was expected");
  }
  Status expect_operator(std::string_view text) {
    return accept_operator(text) ? Status::ok() : unexpected("'" + std::string(text) + "'");
  }
  Status expect_tag_end() {
    if (peek().kind != TokenKind::kTagEnd) return unexpected("'%}'");
    ++at_;
    return Status::ok();
  }
  Result<std::string> expect_name() {
    if (peek().kind != TokenKind::kName) return unexpected("a name");
    return next().text;
  }

  // A node over `children`, refused when the tree gets too deep.
  ExpressionResult node(ExpressionKind kind, int line, std::string text,
                        std::vector<ExpressionPtr> children) {
    auto made = std::make_unique<Expression>();
    made->kind = kind;
    made->line = line;
    made->text = std::move(text);
    made->children = std::move(children);
    return finish(std::move(made));
  }
  ExpressionResult finish(ExpressionPtr made) {
    const auto deepen = [&](const ExpressionPtr& child) {
      if (child != nullptr) made->depth = std::max(made->depth, child->depth + 1);
    };
    for (const auto& child : made->children) deepen(child);
    for (const auto& child : made->arguments) deepen(child);
    for (const auto& [name, child] : made->keywords) deepen(child);
    if (made->depth > kNodeDepthMax) {
      return template_error(made->line, "an expression is nested too deeply");
    }
    return made;
  }
  template <class... Children>
  static std::vector<ExpressionPtr> list_of(Children... children) {
    std::vector<ExpressionPtr> list;
    (list.push_back(std::move(children)), ...);
    return list;
  }

  // --- statements ---

  // Up to a tag whose first word is in `ends`; the tag's word is consumed, its '%}' is not. With no
  // `ends`, up to the end of the template.
  Status parse_body(std::span<const std::string_view> ends, Body* body,
                    std::string* ended_by = nullptr) {
    const Level level(&level_);
    if (level_ > kRecursionMax) return template_error(peek().line, "tags are nested too deeply");
    const int first_line = at_ > 0 ? tokens_[at_ - 1].line : 1;  // of the tag that opens the body
    for (;;) {
      const Token token = peek();
      if (token.kind == TokenKind::kEnd) {
        if (ends.empty()) return Status::ok();
        return template_error(first_line,
                              "the tag before has no end '" + std::string(ends.back()) + "'");
      }
      auto statement = std::make_unique<Statement>();
      statement->line = token.line;
      if (token.kind == TokenKind::kText) {
        statement->text = next().text;
      } else if (token.kind == TokenKind::kOutputBegin) {
        ++at_;
        statement->kind = StatementKind::kOutput;
        TROUPE_ASSIGN_OR_RETURN(statement->expression, parse_tuple());
        if (peek().kind != TokenKind::kOutputEnd) return unexpected("'}}'");
        ++at_;
      } else {
        ++at_;
        if (peek().kind != TokenKind::kName) return unexpected("the name of a tag");
        const std::string word = peek().text;
        if (std::find(ends.begin(), ends.end(), word) != ends.end()) {
          ++at_;
          *ended_by = word;
          return Status::ok();
        }
        TROUPE_RETURN_IF_ERROR(parse_tag(statement.get()));
      }
      body->push_back(std::move(statement));
    }
  }

  Status parse_tag(Statement* statement) {
    const Token word = next();
    if (word.text == "if") return parse_if(statement);
    if (word.text == "for") return parse_for(statement);
    if (word.text == "set") return parse_set(statement);
    if (word.text == "macro") return parse_macro(statement);
    if (word.text == "break" || word.text == "continue") {
      if (loops_ == 0)
        return template_error(word.line, in_quotes(word.text) + " outside of a loop");
      statement->kind = word.text == "break" ? StatementKind::kBreak : StatementKind::kContinue;
      return expect_tag_end();
    }
    if (word.text == "generation") {  // marks what a trainer learns from
      statement->kind = StatementKind::kBlock;
      TROUPE_RETURN_IF_ERROR(expect_tag_end());
      return parse_until_end("endgeneration", &statement->body);
    }
    return template_error(word.line, "the tag " + in_quotes(word.text) + " is not known");
  }

  Status parse_until_end(std::string_view end, Body* body) {
    std::string ended_by;
    TROUPE_RETURN_IF_ERROR(parse_body({&end, 1}, body, &ended_by));
    return expect_tag_end();
  }

  Status parse_if(Statement* statement) {
    static constexpr std::string_view kEnds[] = {"elif", "else", "endif"};
    statement->kind = StatementKind::kIf;
    std::string word = "if";
    while (word != "endif") {
      auto& [condition, body] = statement->branches.emplace_back();
      const bool last = word == "else";
      if (!last) {
        TROUPE_ASSIGN_OR_RETURN(condition, parse_tuple());
      }
      TROUPE_RETURN_IF_ERROR(expect_tag_end());
      TROUPE_RETURN_IF_ERROR(parse_body(
          last ? std::span<const std::string_view>(kEnds).last(1) : kEnds, &body, &word));
    }
    return expect_tag_end();
  }

  Status parse_for(Statement* statement) {
    static constexpr std::string_view kEnds[] = {"else", "endfor"};
    statement->kind = StatementKind::kFor;
    do {
      TROUPE_ASSIGN_OR_RETURN(std::string name, expect_name());
      statement->names.push_back(std::move(name));
    } while (accept_operator(","));
    if (!accept_name("in")) return unexpected("'in'");
    TROUPE_ASSIGN_OR_RETURN(statement->expression, parse_tuple(/*with_condition=*/false));
    if (accept_name("if")) {
      TROUPE_ASSIGN_OR_RETURN(statement->condition, parse_expression());
    }
    TROUPE_RETURN_IF_ERROR(expect_tag_end());
    std::string word;
    ++loops_;
    const Status parsed = parse_body(kEnds, &statement->body, &word);
    --loops_;
    TROUPE_RETURN_IF_ERROR(parsed);
    if (word == "else") {
      TROUPE_RETURN_IF_ERROR(expect_tag_end());
      TROUPE_RETURN_IF_ERROR(parse_body(std::span<const std::string_view>(kEnds).last(1),
                                        &statement->otherwise, &word));
    }
    return expect_tag_end();
  }

  Status parse_set(Statement* statement) {
    statement->kind = StatementKind::kSet;
    TROUPE_ASSIGN_OR_RETURN(std::string name, expect_name());
    if (accept_operator(".")) {
      statement->text = std::move(name);
      TROUPE_ASSIGN_OR_RETURN(name, expect_name());
    }
    statement->names.push_back(std::move(name));
    while (accept_operator(",")) {
      TROUPE_ASSIGN_OR_RETURN(std::string another, expect_name());
      statement->names.push_back(std::move(another));
    }
    if (accept_operator("=")) {
      TROUPE_ASSIGN_OR_RETURN(statement->expression, parse_tuple());
      return expect_tag_end();
    }
    if (statement->names.size() > 1 || !statement->text.empty()) return unexpected("'='");
    statement->kind = StatementKind::kSetBlock;
    TROUPE_RETURN_IF_ERROR(expect_tag_end());
    return parse_until_end("endset", &statement->body);
  }

  Status parse_macro(Statement* statement) {
    statement->kind = StatementKind::kMacro;
    Macro& macro = statement->macro;
    TROUPE_ASSIGN_OR_RETURN(macro.name, expect_name());
    TROUPE_RETURN_IF_ERROR(expect_operator("("));
    while (!accept_operator(")")) {
      if (!macro.parameters.empty()) TROUPE_RETURN_IF_ERROR(expect_operator(","));
      if (accept_operator(")")) break;
      auto& [name, fallback] = macro.parameters.emplace_back();
      TROUPE_ASSIGN_OR_RETURN(name, expect_name());
      if (accept_operator("=")) {
        TROUPE_ASSIGN_OR_RETURN(fallback, parse_expression());
      }
    }
    TROUPE_RETURN_IF_ERROR(expect_tag_end());
    const int loops = std::exchange(loops_, 0);
    std::string word;
    static constexpr std::string_view kEnds[] = {"endmacro"};
    TROUPE_RETURN_IF_ERROR(parse_body(kEnds, &macro.body, &word));
    loops_ = loops;
    if (peek().kind == TokenKind::kName) ++at_;  // {% endmacro name %}
    return expect_tag_end();
  }

  // --- expressions, from the loosest binding to the tightest ---

  // a, b, c without brackets is a list.
  ExpressionResult parse_tuple(bool with_condition = true) {
    const int line = peek().line;
    const auto parse_one = [&] { return with_condition ? parse_expression() : parse_or(); };
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr first, parse_one());
    if (!is_operator(",")) return first;
    std::vector<ExpressionPtr> items = list_of(std::move(first));
    while (accept_operator(",")) {
      if (peek().kind == TokenKind::kTagEnd || peek().kind == TokenKind::kOutputEnd) break;
      TROUPE_ASSIGN_OR_RETURN(ExpressionPtr item, parse_one());
      items.push_back(std::move(item));
    }
    return node(ExpressionKind::kList, line, "", std::move(items));
  }

  ExpressionResult parse_expression() {
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

  ExpressionResult parse_or() {
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr left, parse_and());
    while (is_name("or")) {
      const int line = next().line;
      TROUPE_ASSIGN_OR_RETURN(ExpressionPtr right, parse_and());
      TROUPE_ASSIGN_OR_RETURN(
          left, node(ExpressionKind::kOr, line, "", list_of(std::move(left), std::move(right))));
    }
    return left;
  }

  ExpressionResult parse_and() {
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr left, parse_not());
    while (is_name("and")) {
      const int line = next().line;
      TROUPE_ASSIGN_OR_RETURN(ExpressionPtr right, parse_not());
      TROUPE_ASSIGN_OR_RETURN(
          left, node(ExpressionKind::kAnd, line, "", list_of(std::move(left), std::move(right))));
    }
    return left;
  }

  ExpressionResult parse_not() {
    if (!is_name("not")) return parse_compare();
    const Level level(&level_);
    const int line = next().line;
    if (level_ > kRecursionMax) return template_error(line, "an expression is nested too deeply");
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr operand, parse_not());
    return node(ExpressionKind::kNot, line, "", list_of(std::move(operand)));
  }

  // a < b < c is (a < b) and (b < c) in Jinja; no model's template chains, so that is refused.
  ExpressionResult parse_compare() {
    static constexpr std::string_view kOperators[] = {"==", "!=", "<", "<=", ">", ">="};
    const auto comparison = [&]() -> std::string {
      if (is_name("in")) return "in";
      if (is_name("not") && is_name("in", 1)) return "not in";
      for (const std::string_view one : kOperators) {
        if (is_operator(one)) return std::string(one);
      }
      return "";
    };
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr left, parse_sum());
    const std::string what = comparison();
    if (what.empty()) return left;
    const int line = next().line;
    if (what == "not in") ++at_;
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr right, parse_sum());
    if (!comparison().empty()) {
      return template_error(peek().line, "chained comparisons are not supported");
    }
    return node(ExpressionKind::kBinary, line, what, list_of(std::move(left), std::move(right)));
  }

  template <class Operand>
  ExpressionResult parse_binary(std::span<const std::string_view> operators, Operand operand) {
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
  ExpressionResult parse_sum() {
    static constexpr std::string_view kOperators[] = {"+", "-"};
    return parse_binary(kOperators, [&] { return parse_concatenation(); });
  }
  ExpressionResult parse_concatenation() {
    static constexpr std::string_view kOperators[] = {"~"};
    return parse_binary(kOperators, [&] { return parse_product(); });
  }
  ExpressionResult parse_product() {
    static constexpr std::string_view kOperators[] = {"*", "/", "//", "%"};
    return parse_binary(kOperators, [&] { return parse_power(); });
  }
  ExpressionResult parse_power() {
    static constexpr std::string_view kOperators[] = {"**"};
    return parse_binary(kOperators, [&] { return parse_unary(/*with_filters=*/true); });
  }

  ExpressionResult parse_unary(bool with_filters) {
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

  ExpressionResult parse_primary() {
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
        std::int64_t value = 0;
        const char* end = token.text.data() + token.text.size();
        if (std::from_chars(token.text.data(), end, value).ec != std::errc()) {
          return template_error(token.line, "the number " + token.text + " is too large");
        }
        made->value = Value(value);
        return made;
      }
      case TokenKind::kReal: {
        double value = 0;
        std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
        made->value = Value(value);
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

  ExpressionResult parse_name(const Token& token, ExpressionPtr made) {
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

  ExpressionResult parse_parentheses(int line) {
    if (accept_operator(")")) return node(ExpressionKind::kList, line, "", {});
    TROUPE_ASSIGN_OR_RETURN(ExpressionPtr first, parse_expression());
    if (!is_operator(",")) {
      TROUPE_RETURN_IF_ERROR(expect_operator(")"));
      return first;
    }
    ++at_;
    std::vector<ExpressionPtr> items = list_of(std::move(first));
    TROUPE_RETURN_IF_ERROR(parse_items(")", &items));
    return node(ExpressionKind::kList, line, "", std::move(items));
  }

  // Expressions with commas between them, up to `end`, which is consumed.
  Status parse_items(std::string_view end, std::vector<ExpressionPtr>* items) {
    while (!accept_operator(end)) {
      TROUPE_ASSIGN_OR_RETURN(ExpressionPtr item, parse_expression());
      items->push_back(std::move(item));
      if (!is_operator(end)) TROUPE_RETURN_IF_ERROR(expect_operator(","));
    }
    return Status::ok();
  }

  ExpressionResult parse_dict(ExpressionPtr made) {
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

  Status parse_arguments(Expression* call) {
    while (!accept_operator(")")) {
      if (peek().kind == TokenKind::kName && is_operator("=", 1)) {
        auto& [name, value] = call->keywords.emplace_back();
        name = next().text;
        ++at_;
        TROUPE_ASSIGN_OR_RETURN(value, parse_expression());
      } else {
        TROUPE_ASSIGN_OR_RETURN(ExpressionPtr value, parse_expression());
        call->arguments.push_back(std::move(value));
      }
      if (!is_operator(")")) TROUPE_RETURN_IF_ERROR(expect_operator(","));
    }
    return Status::ok();
  }

  ExpressionResult parse_postfix(ExpressionPtr value) {
    for (;;) {
      const int line = peek().line;
      auto made = std::make_unique<Expression>();
      made->line = line;
      if (accept_operator(".")) {
        made->kind = ExpressionKind::kAttribute;
        TROUPE_ASSIGN_OR_RETURN(made->text, expect_name());
        made->children = list_of(std::move(value));
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

  Status parse_subscript(Expression* made, ExpressionPtr value) {
    ExpressionPtr parts[3];
    std::size_t colons = 0;
    while (!accept_operator("]")) {
      if (accept_operator(":")) {
        if (++colons > 2) return unexpected("']'");
        continue;
      }
      if (parts[colons] != nullptr) return unexpected("']'");
      TROUPE_ASSIGN_OR_RETURN(parts[colons], parse_expression());
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

  ExpressionResult parse_filters(ExpressionPtr value) {
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

  // x is divisibleby 3
  bool begins_test_argument() const {
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

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int level_ = 0;
  int loops_ = 0;
};

}  // namespace

Result<Body> parse_template(std::string_view source) {
  TROUPE_ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens)).run();
}

}  // namespace troupe::model::jinja
