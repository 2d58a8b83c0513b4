#include <algorithm>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/attributes.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/evaluator.h>
#include <troupe/model/jinja/filters.h>
#include <troupe/model/jinja/marks.h>
#include <troupe/model/jinja/tests.h>

namespace troupe::model::jinja {
namespace {

// Returns sequence[begin:end:step] by Python's rules.
template <class T>
std::vector<T> slice(const std::vector<T>& items, const std::int64_t* begin,
                     const std::int64_t* end, std::int64_t step) {
  const auto size = static_cast<std::int64_t>(items.size());
  const auto clamp = [&](std::int64_t index) {
    if (index < 0) index = std::max(index, -size - 1) + size;
    return step > 0 ? std::clamp<std::int64_t>(index, 0, size)
                    : std::clamp<std::int64_t>(index, -1, size - 1);
  };
  std::int64_t first = begin != nullptr ? clamp(*begin) : step > 0 ? 0 : size - 1;
  const std::int64_t last = end != nullptr ? clamp(*end) : step > 0 ? size : -1;
  step = std::clamp<std::int64_t>(step, -size - 1, size + 1);
  std::vector<T> out;
  for (; step > 0 ? first < last : first > last; first += step) {
    out.push_back(items[static_cast<std::size_t>(first)]);
  }
  return out;
}

}  // namespace

Value Evaluator::look_up(std::string_view name) const {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    if (const Value* found = find(scope->values, name)) return *found;
  }
  static constexpr std::pair<std::string_view, Builtin> kBuiltins[] = {
      {"range", Builtin::kRange},
      {"namespace", Builtin::kNamespace},
      {"dict", Builtin::kDict},
      {"cycler", Builtin::kCycler},
      {"joiner", Builtin::kJoiner},
      {"raise_exception", Builtin::kRaiseException},
      {"strftime_now", Builtin::kStrftimeNow}};
  for (const auto& [known, builtin] : kBuiltins) {
    if (name != known || (builtin == Builtin::kStrftimeNow && !now_)) continue;
    Callable callable;
    callable.builtin = builtin;
    return Value(std::move(callable));
  }
  return Value();
}

Result<Value> Evaluator::attribute(int line, const Value& object, const std::string& name) {
  if (object.is(Object::Kind::kLoop)) return loop_attribute(object, name);
  return attribute_of(&budget_, line, object, name);
}

Result<Value> Evaluator::evaluate(const Expression& expression) {
  const Level level(&level_);
  TROUPE_RETURN_IF_ERROR(enter(expression.line));
  Result<Value> value = evaluate_kind(expression);
  if (value.is_ok() && value->depth() > kValueDepthMax) {
    return template_error(expression.line, "a value is nested too deeply",
                          Code::kResourceExhausted);
  }
  return value;
}

Result<Value> Evaluator::evaluate_kind(const Expression& expression) {
  switch (expression.kind) {
    case ExpressionKind::kLiteral:
      return expression.value;
    case ExpressionKind::kName:
      return look_up(expression.text);
    case ExpressionKind::kList:
    case ExpressionKind::kTuple: {
      TROUPE_ASSIGN_OR_RETURN(List items, evaluate_items(expression));
      return expression.kind == ExpressionKind::kList ? Value(std::move(items))
                                                      : tuple_of(std::move(items));
    }
    case ExpressionKind::kDict:
      return evaluate_dict(expression);
    case ExpressionKind::kAttribute: {
      TROUPE_ASSIGN_OR_RETURN(const Value object, evaluate(*expression.children[0]));
      return attribute(expression.line, object, expression.text);
    }
    case ExpressionKind::kIndex: {
      TROUPE_ASSIGN_OR_RETURN(const Value object, evaluate(*expression.children[0]));
      TROUPE_ASSIGN_OR_RETURN(const Value key, evaluate(*expression.children[1]));
      if (object.is(Object::Kind::kLoop) && key.string() != nullptr) {
        return loop_attribute(object, *key.string());
      }
      return subscript(&budget_, expression.line, object, key);
    }
    case ExpressionKind::kSlice:
      return evaluate_slice(expression);
    case ExpressionKind::kCall:
      return evaluate_call(expression);
    case ExpressionKind::kFilter: {
      TROUPE_ASSIGN_OR_RETURN(const Value input, evaluate(*expression.children[0]));
      TROUPE_ASSIGN_OR_RETURN(const Arguments arguments, arguments_of(expression));
      TROUPE_ASSIGN_OR_RETURN(
          Value value, apply_filter(&budget_, expression.line, expression.text, input, arguments));
      return marked_filter(expression.text, input, arguments, std::move(value));
    }
    case ExpressionKind::kTest: {
      TROUPE_ASSIGN_OR_RETURN(const Value input, evaluate(*expression.children[0]));
      TROUPE_ASSIGN_OR_RETURN(const Arguments arguments, arguments_of(expression));
      TROUPE_ASSIGN_OR_RETURN(const bool holds, apply_test(&budget_, expression.line,
                                                           expression.text, input, arguments));
      return Value(holds);
    }
    case ExpressionKind::kNot: {
      TROUPE_ASSIGN_OR_RETURN(const Value operand, evaluate(*expression.children[0]));
      return Value(!truth(operand));
    }
    case ExpressionKind::kNegate:
    case ExpressionKind::kPlus:
      return evaluate_sign(expression);
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr: {
      TROUPE_ASSIGN_OR_RETURN(Value left, evaluate(*expression.children[0]));
      if (truth(left) == (expression.kind == ExpressionKind::kOr)) return left;
      return evaluate(*expression.children[1]);
    }
    case ExpressionKind::kBinary:
      return evaluate_binary(expression);
    case ExpressionKind::kComparisons:
      return evaluate_comparisons(expression);
    case ExpressionKind::kConditional: {
      TROUPE_ASSIGN_OR_RETURN(const Value condition, evaluate(*expression.children[1]));
      if (truth(condition)) return evaluate(*expression.children[0]);
      if (expression.children[2] == nullptr) return Value();
      return evaluate(*expression.children[2]);
    }
  }
  return Value();
}

