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
      TROUPE_RETURN_IF_ERROR(print(statement.line, Text{statement.text, {}, false}));
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
    case StatementKind::kSet: {
      TROUPE_ASSIGN_OR_RETURN(const Value value, evaluate(*statement.expression));
      TROUPE_RETURN_IF_ERROR(assign(statement.line, statement.target, value));
      return Flow::kNormal;
    }
    case StatementKind::kSetBlock: {
      TROUPE_ASSIGN_OR_RETURN(const Value text, filtered_block(statement));
      TROUPE_RETURN_IF_ERROR(assign(statement.line, statement.target, text));
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
      put(&scope_->values, statement.macro.name, closure(statement.macro));
      return Flow::kNormal;
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
    case StatementKind::kGeneration: {
      const ScopeGuard guard(this, scope_);
      return execute(statement.body);
    }
    case StatementKind::kBlock: {
      const ScopeGuard guard(this, statement.scoped ? scope_ : &root_);
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
  if (value.is(Object::Kind::kLoop)) {  // the text of a loop says how long it is
    TROUPE_RETURN_IF_ERROR(loop_attribute(value, "length").status());
  }
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

Status Evaluator::assign(int line, const Target& target, const Value& value) {
  if (!target.is_tuple) {
    if (target.attribute.empty()) {
      put(&scope_->values, target.name, value);
      return Status::ok();
    }
    const Value found = look_up(target.name);
    if (found.name_space() == nullptr) {
      return template_error(
          line, in_quotes(target.name) + " is not a namespace, so its attributes cannot be set");
    }
    put(&found.name_space()->attributes, target.attribute, value);
    return Status::ok();
  }
  TROUPE_ASSIGN_OR_RETURN(const List items, iterate(&budget_, line, value));
  if (items.size() != target.parts.size()) {
    return template_error(line, std::to_string(target.parts.size()) + " names cannot take " +
                                    std::to_string(items.size()) + " values");
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    TROUPE_RETURN_IF_ERROR(assign(line, target.parts[i], items[i]));
  }
  return Status::ok();
}

Result<Value> Evaluator::filtered_block(const Statement& statement) {
  TROUPE_ASSIGN_OR_RETURN(Value text, capture(statement.body, scope_));
  if (statement.expression == nullptr) return text;
  const ScopeGuard guard(this, scope_);
  put(&scope_->values, std::string(kBlockText), std::move(text));
  return evaluate(*statement.expression);
}

Result<Flow> Evaluator::execute_with(const Statement& statement) {
  Names values;  // these are set together at the end, because none sees the others
  for (const auto& [name, expression] : statement.macro.parameters) {
    TROUPE_ASSIGN_OR_RETURN(Value value, evaluate(*expression));
    put(&values, name, std::move(value));
  }
  const ScopeGuard guard(this, scope_);
  scope_->values = std::move(values);
  return execute(statement.body);
}

Value Evaluator::closure(const Macro& macro) {
  for (Scope* scope = scope_; scope != nullptr; scope = scope->parent) scope->kept = true;
  Callable callable;
  callable.macro = &macro;
  callable.around = scope_;
  return Value(std::move(callable));
}

Status Evaluator::execute_call_block(const Statement& statement) {
  const Value caller = closure(statement.macro);
  TROUPE_ASSIGN_OR_RETURN(const Value value, evaluate_call(*statement.expression, &caller));
  return print_value(statement.line, value);
}

Result<Text> evaluate(const Body& body, Names variables, const std::optional<std::tm>& now) {
  return Evaluator(std::move(variables), now).run(body);
}

}  // namespace troupe::model::jinja
