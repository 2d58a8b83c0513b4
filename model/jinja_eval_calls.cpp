#include <tuple>

#include <troupe/model/jinja_evaluator.h>
#include <troupe/model/jinja_lexer.h>
#include <troupe/model/utf8.h>

namespace troupe::model::jinja {

Result<Value> Evaluator::evaluate_call(const Expression& expression) {
  const Expression& target = *expression.children[0];
  if (target.kind == ExpressionKind::kAttribute) {
    TROUPE_ASSIGN_OR_RETURN(const Value object, evaluate(*target.children[0]));
    if (object.name_space() == nullptr) {
      TROUPE_ASSIGN_OR_RETURN(const Arguments arguments, arguments_of(expression));
      TROUPE_ASSIGN_OR_RETURN(
          Value value, call_method(&budget_, expression.line, object, target.text, arguments));
      return marked_method(target.text, object, arguments, std::move(value));
    }
  }
  TROUPE_ASSIGN_OR_RETURN(const Value function, evaluate(target));
  TROUPE_ASSIGN_OR_RETURN(Arguments arguments, arguments_of(expression));
  if (function.callable() == nullptr) {
    return template_error(
        expression.line,
        target.text.empty()
            ? "a value of type " + std::string(type_name(function)) + " cannot be called"
            : "the function " + in_quotes(target.text) + " is not known");
  }
  if (function.callable()->macro != nullptr) {
    return call_macro(expression.line, *function.callable()->macro, arguments);
  }
  return call_builtin(expression.line, function.callable()->builtin, std::move(arguments));
}

Result<Value> Evaluator::call_macro(int line, const Macro& macro, const Arguments& arguments) {
  if (arguments.positional.size() > macro.parameters.size()) {
    return template_error(line, "the macro " + in_quotes(macro.name) + " takes " +
                                    std::to_string(macro.parameters.size()) + " arguments at most");
  }
  const ScopeGuard guard(this, &root_);
  for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
    const auto& [name, fallback] = macro.parameters[i];
    Value value;
    if (const Value* given = arguments.get(i, name)) {
      value = *given;
    } else if (fallback != nullptr) {
      TROUPE_ASSIGN_OR_RETURN(value, evaluate(*fallback));
    }
    put(&scope_->values, name, std::move(value));
  }
  return capture_here(macro.body);
}

Result<Value> Evaluator::call_builtin(int line, Builtin builtin, Arguments arguments) {
  switch (builtin) {
    case Builtin::kRange:
      return call_range(line, arguments);
    case Builtin::kNamespace:
      TROUPE_RETURN_IF_ERROR(budget_.take(line, 1024));
      namespaces_.push_back({std::move(arguments.keywords)});
      return Value(&namespaces_.back());
    case Builtin::kDict:
      return Value(std::move(arguments.keywords));
    case Builtin::kRaiseException: {
      const Value* given = arguments.get(0, "message");
      TROUPE_ASSIGN_OR_RETURN(const std::string message,
                              text_of(line, given == nullptr ? Value() : *given));
      return Status(Code::kInvalidArgument,
                    "the model's chat template refuses these messages: " + message);
    }
  }
  return Value();
}

Result<Value> Evaluator::call_range(int line, const Arguments& arguments) {
  std::int64_t bounds[3] = {0, 0, 1};
  if (arguments.positional.empty() || arguments.positional.size() > 3) {
    return template_error(line, "range takes 1 to 3 arguments");
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    const std::int64_t* bound = arguments.positional[i].integer();
    if (bound == nullptr) return template_error(line, "range takes integers");
    bounds[i] = *bound;
  }
  if (arguments.positional.size() == 1) std::swap(bounds[0], bounds[1]);
  const auto [begin, end, step] = std::tuple(bounds[0], bounds[1], bounds[2]);
  if (step == 0) return template_error(line, "the step of range is 0");
  List list;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (list.size() == kRangeMax) {
      return template_error(line, "a range of more than " + std::to_string(kRangeMax) + " items");
    }
    list.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  TROUPE_RETURN_IF_ERROR(budget_.take(line, list.size() * sizeof(Value)));
  return Value(std::move(list));
}

}  // namespace troupe::model::jinja
