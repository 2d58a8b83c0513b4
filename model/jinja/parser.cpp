#include <algorithm>
#include <iterator>
#include <utility>

#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/parser.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {

Result<Body> Parser::run() {
  Body body;
  TROUPE_RETURN_IF_ERROR(parse_body({}, &body));
  if (peek().kind != TokenKind::kEnd) return unexpected("a tag");
  return body;
}

Status Parser::unexpected(const std::string& expected) const {
  const Token& token = peek();
  std::string found = in_quotes(token.text);
  if (token.kind == TokenKind::kEnd) found = "the end of the template";
  if (token.kind == TokenKind::kTagEnd) found = "'%}'";
  if (token.kind == TokenKind::kOutputEnd) found = "'}}'";
  if (token.kind == TokenKind::kText) found = "text";
  return template_error(token.line, "found " + found + " where " + expected + " was expected");
}

Status Parser::expect_operator(std::string_view text) {
  return accept_operator(text) ? Status::ok() : unexpected("'" + std::string(text) + "'");
}

Status Parser::expect_tag_end() {
  if (peek().kind != TokenKind::kTagEnd) return unexpected("'%}'");
  ++at_;
  return Status::ok();
}

Result<std::string> Parser::expect_name() {
  if (peek().kind != TokenKind::kName) return unexpected("a name");
  return next().text;
}

ExpressionResult Parser::node(ExpressionKind kind, int line, std::string text,
                              std::vector<ExpressionPtr> children) {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = line;
  made->text = std::move(text);
  made->children = std::move(children);
  return finish(std::move(made));
}

ExpressionResult Parser::finish(ExpressionPtr made) {
  const auto deepen = [&](const ExpressionPtr& child) {
    if (child != nullptr) made->depth = std::max(made->depth, child->depth + 1);
  };
  for (const auto& child : made->children) deepen(child);
  for (const auto& child : made->arguments) deepen(child);
  for (const auto& [name, child] : made->keywords) deepen(child);
  deepen(made->star);
  deepen(made->double_star);
  if (made->depth > kNodeDepthMax) {
    return template_error(made->line, "an expression is nested too deeply");
  }
  return made;
}

Status Parser::parse_body(std::span<const std::string_view> ends, Body* body,
                          std::string* ended_by) {
  const Level level(&level_);
  if (level_ > kRecursionMax) return template_error(peek().line, "tags are nested too deeply");
  const int first_line =
      at_ > 0 ? tokens_[at_ - 1].line : 1;  // line of the tag that opens the body
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

Status Parser::parse_tag(Statement* statement) {
  using Rule = Status (Parser::*)(Statement*);
  static constexpr std::pair<std::string_view, Rule> kRules[] = {
      {"if", &Parser::parse_if},      {"for", &Parser::parse_for},
      {"set", &Parser::parse_set},    {"macro", &Parser::parse_macro},
      {"with", &Parser::parse_with},  {"call", &Parser::parse_call_block},
      {"block", &Parser::parse_block}};
  const Token word = next();
  for (const auto& [name, rule] : kRules) {
    if (word.text == name) return (this->*rule)(statement);
  }
  if (word.text == "break" || word.text == "continue") {
    if (loops_ == 0) return template_error(word.line, in_quotes(word.text) + " outside of a loop");
    statement->kind = word.text == "break" ? StatementKind::kBreak : StatementKind::kContinue;
    return expect_tag_end();
  }
  if (word.text == "generation") {  // marks what a trainer learns from
    statement->kind = StatementKind::kGeneration;
    TROUPE_RETURN_IF_ERROR(expect_tag_end());
    return parse_until_end("endgeneration", &statement->body);
  }
  if (word.text == "filter") {
    statement->kind = StatementKind::kFilterBlock;
    TROUPE_RETURN_IF_ERROR(parse_block_filters(statement));
    TROUPE_RETURN_IF_ERROR(expect_tag_end());
    return parse_until_end("endfilter", &statement->body);
  }
  return template_error(word.line, "the tag " + in_quotes(word.text) + " is not known");
}

Status Parser::parse_until_end(std::string_view end, Body* body) {
  std::string ended_by;
  TROUPE_RETURN_IF_ERROR(parse_body({&end, 1}, body, &ended_by));
  return expect_tag_end();
}

Status Parser::parse_if(Statement* statement) {
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
    TROUPE_RETURN_IF_ERROR(
        parse_body(last ? std::span<const std::string_view>(kEnds).last(1) : kEnds, &body, &word));
  }
  return expect_tag_end();
}

