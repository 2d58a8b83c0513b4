#include <utility>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/eval.h>
#include <troupe/model/jinja/evaluator.h>
#include <troupe/model/jinja/marks.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {

Result<Text> Evaluator::run(const Body& body) {
  Text out;
  out_ = &out;
  TROUPE_ASSIGN_OR_RETURN(const Flow flow, execute(body));
  static_cast<void>(flow);
  return out;
}

Status Evaluator::enter(int line) {
  TROUPE_RETURN_IF_ERROR(budget_.step(line));
  if (level_ <= kDepthMax) return Status::ok();
  return template_error(line, "calls and expressions are nested too deeply",
                        Code::kResourceExhausted);
}

Result<Flow> Evaluator::execute(const Body& body) {
  for (const auto& statement : body) {
    TROUPE_ASSIGN_OR_RETURN(const Flow flow, execute(*statement));
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Result<Flow> Evaluator::execute(const Statement& statement) {
  const Level level(&level_);
  TROUPE_RETURN_IF_ERROR(enter(statement.line));
  switch (statement.kind) {
    case StatementKind::kText:
      TROUPE_RETURN_IF_ERROR(print(statement.line, Text{statement.text, {}}));
      return Flow::kNormal;
    case StatementKind::kOutput: {
      TROUPE_ASSIGN_OR_RETURN(const Value value, evaluate(*statement.expression));
      TROUPE_RETURN_IF_ERROR(print_value(statement.line, value));
      return Flow::kNormal;
    }
    case StatementKind::kIf:
      return execute_if(statement);
    case StatementKind::kFor:
      return execute_for(statement);
    case StatementKind::kSet:
      TROUPE_RETURN_IF_ERROR(execute_set(statement));
      return Flow::kNormal;
    case StatementKind::kSetBlock: {
      TROUPE_ASSIGN_OR_RETURN(Value text, filtered_block(statement));
      TROUPE_RETURN_IF_ERROR(assign(statement, std::move(text)));
      return Flow::kNormal;
    }
    case StatementKind::kFilterBlock: {
      TROUPE_ASSIGN_OR_RETURN(const Value text, filtered_block(statement));
      TROUPE_RETURN_IF_ERROR(print_value(statement.line, text));
      return Flow::kNormal;
    }
    case StatementKind::kWith:
      return execute_with(statement);
    case StatementKind::kCallBlock:
      TROUPE_RETURN_IF_ERROR(execute_call_block(statement));
      return Flow::kNormal;
    case StatementKind::kMacro:
      put(&scope_->values, statement.macro.name, Value(Callable{&statement.macro, {}}));
      return Flow::kNormal;
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
    case StatementKind::kGeneration: {
      const ScopeGuard guard(this, scope_);
      return execute(statement.body);
    }
  }
  return Flow::kNormal;
}

Status Evaluator::print(int line, const Text& text) {
  TROUPE_RETURN_IF_ERROR(budget_.take(line, text.text.size()));
  out_->append(text);
  return Status::ok();
}

Status Evaluator::print_value(int line, const Value& value) {
  TROUPE_RETURN_IF_ERROR(budget_.take(line, value.weight()));
  TROUPE_ASSIGN_OR_RETURN(const Text text, marked_text_of(line, value));
  return print(line, text);
}

Result<Value> Evaluator::capture(const Body& body, Scope* parent) {
  const ScopeGuard guard(this, parent);
  return capture_here(body);
}

Result<Value> Evaluator::capture_here(const Body& body) {
  Text text;
  Text* const before = std::exchange(out_, &text);
  const Result<Flow> flow = execute(body);
  out_ = before;
  if (!flow.is_ok()) return flow.status();
  return Value(std::move(text));
}

Result<Flow> Evaluator::execute_if(const Statement& statement) {
  for (const auto& [condition, body] : statement.branches) {
    if (condition != nullptr) {
      TROUPE_ASSIGN_OR_RETURN(const Value value, evaluate(*condition));
      if (!truth(value)) continue;
    }
    return execute(body);
  }
  return Flow::kNormal;
}

Status Evaluator::bind(const Statement& statement, const Value& value) {
  if (statement.names.size() == 1) {
    put(&scope_->values, statement.names[0], value);
    return Status::ok();
  }
  TROUPE_ASSIGN_OR_RETURN(List items, iterate(&budget_, statement.line, value));
  if (items.size() != statement.names.size()) {
    return template_error(statement.line, std::to_string(statement.names.size()) +
                                              " names cannot take " + std::to_string(items.size()) +
                                              " values");
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    put(&scope_->values, statement.names[i], std::move(items[i]));
  }
  return Status::ok();
}

Value Evaluator::loop_variable(const List& items, std::size_t i) {
  const auto number = [](std::size_t value) { return Value(static_cast<std::int64_t>(value)); };
  Dict loop;
  loop.emplace_back("index", number(i + 1));
  loop.emplace_back("index0", number(i));
  loop.emplace_back("first", Value(i == 0));
  loop.emplace_back("last", Value(i + 1 == items.size()));
  loop.emplace_back("length", number(items.size()));
  loop.emplace_back("revindex", number(items.size() - i));
  loop.emplace_back("revindex0", number(items.size() - i - 1));
  if (i > 0) loop.emplace_back("previtem", items[i - 1]);
  if (i + 1 < items.size()) loop.emplace_back("nextitem", items[i + 1]);
  return Value(std::move(loop));
}

Result<Flow> Evaluator::execute_for(const Statement& statement) {
  TROUPE_ASSIGN_OR_RETURN(const Value value, evaluate(*statement.expression));
  TROUPE_ASSIGN_OR_RETURN(List items, iterate(&budget_, statement.line, value));
  if (statement.condition != nullptr) {
    List kept;
    for (const Value& item : items) {
      const ScopeGuard guard(this, scope_);
      TROUPE_RETURN_IF_ERROR(bind(statement, item));
      TROUPE_ASSIGN_OR_RETURN(const Value holds, evaluate(*statement.condition));
      if (truth(holds)) kept.push_back(item);
    }
    items = std::move(kept);
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    const ScopeGuard guard(this, scope_);
    TROUPE_RETURN_IF_ERROR(budget_.step(statement.line));
    put(&scope_->values, "loop", loop_variable(items, i));
    TROUPE_RETURN_IF_ERROR(bind(statement, items[i]));
    TROUPE_ASSIGN_OR_RETURN(const Flow flow, execute(statement.body));
    if (flow == Flow::kBreak) break;
  }
  if (!items.empty()) return Flow::kNormal;
  const ScopeGuard guard(this, scope_);
  return execute(statement.otherwise);
}

Status Evaluator::execute_set(const Statement& statement) {
  TROUPE_ASSIGN_OR_RETURN(Value value, evaluate(*statement.expression));
  return assign(statement, std::move(value));
}

Status Evaluator::assign(const Statement& statement, Value value) {
  if (statement.text.empty()) return bind(statement, value);
  const Value target = look_up(statement.text);
  if (target.name_space() == nullptr) {
    return template_error(statement.line, in_quotes(statement.text) +
                                              " is no namespace, so its attributes cannot be set");
  }
  put(&target.name_space()->attributes, statement.names[0], std::move(value));
  return Status::ok();
}

Result<Value> Evaluator::filtered_block(const Statement& statement) {
  TROUPE_ASSIGN_OR_RETURN(Value text, capture(statement.body, scope_));
  if (statement.expression == nullptr) return text;
  const ScopeGuard guard(this, scope_);
  put(&scope_->values, kBlockText, std::move(text));
  return evaluate(*statement.expression);
}

Result<Flow> Evaluator::execute_with(const Statement& statement) {
  Dict values;  // set together at the end, because none of them sees the others
  for (const auto& [name, expression] : statement.macro.parameters) {
    TROUPE_ASSIGN_OR_RETURN(Value value, evaluate(*expression));
    put(&values, name, std::move(value));
  }
  const ScopeGuard guard(this, scope_);
  scope_->values = std::move(values);
  return execute(statement.body);
}

Status Evaluator::execute_call_block(const Statement& statement) {
  callers_.push_back({&statement.macro, scope_});
  const Value caller(Callable{&statement.macro, {}});
  const Result<Value> value = evaluate_call(*statement.expression, &caller);
  callers_.pop_back();
  if (!value.is_ok()) return value.status();
  return print_value(statement.line, *value);
}

Result<Text> evaluate(const Body& body, Dict variables, const std::optional<std::tm>& now) {
  return Evaluator(std::move(variables), now).run(body);
}

}  // namespace troupe::model::jinja