Result<List> Evaluator::evaluate_items(const Expression& expression) {
  TROUPE_RETURN_IF_ERROR(budget_.take(expression.line, expression.children.size() * sizeof(Value)));
  List list;
  for (const auto& child : expression.children) {
    TROUPE_ASSIGN_OR_RETURN(Value item, evaluate(*child));
    list.push_back(std::move(item));
  }
  return list;
}

Result<Value> Evaluator::evaluate_dict(const Expression& expression) {
  TROUPE_RETURN_IF_ERROR(budget_.take(expression.line, expression.children.size() * sizeof(Value)));
  Dict dict;
  for (std::size_t i = 0; i < expression.children.size(); i += 2) {
    TROUPE_ASSIGN_OR_RETURN(const Value key, evaluate(*expression.children[i]));
    if (!is_hashable(key)) return wrong_type(expression.line, "making a key of a dict", key);
    TROUPE_ASSIGN_OR_RETURN(Value value, evaluate(*expression.children[i + 1]));
    TROUPE_RETURN_IF_ERROR(budget_.step(expression.line, 1 + dict.size() / 64));
    put(&dict, key, std::move(value));
  }
  return Value(std::move(dict));
}

Result<Arguments> Evaluator::arguments_of(const Expression& expression) {
  Arguments arguments;
  for (const auto& argument : expression.arguments) {
    TROUPE_ASSIGN_OR_RETURN(Value value, evaluate(*argument));
    arguments.positional.push_back(std::move(value));
  }
  if (expression.star != nullptr) {
    TROUPE_ASSIGN_OR_RETURN(const Value spread, evaluate(*expression.star));
    TROUPE_ASSIGN_OR_RETURN(const List items, iterate(&budget_, expression.line, spread));
    arguments.positional.insert(arguments.positional.end(), items.begin(), items.end());
  }
  for (const auto& [name, argument] : expression.keywords) {
    TROUPE_ASSIGN_OR_RETURN(Value value, evaluate(*argument));
    put(&arguments.keywords, name, std::move(value));
  }
  if (expression.double_star == nullptr) return arguments;
  TROUPE_ASSIGN_OR_RETURN(const Value spread, evaluate(*expression.double_star));
  if (spread.dict() == nullptr) return wrong_type(expression.line, "naming arguments by", spread);
  for (const auto& [name, value] : *spread.dict()) {
    if (name.string() == nullptr || find(arguments.keywords, *name.string()) != nullptr) {
      return template_error(expression.line, "an argument has no name, or is given twice");
    }
    put(&arguments.keywords, *name.string(), value);
  }
  return arguments;
}

Result<Value> Evaluator::evaluate_slice(const Expression& expression) {
  TROUPE_ASSIGN_OR_RETURN(const Value object, evaluate(*expression.children[0]));
  Value bounds[3];
  for (std::size_t i = 0; i < 3; ++i) {
    if (expression.children[i + 1] == nullptr) continue;
    TROUPE_ASSIGN_OR_RETURN(bounds[i], evaluate(*expression.children[i + 1]));
    if (bounds[i].is_none()) bounds[i] = Value();
    if (const bool* flag = bounds[i].boolean()) bounds[i] = Value(std::int64_t{*flag});
    if (!bounds[i].is_undefined() && bounds[i].integer() == nullptr) {
      return template_error(expression.line, "the bounds of a slice must be integers");
    }
  }
  const std::int64_t step = bounds[2].integer() != nullptr ? *bounds[2].integer() : 1;
  if (step == 0) return template_error(expression.line, "the step of a slice is 0");
  if (object.is_indexed()) {
    const List& list = *object.list();
    TROUPE_RETURN_IF_ERROR(budget_.take(expression.line, list.size() * sizeof(Value)));
    return Value(slice(list, bounds[0].integer(), bounds[1].integer(), step),
                 object.is_tuple() ? Sequence::kTuple : Sequence::kList);
  }
  if (const Range* range = object.range()) {
    std::vector<std::int64_t> places;
    for (std::int64_t i = 0; i <= range->size(); ++i) places.push_back(i);
    const std::int64_t end = places.back();
    places.pop_back();
    TROUPE_RETURN_IF_ERROR(budget_.take(expression.line, places.size() * sizeof(Value)));
    const auto kept = slice(places, bounds[0].integer(), bounds[1].integer(), step);
    const std::int64_t first = kept.empty() ? end : kept.front();
    const auto count = static_cast<std::int64_t>(kept.size());
    return Value(Range{range->at(first), range->at(first + count * step), range->step * step});
  }
  if (const Text* text = object.text()) {
    TROUPE_RETURN_IF_ERROR(budget_.take(expression.line, text->text.size()));
    std::string out;
    for (const std::string_view character :
         slice(characters(text->text), bounds[0].integer(), bounds[1].integer(), step)) {
      out += character;
    }
    Value cut(Text{std::move(out), {}, text->markup});
    return object.is_foreign() ? cut.as_foreign() : cut;
  }
  if (!object.is_undefined()) return Value();  // as Jinja has it for what cannot be sliced
  return template_error(expression.line, "an undefined value cannot be sliced");
}

}  // namespace troupe::model::jinja