Status Parser::parse_for(Statement* statement) {
  static constexpr std::string_view kEnds[] = {"else", "endfor"};
  statement->kind = StatementKind::kFor;
  TROUPE_RETURN_IF_ERROR(parse_targets(/*is_set=*/false, &statement->target));
  if (!accept_name("in")) return unexpected("'in'");
  TROUPE_ASSIGN_OR_RETURN(statement->expression, parse_tuple(/*with_condition=*/false));
  if (accept_name("if")) {
    TROUPE_ASSIGN_OR_RETURN(statement->condition, parse_expression());
  }
  statement->recursive = accept_name("recursive");
  TROUPE_RETURN_IF_ERROR(expect_tag_end());
  std::string word;
  ++loops_;
  const Status parsed = parse_body(kEnds, &statement->body, &word);
  --loops_;
  TROUPE_RETURN_IF_ERROR(parsed);
  if (word == "else") {
    TROUPE_RETURN_IF_ERROR(expect_tag_end());
    TROUPE_RETURN_IF_ERROR(
        parse_body(std::span<const std::string_view>(kEnds).last(1), &statement->otherwise, &word));
  }
  return expect_tag_end();
}

Status Parser::parse_target(bool is_set, Target* target) {
  const Level level(&level_);
  if (level_ > kRecursionMax) return template_error(peek().line, "a target is nested too deeply");
  if (accept_operator("(")) {
    TROUPE_RETURN_IF_ERROR(parse_targets(is_set, target));
    return expect_operator(")");
  }
  TROUPE_ASSIGN_OR_RETURN(target->name, expect_name());
  static constexpr std::string_view kConstants[] = {"true", "false", "none",
                                                    "True", "False", "None"};
  if (std::find(std::begin(kConstants), std::end(kConstants), target->name) !=
      std::end(kConstants)) {
    return template_error(peek().line, in_quotes(target->name) + " cannot be assigned to");
  }
  if (is_set && accept_operator(".")) {
    TROUPE_ASSIGN_OR_RETURN(target->attribute, expect_name());
  }
  return Status::ok();
}

Status Parser::parse_targets(bool is_set, Target* target) {
  TROUPE_RETURN_IF_ERROR(parse_target(is_set, target));
  if (!is_operator(",")) return Status::ok();
  Target whole;
  whole.is_tuple = true;
  whole.parts.push_back(std::move(*target));
  while (accept_operator(",")) {
    if (is_operator(")") || is_operator("=") || is_name("in")) break;
    TROUPE_RETURN_IF_ERROR(parse_target(is_set, &whole.parts.emplace_back()));
  }
  *target = std::move(whole);
  return Status::ok();
}

Status Parser::parse_set(Statement* statement) {
  statement->kind = StatementKind::kSet;
  TROUPE_RETURN_IF_ERROR(parse_targets(/*is_set=*/true, &statement->target));
  if (accept_operator("=")) {
    TROUPE_ASSIGN_OR_RETURN(statement->expression, parse_tuple());
    return expect_tag_end();
  }
  if (statement->target.is_tuple) return unexpected("'='");
  statement->kind = StatementKind::kSetBlock;
  if (is_operator("|")) TROUPE_RETURN_IF_ERROR(parse_block_filters(statement));
  TROUPE_RETURN_IF_ERROR(expect_tag_end());
  return parse_until_end("endset", &statement->body);
}

// Parses {% block name scoped required %}. No template extends another one here, so a block is its
// body.
Status Parser::parse_block(Statement* statement) {
  statement->kind = StatementKind::kBlock;
  TROUPE_ASSIGN_OR_RETURN(statement->text, expect_name());
  statement->scoped = accept_name("scoped");
  TROUPE_RETURN_IF_ERROR(expect_tag_end());
  const std::string_view end = "endblock";
  std::string word;
  const int loops = std::exchange(loops_, 0);
  TROUPE_RETURN_IF_ERROR(parse_body({&end, 1}, &statement->body, &word));
  loops_ = loops;
  if (is_name(statement->text)) ++at_;  // {% endblock name %}
  return expect_tag_end();
}

Status Parser::parse_block_filters(Statement* statement) {
  auto block = std::make_unique<Expression>();
  block->kind = ExpressionKind::kName;
  block->line = peek().line;
  block->text = std::string(kBlockText);
  if (statement->kind == StatementKind::kFilterBlock) {  // the first filter comes without a '|'
    auto first = std::make_unique<Expression>();
    first->kind = ExpressionKind::kFilter;
    first->line = peek().line;
    TROUPE_ASSIGN_OR_RETURN(first->text, expect_name());
    if (accept_operator("(")) TROUPE_RETURN_IF_ERROR(parse_arguments(first.get()));
    first->children = list_of(std::move(block));
    TROUPE_ASSIGN_OR_RETURN(block, finish(std::move(first)));
  }
  TROUPE_ASSIGN_OR_RETURN(statement->expression, parse_filters(std::move(block)));
  return Status::ok();
}

