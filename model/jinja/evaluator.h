#pragma once

#include <ctime>
#include <deque>
#include <optional>
#include <utility>

#include <troupe/model/jinja/ast.h>
#include <troupe/model/jinja/builtin_parts.h>

// The evaluator of a parsed template: statements in eval.cpp, expressions in eval_expressions.cpp,
// operators in eval_operators.cpp, calls in eval_calls.cpp. For these files; others call evaluate.

namespace troupe::model::jinja {

// A level takes a few stack frames. All levels together stay well below a megabyte of stack,
// because threads of a user's program may call.
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
  Evaluator(Dict variables, const std::optional<std::tm>& now)
      : now_(now), root_{std::move(variables), nullptr}, scope_(&root_) {}

  Result<Text> run(const Body& body);

 private:
  // Opens a new scope below `parent` for as long as the guard lives.
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
  Status enter(int line);

  // --- statements ---

  Result<Flow> execute(const Body& body);
  Result<Flow> execute(const Statement& statement);
  Status print(int line, const Text& text);

  // Returns what `body` prints, in a scope of its own below `parent`.
  Result<Value> capture(const Body& body, Scope* parent);
  Result<Value> capture_here(const Body& body);
  Result<Flow> execute_if(const Statement& statement);
  Status bind(const Statement& statement, const Value& value);
  static Value loop_variable(const List& items, std::size_t i);
  Result<Flow> execute_for(const Statement& statement);
  Status execute_set(const Statement& statement);
  Status assign(const Statement& statement, Value value);
  // Returns what the body prints, after the filters of the statement's expression.
  Result<Value> filtered_block(const Statement& statement);
  Result<Flow> execute_with(const Statement& statement);
  Status execute_call_block(const Statement& statement);
  Status print_value(int line, const Value& value);

  // --- expressions ---

  Value look_up(std::string_view name) const;
  Result<Value> evaluate(const Expression& expression);
  Result<Value> evaluate_kind(const Expression& expression);
  Result<Value> evaluate_list(const Expression& expression);
  Result<Value> evaluate_dict(const Expression& expression);
  Result<Arguments> arguments_of(const Expression& expression);
  Result<Value> evaluate_slice(const Expression& expression);
  Result<Value> evaluate_sign(const Expression& expression);
  Result<Value> evaluate_binary(const Expression& expression);
  Result<Value> evaluate_comparisons(const Expression& expression);
  // Returns nullopt if `op` is not a comparison.
  Result<std::optional<bool>> compare(int line, const std::string& op, const Value& left,
                                      const Value& right);
  // Repeats a string or a list.
  Result<Value> repeat(int line, const Value& value, std::int64_t count);

  // Computes - * / // % **. The rounding of // and % is Python's, toward minus infinity.
  Result<Value> arithmetic(int line, const std::string& op, const Value& left, const Value& right);

  // --- calls ---

  // `caller` is what a call block adds; null without one.
  Result<Value> evaluate_call(const Expression& expression, const Value* caller = nullptr);
  Result<Value> call_macro(int line, const Macro& macro, const Arguments& arguments);
  Result<Value> call_builtin(int line, Builtin builtin, Arguments arguments);
  Result<Value> call_range(int line, const Arguments& arguments);
  Result<Dict> dict_arguments(int line, Arguments arguments);
  Result<Value> call_strftime(int line, const Arguments& arguments);

  // The call blocks that are being evaluated. The body of an ended one cannot be called.
  struct Caller {
    const Macro* macro;
    Scope* scope;
  };

  std::optional<std::tm> now_;
  Scope root_;
  Scope* scope_;
  Text* out_ = nullptr;
  Budget budget_;
  int level_ = 0;
  std::vector<Caller> callers_;
  std::deque<Namespace> namespaces_;  // a deque, because values point at them
};

}  // namespace troupe::model::jinja
