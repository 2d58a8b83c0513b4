#include <algorithm>
#include <ctime>
#include <tuple>
#include <utility>

#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/evaluator.h>
#include <troupe/model/jinja/marks.h>
#include <troupe/model/jinja/methods.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {

Result<Value> Evaluator::evaluate_call(const Expression& expression, const Value* caller) {
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
  if (caller != nullptr) put(&arguments.keywords, "caller", *caller);
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
  for (const auto& [name, value] : arguments.keywords) {
    const auto named = [&name = name](const auto& parameter) { return parameter.first == name; };
    if (name != "caller" && std::none_of(macro.parameters.begin(), macro.parameters.end(), named)) {
      return template_error(
          line, "the macro " + in_quotes(macro.name) + " has no parameter " + in_quotes(name));
    }
  }
  Scope* around = &root_;
  if (macro.is_caller) {
    const auto found = std::find_if(callers_.rbegin(), callers_.rend(),
                                    [&](const Caller& one) { return one.macro == &macro; });
    if (found == callers_.rend()) {
      return template_error(line, "'caller' is called after its call block has ended");
    }
    around = found->scope;
  }
  const ScopeGuard guard(this, around);
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
  if (const Value* caller = find(arguments.keywords, "caller")) {
    put(&scope_->values, "caller", *caller);
  }
  return capture_here(macro.body);
}

Result<Value> Evaluator::call_builtin(int line, Builtin builtin, Arguments arguments) {
  switch (builtin) {
    case Builtin::kRange:
      return call_range(line, arguments);
    case Builtin::kNamespace: {
      TROUPE_RETURN_IF_ERROR(budget_.take(line, 1024));
      TROUPE_ASSIGN_OR_RETURN(Dict attributes, dict_arguments(line, std::move(arguments)));
      namespaces_.push_back({std::move(attributes)});
      return Value(&namespaces_.back());
    }
    case Builtin::kDict: {
      const bool foreign = !arguments.positional.empty() && arguments.positional[0].is_foreign();
      TROUPE_ASSIGN_OR_RETURN(Dict entries, dict_arguments(line, std::move(arguments)));
      const Value made(std::move(entries));
      return foreign ? made.as_foreign() : made;
    }
    case Builtin::kStrftimeNow:
      return call_strftime(line, arguments);
    case Builtin::kMethod:
      return template_error(line, "a method must be called as x.name()");
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

Result<Dict> Evaluator::dict_arguments(int line, Arguments arguments) {
  Dict entries;
  if (!arguments.positional.empty()) {
    const Dict* given = arguments.positional[0].dict();
    if (given == nullptr || arguments.positional.size() > 1) {
      return template_error(line, "dict and namespace take one dict, and names with values");
    }
    TROUPE_RETURN_IF_ERROR(budget_.take(line, given->size() * sizeof(Value)));
    entries = *given;
  }
  for (auto& [name, value] : arguments.keywords) put(&entries, name, std::move(value));
  return entries;
}

Result<Value> Evaluator::call_strftime(int line, const Arguments& arguments) {
  const Value* format = arguments.get(0, "format");
  if (format == nullptr || format->string() == nullptr) {
    return template_error(line, "strftime_now takes a format");
  }
  constexpr std::size_t kFormatBytesMax = 256;
  char text[4096];
  // Append a character, because 0 bytes could mean an empty text or too small a buffer.
  const std::string ended = *format->string() + '.';
  const std::size_t bytes = ended.size() > kFormatBytesMax || ended.find('\0') != ended.npos
                                ? 0
                                : std::strftime(text, sizeof text, ended.c_str(), &*now_);
  if (bytes == 0) return template_error(line, "the format of strftime_now is too long");
  const Value made(std::string(text, bytes - 1));
  return format->is_foreign() ? made.as_foreign() : made;
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