Status Parser::parse_with(Statement* statement) {
  statement->kind = StatementKind::kWith;
  while (peek().kind != TokenKind::kTagEnd) {
    if (!statement->macro.parameters.empty()) TROUPE_RETURN_IF_ERROR(expect_operator(","));
    auto& [name, value] = statement->macro.parameters.emplace_back();
    TROUPE_ASSIGN_OR_RETURN(name, expect_name());
    TROUPE_RETURN_IF_ERROR(expect_operator("="));
    TROUPE_ASSIGN_OR_RETURN(value, parse_expression());
  }
  TROUPE_RETURN_IF_ERROR(expect_tag_end());
  return parse_until_end("endwith", &statement->body);
}

Status Parser::parse_parameters(Macro* macro) {
  TROUPE_RETURN_IF_ERROR(expect_operator("("));
  while (!accept_operator(")")) {
    if (!macro->parameters.empty()) TROUPE_RETURN_IF_ERROR(expect_operator(","));
    if (accept_operator(")")) break;
    auto& [name, fallback] = macro->parameters.emplace_back();
    TROUPE_ASSIGN_OR_RETURN(name, expect_name());
    if (accept_operator("=")) {
      TROUPE_ASSIGN_OR_RETURN(fallback, parse_expression());
    }
  }
  return Status::ok();
}

Status Parser::parse_macro(Statement* statement) {
  statement->kind = StatementKind::kMacro;
  TROUPE_ASSIGN_OR_RETURN(statement->macro.name, expect_name());
  TROUPE_RETURN_IF_ERROR(parse_parameters(&statement->macro));
  return parse_macro_body("endmacro", &statement->macro);
}

Status Parser::parse_call_block(Statement* statement) {
  statement->kind = StatementKind::kCallBlock;
  statement->macro.name = "caller";
  if (is_operator("(")) TROUPE_RETURN_IF_ERROR(parse_parameters(&statement->macro));
  TROUPE_ASSIGN_OR_RETURN(statement->expression, parse_expression());
  if (statement->expression->kind != ExpressionKind::kCall) return unexpected("a call");
  return parse_macro_body("endcall", &statement->macro);
}

namespace {

// Records whether a macro uses its further arguments, or the body of its call block.
void find_uses(const Expression* expression, Macro* macro) {
  if (expression == nullptr) return;
  if (expression->kind == ExpressionKind::kName) {
    macro->uses_varargs = macro->uses_varargs || expression->text == "varargs";
    macro->uses_kwargs = macro->uses_kwargs || expression->text == "kwargs";
    macro->uses_caller = macro->uses_caller || expression->text == "caller";
  }
  for (const auto& child : expression->children) find_uses(child.get(), macro);
  for (const auto& child : expression->arguments) find_uses(child.get(), macro);
  for (const auto& [name, child] : expression->keywords) find_uses(child.get(), macro);
  find_uses(expression->star.get(), macro);
  find_uses(expression->double_star.get(), macro);
}

void find_uses(const Body& body, Macro* macro) {
  for (const auto& statement : body) {
    find_uses(statement->expression.get(), macro);
    find_uses(statement->condition.get(), macro);
    find_uses(statement->body, macro);
    find_uses(statement->otherwise, macro);
    for (const auto& [condition, branch] : statement->branches) {
      find_uses(condition.get(), macro);
      find_uses(branch, macro);
    }
    find_uses(statement->macro.body, macro);
    for (const auto& [name, fallback] : statement->macro.parameters) {
      find_uses(fallback.get(), macro);
    }
  }
}

}  // namespace

Status Parser::parse_macro_body(std::string_view end, Macro* macro) {
  TROUPE_RETURN_IF_ERROR(expect_tag_end());
  const int loops = std::exchange(loops_, 0);
  std::string word;
  TROUPE_RETURN_IF_ERROR(parse_body({&end, 1}, &macro->body, &word));
  loops_ = loops;
  if (peek().kind == TokenKind::kName) ++at_;  // {% endmacro name %}
  find_uses(macro->body, macro);
  for (const auto& [name, fallback] : macro->parameters) find_uses(fallback.get(), macro);
  return expect_tag_end();
}

Result<Body> parse_template(std::string_view source) {
  TROUPE_ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens)).run();
}

}  // namespace troupe::model::jinja
