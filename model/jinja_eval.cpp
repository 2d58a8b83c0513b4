#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include <troupe/model/jinja_builtins.h>
#include <troupe/model/jinja_eval.h>
#include <troupe/model/jinja_lexer.h>
#include <troupe/model/utf8.h>

// Longer than 500 lines: one evaluator over one tree; its cases share the scopes and the budget.
namespace troupe::model::jinja {
namespace {

// Some frames a level: well below a megabyte of stack, since threads of others may call.
constexpr int kDepthMax = 250;
constexpr int kValueDepthMax = 50;
constexpr std::int64_t kRangeMax = 100'000;

struct Scope {
  Dict values;
  Scope* parent = nullptr;
};

enum class Flow : std::uint8_t { kNormal, kBreak, kContinue };

class Evaluator {
 public:
  explicit Evaluator(Dict variables) : root_{std::move(variables), nullptr}, scope_(&root_) {}

  Result<Text> run(const Body& body) {
    Text out;
    out_ = &out;
    TROUPE_ASSIGN_OR_RETURN(const Flow flow, execute(body));
    static_cast<void>(flow);
    return out;
  }

 private:
  // Counts how deep the evaluator is, over macros too.
  class Level {
   public:
    explicit Level(int* level) : level_(level) { ++*level_; }
    ~Level() { --*level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    int* level_;
  };
  // A new scope below `parent` for as long as it lives.
  class ScopeGuard {
   public:
    ScopeGuard(Evaluator* evaluator, Scope* parent)
        : evaluator_(evaluator), before_(evaluator->scope_), scope_{{}, parent} {
      evaluator->scope_ = &scope_;
    }
    ~ScopeGuard() { evaluator_->scope_ = before_; }
    ScopeGuard(const ScopeGuard&) = delete;
    ScopeGuard& operator=(const ScopeGuard&) = delete;

   private:
    Evaluator* evaluator_;
    Scope* before_;
    Scope scope_;
  };

  Status enter(int line) {
    TROUPE_RETURN_IF_ERROR(budget_.step(line));
    if (level_ <= kDepthMax) return Status::ok();
    return template_error(line, "calls and expressions are nested too deeply",
                          Code::kResourceExhausted);
  }

  // --- statements ---

  Result<Flow> execute(const Body& body) {
    for (const auto& statement : body) {
      TROUPE_ASSIGN_OR_RETURN(const Flow flow, execute(*statement));
      if (flow != Flow::kNormal) return flow;
    }
    return Flow::kNormal;
  }

  Result<Flow> execute(const Statement& statement) {
    const Level level(&level_);
    TROUPE_RETURN_IF_ERROR(enter(statement.line));
    switch (statement.kind) {
      case StatementKind::kText:
        TROUPE_RETURN_IF_ERROR(print(statement.line, Text{statement.text, {}}));
        return Flow::kNormal;
      case StatementKind::kOutput: {
        TROUPE_ASSIGN_OR_RETURN(const Value value, evaluate(*statement.expression));
        TROUPE_RETURN_IF_ERROR(budget_.take(statement.line, value.weight()));
        TROUPE_ASSIGN_OR_RETURN(const Text text, marked_text_of(statement.line, value));
        TROUPE_RETURN_IF_ERROR(print(statement.line, text));
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
        TROUPE_ASSIGN_OR_RETURN(Value text, capture(statement.body, scope_));
        put(&scope_->values, statement.names[0], std::move(text));
        return Flow::kNormal;
      }
      case StatementKind::kMacro:
        put(&scope_->values, statement.macro.name, Value(Callable{&statement.macro, {}}));
        return Flow::kNormal;
      case StatementKind::kBreak:
        return Flow::kBreak;
      case StatementKind::kContinue:
        return Flow::kContinue;
      case StatementKind::kBlock:
        return execute(statement.body);
    }
    return Flow::kNormal;
  }

  Status print(int line, const Text& text) {
    TROUPE_RETURN_IF_ERROR(budget_.take(line, text.text.size()));
    out_->append(text);
    return Status::ok();
  }

  // What `body` prints, in a scope of its own below `parent`.
  Result<Value> capture(const Body& body, Scope* parent) {
    const ScopeGuard guard(this, parent);
    return capture_here(body);
  }
  Result<Value> capture_here(const Body& body) {
    Text text;
    Text* const before = std::exchange(out_, &text);
    const Result<Flow> flow = execute(body);
    out_ = before;
    if (!flow.is_ok()) return flow.status();
    return Value(std::move(text));
  }

  Result<Flow> execute_if(const Statement& statement) {
    for (const auto& [condition, body] : statement.branches) {
      if (condition != nullptr) {
        TROUPE_ASSIGN_OR_RETURN(const Value value, evaluate(*condition));
        if (!truth(value)) continue;
      }
      return execute(body);
    }
    return Flow::kNormal;
  }

