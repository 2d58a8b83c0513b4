#pragma once

#include <ctime>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include <troupe/model/jinja/ast.h>
#include <troupe/model/jinja/builtin_parts.h>

// The evaluator of a parsed template: statements in eval.cpp, loops in eval_loops.cpp, expressions
// in eval_expressions.cpp, operators in eval_operators.cpp, calls in eval_calls.cpp. For these
// files; others call evaluate.

namespace troupe::model::jinja {

// A level takes a few stack frames. All levels together stay well below a megabyte of stack,
// because threads of a user's program may call.
constexpr int kDepthMax = 250;
constexpr int kValueDepthMax = 220;
constexpr std::int64_t kRangeMax = 100'000;

// The names of a part of the template, which also sees those of its parents.
struct Scope {
  Names values;
  Scope* parent = nullptr;
  bool kept = false;  // a macro that was defined in this scope or below sees its names as long as
                      // the macro lives
};

enum class Flow : std::uint8_t { kNormal, kBreak, kContinue };

class Evaluator {
 public:
  Evaluator(Names variables, const std::optional<std::tm>& now)
      : now_(now), root_{std::move(variables), nullptr, true}, scope_(&root_) {}

  Result<Text> run(const Body& body);

 private:
  // Opens a new scope below `parent` for as long as the guard lives.
  class ScopeGuard {
   public:
    ScopeGuard(Evaluator* evaluator, Scope* parent)
        : evaluator_(evaluator),
          before_(evaluator->scope_),
          scope_(std::make_unique<Scope>(Scope{{}, parent, false})) {
      evaluator->scope_ = scope_.get();
    }
    ~ScopeGuard() {
      evaluator_->scope_ = before_;
      if (scope_->kept) evaluator_->kept_scopes_.push_back(std::move(scope_));
    }
    ScopeGuard(const ScopeGuard&) = delete;
    ScopeGuard& operator=(const ScopeGuard&) = delete;

   private:
    Evaluator* evaluator_;
    Scope* before_;
    std::unique_ptr<Scope> scope_;
  };
  Status enter(int line);

  // --- statements ---

  Result<Flow> execute(const Body& body);
  Result<Flow> execute(const Statement& statement);
  Status print(int line, const Text& text);
  Status print_value(int line, const Value& value);

  // Returns what `body` prints, in a scope of its own below `parent`.
  Result<Value> capture(const Body& body, Scope* parent);
  Result<Value> capture_here(const Body& body);
  Result<Flow> execute_if(const Statement& statement);
  // Assigns to names of the present scope, and to attributes of namespaces.
  Status assign(int line, const Target& target, const Value& value);
  // Returns what the body prints, after the filters of the statement's expression.
  Result<Value> filtered_block(const Statement& statement);
  Result<Flow> execute_with(const Statement& statement);
  Status execute_call_block(const Statement& statement);
  // Returns the macro with the names that it sees, which live on with it.
  Value closure(const Macro& macro);

  // --- loops ---

  // A running loop, with the items that are left. Items are taken one by one, because the condition
  // of a later one may depend on what the body does with an earlier one.
  struct LoopRun {
    const Statement* statement = nullptr;
    Scope* around = nullptr;
    List source;
    std::size_t next = 0;
    Status failed;  // after the source
    std::shared_ptr<Object> loop;
    LoopRun* outer = nullptr;
  };
  Result<Flow> execute_for(const Statement& statement);
  Result<Flow> run_loop(const Statement& statement, const Value& value, Scope* around, int level);
  Result<Flow> run_iterations(LoopRun* run, bool* completed);
  // Takes the next item that the condition lets through; false if there is none.
  Result<bool> take_item(LoopRun* run);
  Result<Value> loop_attribute(const Value& loop, const std::string& name);
  Result<Value> call_loop_method(int line, const Value& loop, const std::string& name,
                                 const Arguments& arguments);
  // loop(items): runs a recursive loop again and returns what it prints.
  Result<Value> call_loop(int line, const Value& loop, const Arguments& arguments);

  // --- expressions ---

  Value look_up(std::string_view name) const;
  Result<Value> evaluate(const Expression& expression);
  Result<Value> evaluate_kind(const Expression& expression);
  Result<List> evaluate_items(const Expression& expression);
  Result<Value> evaluate_dict(const Expression& expression);
  Result<Value> attribute(int line, const Value& object, const std::string& name);
  Result<Arguments> arguments_of(const Expression& expression);
  Result<Value> evaluate_slice(const Expression& expression);
  Result<Value> evaluate_sign(const Expression& expression);
  Result<Value> evaluate_binary(const Expression& expression);
  Result<Value> evaluate_comparisons(const Expression& expression);
  // Returns nullopt if `op` is not a comparison.
  Result<std::optional<bool>> compare(int line, const std::string& op, const Value& left,
                                      const Value& right);
  // Repeats a string or a sequence.
  Result<Value> repeat(int line, const Value& value, std::int64_t count);

  // Computes - * / // % **. The rounding of // and % is Python's, toward minus infinity.
  Result<Value> arithmetic(int line, const std::string& op, const Value& left, const Value& right);

  // --- calls ---

  // `caller` is the macro that a call block adds; null without one.
  Result<Value> evaluate_call(const Expression& expression, const Value* caller = nullptr);
  Result<Value> call_value(int line, const std::string& name, const Value& function,
                           Arguments arguments);
  Result<Value> call_named_method(int line, const Value& object, const std::string& name,
                                  Arguments arguments);
  Result<Value> call_macro(int line, const Callable& callable, const Arguments& arguments);
  Status bind_arguments(int line, const Macro& macro, const Arguments& arguments);
  Result<Value> call_builtin(int line, Builtin builtin, Arguments arguments);
  Result<Value> call_range(int line, const Arguments& arguments);
  Result<Dict> dict_arguments(int line, Arguments arguments);
  Result<Value> call_namespace(int line, Arguments arguments);
  Result<Value> call_strftime(int line, const Arguments& arguments);

  std::optional<std::tm> now_;
  Scope root_;
  Scope* scope_;
  Text* out_ = nullptr;
  Budget budget_;
  int level_ = 0;
  LoopRun* loops_ = nullptr;          // the innermost that runs
  std::deque<Namespace> namespaces_;  // a deque, because values point at them
  std::deque<std::unique_ptr<Scope>> kept_scopes_;
};

}  // namespace troupe::model::jinja
