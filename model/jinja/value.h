#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <troupe/model/jinja/big_integer.h>
#include <troupe/model/text/text_span.h>
#include <troupe/runtime/status.h>

// Values of the template language, with Python's ideas of truth, equality and hashing. Strings,
// lists and dicts are immutable and shared, so that copies cost nothing. Namespaces, iterators and
// the objects of cycler, joiner and loop change; the evaluator owns the namespaces (a value may
// point at a namespace that holds it).

namespace troupe::model::jinja {

// A string and which of its bytes are foreign: they come from messages or tools, not from the
// template, so markup in them is not the markup of special tokens. Spans ascend and do not touch.
// If an operation does not keep track exactly, its whole result is foreign.
struct Text {
  std::string text;
  std::vector<TextSpan> foreign;
  bool markup = false;  // Python's Markup: what is joined with it is escaped for HTML

  void append(std::string_view more) { text += more; }
  void append(const Text& more);
};

struct Value;
struct Macro;      // ast.h
struct Statement;  // ast.h
struct Scope;      // evaluator.h
struct Undefined {};
struct None {};
using List = std::vector<Value>;
using Dict = std::vector<std::pair<Value, Value>>;         // in order of insertion
using Names = std::vector<std::pair<std::string, Value>>;  // variables, and named arguments
struct Namespace;

// How a sequence of values is named and printed.
enum class Sequence : std::uint8_t { kList, kTuple, kDictKeys, kDictValues, kDictItems, kGroup };

// A list or dict, its depth of nesting (itself included), and its weight. The evaluator refuses
// deep values early, because they cannot be destroyed on a bounded stack, and heavy ones, because
// parts that are shared many times make a small value take forever to print or compare.
template <class T>
struct Nested {
  T items;
  int depth = 1;
  std::size_t weight = 1;
  bool foreign = false;  // something in it is foreign
  Sequence kind = Sequence::kList;
};

// Python's range(begin, end, step).
struct Range {
  std::int64_t begin = 0, end = 0, step = 1;
  std::int64_t size() const;
  std::int64_t at(std::int64_t index) const { return begin + index * step; }
};

// A value that changes. Which fields count depends on the kind.
struct Object {
  enum class Kind : std::uint8_t { kIterator, kCycler, kJoiner, kLoop };
  Kind kind = Kind::kIterator;
  std::string name;    // an iterator's type, as Python prints it
  List items;          // what an iterator gives, a cycler repeats, or a loop iterates over
  std::size_t at = 0;  // the next item; for a loop, the current one
  Status failed;       // what an iterator fails with after its items
  int depth = 1;
  std::size_t weight = 1;
  bool foreign = false;
  // A joiner's separator, and a loop's last arguments of changed().
  Names state;
  // For a loop: the number of recursive loops around it, and the statement that loop(items) runs
  // again.
  int level = 0;
  const Statement* recursive = nullptr;
  Scope* around = nullptr;
};

enum class Builtin : std::uint8_t {
  kRange,
  kNamespace,
  kDict,
  kCycler,
  kJoiner,
  kRaiseException,
  kStrftimeNow,
};
// A method of a value that is named but not called.
struct BoundMethod;
struct Callable {
  const Macro* macro = nullptr;
  Scope* around = nullptr;  // the names that the macro sees
  Builtin builtin = Builtin::kRange;
  std::shared_ptr<const BoundMethod> method;  // null: a macro or a builtin
};

// The depth to which a value may be nested when it is compared or printed. The language cannot
// build a deeper one (kDepthMax of evaluator.h).
constexpr int kNestedMax = 260;

struct Value {
  std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const Text>,
               std::shared_ptr<const Nested<List>>, std::shared_ptr<const Nested<Dict>>, Namespace*,
               Callable, std::shared_ptr<const BigInteger>, Range, std::shared_ptr<Object>>
      data;

  Value() = default;
  Value(None none) : data(none) {}
  Value(bool value) : data(value) {}
  Value(std::int64_t value) : data(value) {}
  Value(double value) : data(value) {}
  Value(const BigInteger& value);  // an integer if it fits
  Value(std::string value) : Value(Text{std::move(value), {}, false}) {}
  Value(Text value) : data(std::make_shared<const Text>(std::move(value))) {}
  Value(List value, Sequence kind = Sequence::kList);
  Value(Dict value);
  Value(Namespace* value) : data(value) {}
  Value(Callable value) : data(std::move(value)) {}
  Value(Range value) : data(value) {}
  Value(std::shared_ptr<Object> value) : data(std::move(value)) {}
  Value(const char*) = delete;  // a pointer would become a bool

