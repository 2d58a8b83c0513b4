#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <troupe/model/text/text_span.h>
#include <troupe/runtime/status.h>

// Values of the template language, with Python's ideas of truth, equality and printing. Strings,
// lists and dicts are immutable and shared, so that copies cost nothing; only namespaces change,
// and the evaluator owns these (a value may point at a namespace that holds it).

namespace troupe::model::jinja {

// A string and which of its bytes are foreign: they come from messages or tools, not from the
// template, so markup in them is not the markup of special tokens. Spans ascend and do not touch.
// If an operation does not keep track exactly, its whole result is foreign.
struct Text {
  std::string text;
  std::vector<TextSpan> foreign;

  void append(std::string_view more) { text += more; }
  void append(const Text& more);
};

struct Value;
struct Macro;  // ast.h
struct Undefined {};
struct None {};
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in order of insertion
struct Namespace;

// A list or dict, how deep it is nested (itself included), and what it weighs. The evaluator
// refuses deep values early, because they cannot be destroyed on a bounded stack, and heavy ones,
// because parts that are shared many times make a small value take forever to print or compare.
template <class T>
struct Nested {
  T items;
  int depth = 1;
  std::size_t weight = 1;
  bool foreign = false;  // something in it or one of its keys is foreign
};

enum class Builtin : std::uint8_t {
  kRange,
  kNamespace,
  kDict,
  kRaiseException,
  kStrftimeNow,
  kMethod,  // a method of a dict that is named but not called
};
struct Callable {
  const Macro* macro = nullptr;  // null: a builtin
  Builtin builtin = Builtin::kRange;
};

struct Value {
  std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const Text>,
               std::shared_ptr<const Nested<List>>, std::shared_ptr<const Nested<Dict>>, Namespace*,
               Callable>
      data;

  Value() = default;
  Value(None none) : data(none) {}
  Value(bool value) : data(value) {}
  Value(std::int64_t value) : data(value) {}
  Value(double value) : data(value) {}
  Value(std::string value) : Value(Text{std::move(value), {}}) {}
  Value(Text value) : data(std::make_shared<const Text>(std::move(value))) {}
  Value(List value);
  Value(Dict value);
  Value(Namespace* value) : data(value) {}
  Value(Callable value) : data(value) {}
  Value(const char*) = delete;  // would be a bool

  bool is_undefined() const { return std::holds_alternative<Undefined>(data); }
  bool is_none() const { return std::holds_alternative<None>(data); }
  const std::string* string() const {
    const Text* found = text();
    return found == nullptr ? nullptr : &found->text;
  }
  const Text* text() const { return shared<Text>(); }
  bool is_foreign() const;
  // Returns the same value with everything in it marked as foreign.
  Value as_foreign() const;
  const List* list() const {
    const auto* nested = shared<Nested<List>>();
    return nested == nullptr ? nullptr : &nested->items;
  }
  const Dict* dict() const {
    const auto* nested = shared<Nested<Dict>>();
    return nested == nullptr ? nullptr : &nested->items;
  }
  // Returns the bytes of everything in it, where shared parts count each time. It is at least 1 and
  // saturates at 2^40.
  std::size_t weight() const;
  // Returns 0 unless it is a list or a dict.
  int depth() const {
    if (const auto* nested = shared<Nested<List>>()) return nested->depth;
    const auto* nested = shared<Nested<Dict>>();
    return nested == nullptr ? 0 : nested->depth;
  }
  const std::int64_t* integer() const { return std::get_if<std::int64_t>(&data); }
  const bool* boolean() const { return std::get_if<bool>(&data); }
  const double* real() const { return std::get_if<double>(&data); }
  Namespace* name_space() const {
    const auto* found = std::get_if<Namespace*>(&data);
    return found == nullptr ? nullptr : *found;
  }
  const Callable* callable() const { return std::get_if<Callable>(&data); }

 private:
  template <class T>
  const T* shared() const {
    const auto* found = std::get_if<std::shared_ptr<const T>>(&data);
    return found == nullptr ? nullptr : found->get();
  }
};

struct Namespace {
  Dict attributes;
};

// Returns "string", "list" and so on, for messages.
std::string_view type_name(const Value& value);
bool truth(const Value& value);
// Compares values; booleans, integers and floats compare as numbers.
bool equal(const Value& a, const Value& b);
// Reads a value as a number; returns false if it is none.
bool to_number(const Value& value, double* out);
// Returns nullptr if the key is absent.
const Value* find(const Dict& dict, std::string_view key);
void put(Dict* dict, std::string_view key, Value value);

// Returns the characters (code points) of a string, whose bytes need not be UTF-8.
std::vector<std::string_view> characters(std::string_view text);

}  // namespace troupe::model::jinja
