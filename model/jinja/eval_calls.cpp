#include <algorithm>
#include <ctime>
#include <tuple>
#include <utility>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/evaluator.h>
#include <troupe/model/jinja/marks.h>
#include <troupe/model/jinja/methods.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {

Result<Value> Evaluator::evaluate_call(const Expression& expression, const Value* caller) {
  const Expression& target = *expression.children[0];
  Value function;
  if (target.kind == ExpressionKind::kAttribute) {
    TROUPE_ASSIGN_OR_RETURN(const Value object, evaluate(*target.children[0]));
    if (object.is_undefined()) {
      return template_error(expression.line,
                            "cannot call " + in_quotes(target.text) + " of an undefined value");
    }
    if (has_method(object, target.text)) {
      TROUPE_ASSIGN_OR_RETURN(Arguments arguments, arguments_of(expression));
      return call_named_method(expression.line, object, target.text, std::move(arguments));
    }
    TROUPE_ASSIGN_OR_RETURN(function, attribute(expression.line, object, target.text));
    if (function.is_undefined()) return no_method(expression.line, object, target.text);
  } else {
    TROUPE_ASSIGN_OR_RETURN(function, evaluate(target));
  }
  TROUPE_ASSIGN_OR_RETURN(Arguments arguments, arguments_of(expression));
  if (caller != nullptr) put(&arguments.keywords, "caller", *caller);
  return call_value(expression.line, target.text, function, std::move(arguments));
}

Result<Value> Evaluator::call_named_method(int line, const Value& object, const std::string& name,
                                           Arguments arguments) {
  if (object.is(Object::Kind::kLoop)) return call_loop_method(line, object, name, arguments);
  TROUPE_ASSIGN_OR_RETURN(Value value, call_method(&budget_, line, object, name, arguments));
  return marked_method(name, object, arguments, std::move(value));
}

Result<Value> Evaluator::call_value(int line, const std::string& name, const Value& function,
                                    Arguments arguments) {
  if (function.is(Object::Kind::kLoop)) return call_loop(line, function, arguments);
  if (function.is(Object::Kind::kJoiner)) {
    Object& joiner = *function.object();
    return joiner.at++ == 0 ? Value(std::string()) : joiner.items[0];
  }
  if (function.callable() == nullptr) {
    return template_error(
        line, function.is_undefined() && !name.empty()
                  ? "the function " + in_quotes(name) + " is not known"
                  : "a value of type " + std::string(type_name(function)) + " cannot be called");
  }
  const Callable& callable = *function.callable();
  if (callable.method != nullptr) {
    const BoundMethod& method = *callable.method;
    return call_named_method(line, method.object, method.name, std::move(arguments));
  }
  if (callable.macro != nullptr) return call_macro(line, callable, arguments);
  return call_builtin(line, callable.builtin, std::move(arguments));
}

Status Evaluator::bind_arguments(int line, const Macro& macro, const Arguments& arguments) {
  const std::size_t count = macro.parameters.size();
  if (arguments.positional.size() > count && !macro.uses_varargs) {
    return template_error(line, "the macro " + in_quotes(macro.name) + " takes " +
                                    std::to_string(count) + " arguments at most");
  }
  Names rest = arguments.keywords;
  std::vector<const ExpressionPtr*> defaults;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& [name, fallback] = macro.parameters[i];
    Value value;
    const auto given = std::find_if(rest.begin(), rest.end(),
                                    [&name = name](const auto& one) { return one.first == name; });
    if (i < arguments.positional.size()) {
      value = arguments.positional[i];
    } else if (given != rest.end()) {
      value = given->second;
      rest.erase(given);
    } else if (fallback != nullptr) {
      TROUPE_ASSIGN_OR_RETURN(value, evaluate(*fallback));
    }
    put(&scope_->values, name, std::move(value));
  }
  const auto is_parameter = [&](std::string_view name) {
    return std::any_of(macro.parameters.begin(), macro.parameters.end(),
                       [&](const auto& one) { return one.first == name; });
  };
  if (macro.uses_caller && !is_parameter("caller")) {
    const auto caller = std::find_if(rest.begin(), rest.end(),
                                     [](const auto& one) { return one.first == "caller"; });
    put(&scope_->values, "caller", caller == rest.end() ? Value() : caller->second);
    if (caller != rest.end()) rest.erase(caller);
  }
  if (macro.uses_kwargs && !is_parameter("kwargs")) {
    Dict named;
    for (auto& [name, value] : rest) named.emplace_back(Value(name), std::move(value));
    put(&scope_->values, "kwargs", Value(std::move(named)));
  } else if (!rest.empty()) {
    return template_error(line, "the macro " + in_quotes(macro.name) + " has no parameter " +
                                    in_quotes(rest[0].first));
  }
  if (macro.uses_varargs && !is_parameter("varargs")) {
    const auto more = static_cast<std::ptrdiff_t>(std::min(count, arguments.positional.size()));
    put(&scope_->values, "varargs",
        tuple_of(List(arguments.positional.begin() + more, arguments.positional.end())));
  }
  return Status::ok();
}