  bool is_undefined() const { return std::holds_alternative<Undefined>(data); }
  bool is_none() const { return std::holds_alternative<None>(data); }
  const std::string* string() const {
    const Text* found = text();
    return found == nullptr ? nullptr : &found->text;
  }
  const Text* text() const { return shared<Text>(); }
  bool is_markup() const { return text() != nullptr && text()->markup; }
  bool is_foreign() const;
  // Returns the same value with everything in it marked as foreign.
  Value as_foreign() const;
  // Returns the items of a list, a tuple or a view of a dict.
  const List* list() const {
    const auto* nested = shared<Nested<List>>();
    return nested == nullptr ? nullptr : &nested->items;
  }
  Sequence sequence() const { return shared<Nested<List>>()->kind; }  // of a value with list()
  // Says whether it is a list or a tuple, and no view of a dict.
  bool is_indexed() const;
  bool is_tuple() const;
  const Dict* dict() const {
    const auto* nested = shared<Nested<Dict>>();
    return nested == nullptr ? nullptr : &nested->items;
  }
  // Returns the bytes of everything in it, where shared parts count each time. It is at least 1 and
  // saturates at 2^40.
  std::size_t weight() const;
  // Returns 0 unless other values are in it.
  int depth() const;
  const std::int64_t* integer() const { return std::get_if<std::int64_t>(&data); }
  const BigInteger* big() const { return shared<BigInteger>(); }
  bool is_whole() const { return integer() != nullptr || big() != nullptr; }
  const bool* boolean() const { return std::get_if<bool>(&data); }
  const double* real() const { return std::get_if<double>(&data); }
  const Range* range() const { return std::get_if<Range>(&data); }
  Namespace* name_space() const {
    const auto* found = std::get_if<Namespace*>(&data);
    return found == nullptr ? nullptr : *found;
  }
  const Callable* callable() const { return std::get_if<Callable>(&data); }
  Object* object() const {
    const auto* found = std::get_if<std::shared_ptr<Object>>(&data);
    return found == nullptr ? nullptr : found->get();
  }
  bool is(Object::Kind kind) const { return object() != nullptr && object()->kind == kind; }

 private:
  template <class T>
  const T* shared() const {
    const auto* found = std::get_if<std::shared_ptr<const T>>(&data);
    return found == nullptr ? nullptr : found->get();
  }
};

struct Namespace {
  Names attributes;
};

struct BoundMethod {
  Value object;
  std::string name;
};

Value tuple_of(List items);
// Returns an iterator over `items`, which fails with `failed` after them. `name` is its type.
Value iterator_of(List items, std::string name = "generator", Status failed = Status::ok());

// Returns "string", "list" and so on, for messages.
std::string_view type_name(const Value& value);
bool truth(const Value& value);
// Compares values; booleans, integers and floats compare as numbers.
bool equal(const Value& a, const Value& b);
// Returns -1, 0 or 1 for two numbers, exactly; 2 if one of them is not a number or NaN.
int compare_numbers(const Value& a, const Value& b);
// Says whether a value may be a key of a dict.
bool is_hashable(const Value& value);
// Reads a value as a number; returns false if it is not a number.
bool to_number(const Value& value, double* out);
// Reads a number without a fraction; returns false if `value` is something else. Booleans are 0 and
// 1, as in Python.
bool to_integer(const Value& value, std::int64_t* out);
// Reads a number without a fraction, of any size; nullopt if `value` is something else.
std::optional<BigInteger> whole_of(const Value& value);
// Returns nullptr if the key is absent.
const Value* find(const Dict& dict, const Value& key);
const Value* find_text(const Dict& dict, std::string_view key);
const Value* find(const Names& names, std::string_view key);
void put(Dict* dict, const Value& key, Value value);
void put(Names* names, std::string_view key, Value value);

// Returns the characters (code points) of a string, whose bytes need not be UTF-8.
std::vector<std::string_view> characters(std::string_view text);

}  // namespace troupe::model::jinja
