#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <troupe/model/jinja/value.h>

// The parsed template. Nodes are immutable after parsing. No chain of nodes is deeper than
// kNodeDepthMax, so that walking or destroying the tree needs a bounded stack.

namespace troupe::model::jinja {

// Increments a counter of nested levels as long as it lives.
class Level {
 public:
  explicit Level(int* level) : level_(level) { ++*level_; }
  ~Level() { --*level_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  int* level_;
};

constexpr int kNodeDepthMax = 200;

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class ExpressionKind : std::uint8_t {
  kLiteral,      // value
  kName,         // text
  kList,         // children
  kTuple,        // children
  kDict,         // children: key, value, key, value ...
  kAttribute,    // children[0] . text
  kIndex,        // children[0] [children[1]]
  kSlice,        // children[0] [children[1] : children[2] : children[3]]; 1..3 may be null
  kCall,         // children[0] (arguments, keywords, *star, **double_star)
  kFilter,       // children[0] | text (arguments)
  kTest,         // children[0] is text (arguments)
  kNot,          // children[0]
  kNegate,       // children[0]
  kPlus,         // children[0]
  kAnd,          // children[0], children[1]
  kOr,           // children[0], children[1]
  kBinary,       // children[0] text children[1]: + - * / // % ** ~ == != < <= > >= in, not in
  kComparisons,  // children[0] < children[1] < ...; comparisons: the operators between them
  kConditional,  // children[0] if children[1] else children[2], which may be null
};

struct Expression {
  ExpressionKind kind = ExpressionKind::kLiteral;
  int line = 1;
  int depth = 1;
  std::string text;
  Value value;
  std::vector<std::string> comparisons;
  std::vector<ExpressionPtr> children;
  std::vector<ExpressionPtr> arguments;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  ExpressionPtr star, double_star;  // may be null
};

// The target of an assignment: a name, an attribute of a namespace, or, with parts, the items of a
// sequence.
struct Target {
  std::string name, attribute;
  std::vector<Target> parts;
  bool is_tuple = false;
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

struct Macro {
  std::string name;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // default may be null
  Body body;
  // Whether the macro's body uses further arguments, named ones, or the body of a call block.
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

enum class StatementKind : std::uint8_t {
  kText,         // text
  kOutput,       // expression
  kIf,           // branches; a null condition is the else
  kFor,          // target in expression, condition may be null; body, otherwise
  kSet,          // target = expression
  kSetBlock,     // target = what body prints, through the filters of expression, if any
  kFilterBlock,  // what body prints, through the filters of expression
  kWith,         // body, with the parameters of macro as further names
  kMacro,        // macro
  kCallBlock,    // the call in expression, with macro as its caller()
  kBreak,
  kContinue,
  kGeneration,  // body, in a scope of its own
  kBlock,       // body, which sees the names around it only if `scoped`
};

struct Statement {
  StatementKind kind = StatementKind::kText;
  int line = 1;
  std::string text;
  Target target;
  bool recursive = false;  // a loop that `loop(items)` runs again
  bool scoped = false;
  ExpressionPtr expression, condition;
  Body body, otherwise;
  std::vector<std::pair<ExpressionPtr, Body>> branches;
  Macro macro;
};

// The name under which the filters of a block find what it prints. No template can write it.
constexpr std::string_view kBlockText = "<block>";

}  // namespace troupe::model::jinja