  Status bind(const Statement& statement, const Value& value) {
    if (statement.names.size() == 1) {
      put(&scope_->values, statement.names[0], value);
      return Status::ok();
    }
    TROUPE_ASSIGN_OR_RETURN(List items, iterate(&budget_, statement.line, value));
    if (items.size() != statement.names.size()) {
      return template_error(statement.line, std::to_string(statement.names.size()) +
                                                " names cannot take " +
                                                std::to_string(items.size()) + " values");
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      put(&scope_->values, statement.names[i], std::move(items[i]));
    }
    return Status::ok();
  }

  static Value loop_variable(const List& items, std::size_t i) {
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

  Result<Flow> execute_for(const Statement& statement) {
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

  Status execute_set(const Statement& statement) {
    TROUPE_ASSIGN_OR_RETURN(Value value, evaluate(*statement.expression));
    if (statement.text.empty()) return bind(statement, value);
    const Value target = look_up(statement.text);
    if (target.name_space() == nullptr) {
      return template_error(
          statement.line,
          in_quotes(statement.text) + " is no namespace, so its attributes cannot be set");
    }
    put(&target.name_space()->attributes, statement.names[0], std::move(value));
    return Status::ok();
  }

  // --- expressions ---

  Value look_up(std::string_view name) const {
    for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
      if (const Value* found = find(scope->values, name)) return *found;
    }
    if (name == "range") return Value(Callable{nullptr, Builtin::kRange});
    if (name == "namespace") return Value(Callable{nullptr, Builtin::kNamespace});
    if (name == "dict") return Value(Callable{nullptr, Builtin::kDict});
    if (name == "raise_exception") return Value(Callable{nullptr, Builtin::kRaiseException});
    return Value();
  }

  Result<Value> evaluate(const Expression& expression) {
    const Level level(&level_);
    TROUPE_RETURN_IF_ERROR(enter(expression.line));
    Result<Value> value = evaluate_kind(expression);
    if (value.is_ok() && value->depth() > kValueDepthMax) {
      return template_error(expression.line, "a value is nested too deeply",
                            Code::kResourceExhausted);
    }
    return value;
  }

  Result<Value> evaluate_kind(const Expression& expression) {
    switch (expression.kind) {
      case ExpressionKind::kLiteral:
        return expression.value;
      case ExpressionKind::kName:
        return look_up(expression.text);
      case ExpressionKind::kList:
        return evaluate_list(expression);
      case ExpressionKind::kDict:
        return evaluate_dict(expression);
      case ExpressionKind::kAttribute: {
        TROUPE_ASSIGN_OR_RETURN(const Value object, evaluate(*expression.children[0]));
        return subscript(&budget_, expression.line, object, Value(expression.text));
      }
      case ExpressionKind::kIndex: {
        TROUPE_ASSIGN_OR_RETURN(const Value object, evaluate(*expression.children[0]));
        TROUPE_ASSIGN_OR_RETURN(const Value key, evaluate(*expression.children[1]));
        return subscript(&budget_, expression.line, object, key);
      }
      case ExpressionKind::kSlice:
        return evaluate_slice(expression);
      case ExpressionKind::kCall:
        return evaluate_call(expression);
      case ExpressionKind::kFilter: {
        TROUPE_ASSIGN_OR_RETURN(const Value input, evaluate(*expression.children[0]));
        TROUPE_ASSIGN_OR_RETURN(const Arguments arguments, arguments_of(expression));
        TROUPE_ASSIGN_OR_RETURN(Value value, apply_filter(&budget_, expression.line,
                                                          expression.text, input, arguments));
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
      case ExpressionKind::kConditional: {
        TROUPE_ASSIGN_OR_RETURN(const Value condition, evaluate(*expression.children[1]));
        if (truth(condition)) return evaluate(*expression.children[0]);
        if (expression.children[2] == nullptr) return Value();
        return evaluate(*expression.children[2]);
      }
    }
    return Value();
  }

  Result<Value> evaluate_list(const Expression& expression) {
    TROUPE_RETURN_IF_ERROR(
        budget_.take(expression.line, expression.children.size() * sizeof(Value)));
    List list;
    for (const auto& child : expression.children) {
      TROUPE_ASSIGN_OR_RETURN(Value item, evaluate(*child));
      list.push_back(std::move(item));
    }
    return Value(std::move(list));
  }

  Result<Value> evaluate_dict(const Expression& expression) {
    TROUPE_RETURN_IF_ERROR(
        budget_.take(expression.line, expression.children.size() * sizeof(Value)));
    Dict dict;
    bool foreign = false;  // a key is
    for (std::size_t i = 0; i < expression.children.size(); i += 2) {
      TROUPE_ASSIGN_OR_RETURN(const Value key, evaluate(*expression.children[i]));
      if (key.string() == nullptr) {
        return template_error(expression.line, "the keys of a dict must be strings");
      }
      TROUPE_ASSIGN_OR_RETURN(Value value, evaluate(*expression.children[i + 1]));
      foreign = foreign || key.is_foreign();
      put(&dict, *key.string(), std::move(value));
    }
    Value made(std::move(dict));
    return foreign ? made.as_foreign() : made;
  }

  Result<Arguments> arguments_of(const Expression& expression) {
    Arguments arguments;
    for (const auto& argument : expression.arguments) {
      TROUPE_ASSIGN_OR_RETURN(Value value, evaluate(*argument));
      arguments.positional.push_back(std::move(value));
    }
    for (const auto& [name, argument] : expression.keywords) {
      TROUPE_ASSIGN_OR_RETURN(Value value, evaluate(*argument));
      put(&arguments.keywords, name, std::move(value));
    }
    return arguments;
  }

  // Python's rules for sequence[begin:end:step].
  template <class T>
  static std::vector<T> slice(const std::vector<T>& items, const std::int64_t* begin,
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

  Result<Value> evaluate_slice(const Expression& expression) {
    TROUPE_ASSIGN_OR_RETURN(const Value object, evaluate(*expression.children[0]));
    Value bounds[3];
    for (std::size_t i = 0; i < 3; ++i) {
      if (expression.children[i + 1] == nullptr) continue;
      TROUPE_ASSIGN_OR_RETURN(bounds[i], evaluate(*expression.children[i + 1]));
      if (bounds[i].is_none()) bounds[i] = Value();
      if (!bounds[i].is_undefined() && bounds[i].integer() == nullptr) {
        return template_error(expression.line, "the bounds of a slice must be integers");
      }
    }
    const std::int64_t step = bounds[2].integer() != nullptr ? *bounds[2].integer() : 1;
    if (step == 0) return template_error(expression.line, "the step of a slice is 0");
    if (const List* list = object.list()) {
      TROUPE_RETURN_IF_ERROR(budget_.take(expression.line, list->size() * sizeof(Value)));
      return Value(slice(*list, bounds[0].integer(), bounds[1].integer(), step));
    }
    if (const std::string* text = object.string()) {
      TROUPE_RETURN_IF_ERROR(budget_.take(expression.line, text->size()));
      std::string out;
      for (const std::string_view character :
           slice(characters(*text), bounds[0].integer(), bounds[1].integer(), step)) {
        out += character;
      }
      Value cut(std::move(out));
      return object.is_foreign() ? cut.as_foreign() : cut;
    }
    return template_error(
        expression.line, "a value of type " + std::string(type_name(object)) + " cannot be sliced");
  }

  Result<Value> evaluate_sign(const Expression& expression) {
    TROUPE_ASSIGN_OR_RETURN(const Value operand, evaluate(*expression.children[0]));
    const bool negate = expression.kind == ExpressionKind::kNegate;
    double number = 0;
    if (!to_number(operand, &number)) {
      return template_error(expression.line,
                            "a value of type " + std::string(type_name(operand)) + " has no sign");
    }
    if (operand.real() != nullptr) return Value(negate ? -number : number);
    // Integers that come from text are positive, so the only one without a negative is refused.
    const auto value =
        operand.integer() != nullptr ? *operand.integer() : std::int64_t{number != 0};
    std::int64_t negative = 0;
    if (__builtin_sub_overflow(std::int64_t{0}, value, &negative)) {
      return template_error(expression.line, "a number is too large");
    }
    return Value(negate ? negative : value);
  }

  Result<Value> evaluate_binary(const Expression& expression) {
    TROUPE_ASSIGN_OR_RETURN(const Value left, evaluate(*expression.children[0]));
    TROUPE_ASSIGN_OR_RETURN(const Value right, evaluate(*expression.children[1]));
    const std::string& op = expression.text;
    const int line = expression.line;
    if (op == "+") return concatenate(&budget_, line, left, right);
    if (op == "~") {
      TROUPE_RETURN_IF_ERROR(budget_.take(line, std::max(left.weight(), right.weight())));
      TROUPE_ASSIGN_OR_RETURN(Text joined, marked_text_of(line, left));
      TROUPE_ASSIGN_OR_RETURN(const Text b, marked_text_of(line, right));
      TROUPE_RETURN_IF_ERROR(budget_.take(line, joined.text.size() + b.text.size()));
      joined.append(b);
      return Value(std::move(joined));
    }
    if (op == "==" || op == "!=") {
      TROUPE_RETURN_IF_ERROR(budget_.take(line, std::min(left.weight(), right.weight())));
      return Value(equal(left, right) == (op == "=="));
    }
    if (op == "in" || op == "not in") {
      TROUPE_ASSIGN_OR_RETURN(const bool inside, contains(&budget_, line, right, left));
      return Value(inside == (op == "in"));
    }
    if (op == "<" || op == ">" || op == "<=" || op == ">=") {
      static const std::pair<std::string_view, std::string> kTests[] = {
          {"<", "lt"}, {">", "gt"}, {"<=", "le"}, {">=", "ge"}};
      for (const auto& [text, test] : kTests) {
        if (op != text) continue;
        TROUPE_ASSIGN_OR_RETURN(const bool holds,
                                apply_test(&budget_, line, test, left, {{right}, {}}));
        return Value(holds);
      }
    }
    return arithmetic(line, op, left, right);
  }

  Result<Value> repeat(int line, const std::string& text, std::int64_t count) {
    const auto times = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
    if (!text.empty() && times > Budget::kTextBytesMax / text.size()) {
      return budget_.take(line, Budget::kTextBytesMax + 1);
    }
    TROUPE_RETURN_IF_ERROR(budget_.take(line, text.size() * times));
    std::string out;
    for (std::size_t i = 0; i < times && !text.empty(); ++i) out += text;
    return Value(std::move(out));
  }

  // - * / // % **; the rounding of // and % is Python's, toward minus infinity.
  Result<Value> arithmetic(int line, const std::string& op, const Value& left, const Value& right) {
    if (op == "*" && left.string() != nullptr && right.integer() != nullptr) {
      TROUPE_ASSIGN_OR_RETURN(Value times, repeat(line, *left.string(), *right.integer()));
      return left.is_foreign() ? times.as_foreign() : times;
    }
    double x = 0, y = 0;
    if (!to_number(left, &x) || !to_number(right, &y)) {
      return template_error(
          line, "the operator " + in_quotes(op) + " is not known for values of the types " +
                    std::string(type_name(left)) + " and " + std::string(type_name(right)));
    }
    if ((op == "/" || op == "//" || op == "%") && y == 0) {
      return template_error(line, "a division by zero");
    }
    if (op == "/") return Value(x / y);
    if (left.integer() == nullptr || right.integer() == nullptr) {
      if (op == "-") return Value(x - y);
      if (op == "*") return Value(x * y);
      if (op == "//") return Value(std::floor(x / y));
      if (op == "%") return Value(x - std::floor(x / y) * y);
      return Value(std::pow(x, y));
    }
    const std::int64_t a = *left.integer(), b = *right.integer();
    std::int64_t result = 0;
    bool overflow = false;
    if (op == "-") {
      overflow = __builtin_sub_overflow(a, b, &result);
    } else if (op == "*") {
      overflow = __builtin_mul_overflow(a, b, &result);
    } else if (op == "**") {
      if (b < 0) return Value(std::pow(x, y));
      result = 1;
      overflow = b > 63 && a != 0 && a != 1 && a != -1;
      for (std::int64_t i = 0; i < std::min<std::int64_t>(b, 64) && !overflow; ++i) {
        overflow = __builtin_mul_overflow(result, a, &result);
      }
      if (a == -1) result = b % 2 == 0 ? 1 : -1;
    } else if (b == -1) {
      overflow = op == "//" && __builtin_sub_overflow(std::int64_t{0}, a, &result);
    } else {
      const std::int64_t rest = a % b;
      const bool adjust = rest != 0 && (rest < 0) != (b < 0);
      result = op == "//" ? a / b - (adjust ? 1 : 0) : rest + (adjust ? b : 0);
    }
    if (overflow) return template_error(line, "the result of " + in_quotes(op) + " is too large");
    return Value(result);
  }

  // --- calls ---

  Result<Value> evaluate_call(const Expression& expression) {
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

  Result<Value> call_macro(int line, const Macro& macro, const Arguments& arguments) {
    if (arguments.positional.size() > macro.parameters.size()) {
      return template_error(line, "the macro " + in_quotes(macro.name) + " takes " +
                                      std::to_string(macro.parameters.size()) +
                                      " arguments at most");
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

  Result<Value> call_builtin(int line, Builtin builtin, Arguments arguments) {
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

  Result<Value> call_range(int line, const Arguments& arguments) {
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

  Scope root_;
  Scope* scope_;
  Text* out_ = nullptr;
  Budget budget_;
  int level_ = 0;
  std::deque<Namespace> namespaces_;  // values point at them
};

}  // namespace

Result<Text> evaluate(const Body& body, Dict variables) {
  return Evaluator(std::move(variables)).run(body);
}

}  // namespace troupe::model::jinja