Result<Value> Evaluator::call_macro(int line, const Callable& callable,
                                    const Arguments& arguments) {
  const ScopeGuard guard(this, callable.around);
  TROUPE_RETURN_IF_ERROR(bind_arguments(line, *callable.macro, arguments));
  LoopRun* const loops = loops_;
  Result<Value> value = capture_here(callable.macro->body);
  loops_ = loops;
  return value;
}

Result<Value> Evaluator::call_builtin(int line, Builtin builtin, Arguments arguments) {
  switch (builtin) {
    case Builtin::kRange:
      return call_range(line, arguments);
    case Builtin::kNamespace:
      return call_namespace(line, std::move(arguments));
    case Builtin::kDict: {
      TROUPE_ASSIGN_OR_RETURN(Dict entries, dict_arguments(line, std::move(arguments)));
      return Value(std::move(entries));
    }
    case Builtin::kCycler: {
      if (arguments.positional.empty()) return template_error(line, "cycler needs values");
      Value made = iterator_of(std::move(arguments.positional), "cycler");
      made.object()->kind = Object::Kind::kCycler;
      return made;
    }
    case Builtin::kJoiner: {
      const Value* separator = arguments.get(0, "sep");
      Value made = iterator_of({separator == nullptr ? Value(std::string(", ")) : *separator});
      made.object()->kind = Object::Kind::kJoiner;
      return made;
    }
    case Builtin::kStrftimeNow:
      return call_strftime(line, arguments);
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

// Returns the arguments of dict or namespace as a dict: they may be a dict, or pairs of keys and
// values, and names with values.
Result<Dict> Evaluator::dict_arguments(int line, Arguments arguments) {
  Dict entries;
  if (arguments.positional.size() > 1) {
    return template_error(line, "dict and namespace take one dict, and names with values");
  }
  if (!arguments.positional.empty()) {
    const Value& given = arguments.positional[0];
    if (given.dict() != nullptr) {
      TROUPE_RETURN_IF_ERROR(budget_.take(line, given.dict()->size() * sizeof(Value)));
      entries = *given.dict();
    } else if (given.is_undefined()) {
      return wrong_type(line, "making a dict", given);
    } else {
      TROUPE_ASSIGN_OR_RETURN(const List pairs, iterate(&budget_, line, given));
      for (const Value& pair : pairs) {
        TROUPE_ASSIGN_OR_RETURN(const List parts, iterate(&budget_, line, pair));
        if (parts.size() != 2 || !is_hashable(parts[0])) {
          return template_error(line, "a dict is made of pairs of a key and a value");
        }
        TROUPE_RETURN_IF_ERROR(budget_.step(line, 1 + entries.size() / 64));
        put(&entries, parts[0], parts[1]);
      }
    }
  }
  for (auto& [name, value] : arguments.keywords) put(&entries, Value(name), std::move(value));
  return entries;
}

Result<Value> Evaluator::call_namespace(int line, Arguments arguments) {
  TROUPE_RETURN_IF_ERROR(budget_.take(line, 1024));
  TROUPE_ASSIGN_OR_RETURN(const Dict entries, dict_arguments(line, std::move(arguments)));
  Names attributes;
  for (const auto& [key, value] : entries) {
    if (key.string() == nullptr) {
      return template_error(line, "the attributes of a namespace have names, not other keys");
    }
    put(&attributes, *key.string(), value);
  }
  namespaces_.push_back({std::move(attributes)});
  return Value(&namespaces_.back());
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
  if (arguments.positional.empty() || arguments.positional.size() > 3 ||
      !arguments.keywords.empty()) {
    return template_error(line, "range takes 1 to 3 arguments");
  }
  constexpr std::int64_t kBoundMax = std::int64_t{1} << 60;  // so that no size overflows
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    if (!to_integer(arguments.positional[i], &bounds[i])) {
      return template_error(line, "range takes integers");
    }
    if (bounds[i] > kBoundMax || bounds[i] < -kBoundMax) {
      return template_error(line, "a bound of range is too large");
    }
  }
  if (arguments.positional.size() == 1) std::swap(bounds[0], bounds[1]);
  const Range range{bounds[0], bounds[1], bounds[2]};
  if (range.step == 0) return template_error(line, "the step of range is 0");
  if (range.size() > kRangeMax) {
    return template_error(line, "a range of more than " + std::to_string(kRangeMax) + " items");
  }
  return Value(range);
}

}  // namespace troupe::model::jinja
