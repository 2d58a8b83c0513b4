#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <troupe/model/text/regex.h>
#include <troupe/runtime/status.h>

// Values of the template language, with Python's ideas of truth, equality and printing. Strings,
// lists and dicts are immutable and shared, so that copies cost nothing; only namespaces change,
// and the evaluator owns these (a value may point at a namespace that holds it).

namespace troupe::model::jinja {

// A string and which of its bytes are foreign: they come from messages or tools, not from the
// template, so that markup in them is not the markup of special tokens. Spans ascend and do not
// touch. What no operation keeps track of exactly is foreign as a whole.
struct Text {
  std::string text;
  std::vector<TextSpan> foreign;

  void append(std::string_view more) { text += more; }
  void append(const Text& more);
};

struct Value;
struct Macro;  // jinja_ast.h
struct Undefined {};
struct None {};
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in order of insertion
struct Namespace;

// A list or dict, how deep it is nested, itself included, and what it weighs. What is too deep
// cannot be destroyed on a bounded stack, and parts that are shared many times over make a small
// value take for ever to print or compare: the evaluator refuses both early.
template <class T>
struct Nested {
  T items;
  int depth = 1;
  std::size_t weight = 1;
  bool foreign = false;  // something in it is, or its keys are
};

enum class Builtin : std::uint8_t {
  kRange,
  kNamespace,
  kDict,
  kRaiseException,
  kStrftimeNow,
  kMethod,  // of a dict, named and not called
};
struct Callable {
  const Macro* macro = nullptr;  // or a builtin
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
  // The same value, everything in it foreign.
  Value as_foreign() const;
  const List* list() const {
    const auto* nested = shared<Nested<List>>();
    return nested == nullptr ? nullptr : &nested->items;
  }
  const Dict* dict() const {
    const auto* nested = shared<Nested<Dict>>();
    return nested == nullptr ? nullptr : &nested->items;
  }
  // Bytes of all that is in it, as often as it is in it; at least 1; saturates at 2^40.
  std::size_t weight() const;
  int depth() const {  // 0: neither list nor dict
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

// "string", "list", ... for messages.
std::string_view type_name(const Value& value);
bool truth(const Value& value);
// bool, integer and float compare as numbers.
bool equal(const Value& a, const Value& b);
// As a number; false when it is none.
bool to_number(const Value& value, double* out);
// nullptr when the key is absent.
const Value* find(const Dict& dict, std::string_view key);
void put(Dict* dict, std::string_view key, Value value);

// What {{ value }} prints. kResourceExhausted when it is nested too deeply or grows past
// `bytes_max`.
Result<std::string> to_text(const Value& value, std::size_t bytes_max);
struct JsonStyle {
  std::int64_t indent = -1;  // < 0: all on one line
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
  bool ascii = false;  // \u escapes for all other characters
};
// As Python's json.dumps prints it. kBadData for what JSON has not.
Result<std::string> to_json(const Value& value, const JsonStyle& style, std::size_t bytes_max);

// The characters (code points) of a string, whose bytes need not be UTF-8.
std::vector<std::string_view> characters(std::string_view text);

}  // namespace troupe::model::jinja
