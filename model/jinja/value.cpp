#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <troupe/model/jinja/value.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

bool equal_at(const Value& a, const Value& b, int depth);

bool equal_lists(const Value& a, const Value& b, int depth) {
  if (a.is_indexed() != b.is_indexed() || a.is_tuple() != b.is_tuple()) return false;
  const List &left = *a.list(), &right = *b.list();
  if (left.size() != right.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (!equal_at(left[i], right[i], depth + 1)) return false;
  }
  return true;
}

bool equal_at(const Value& a, const Value& b, int depth) {
  if (depth > kNestedMax) return false;
  if (const int order = compare_numbers(a, b); order != 2) return order == 0;
  if (a.data.index() != b.data.index()) return false;
  if (a.string() != nullptr) return *a.string() == *b.string();
  if (a.list() != nullptr) return equal_lists(a, b, depth);
  if (const Dict* left = a.dict()) {
    if (left->size() != b.dict()->size()) return false;
    for (const auto& [key, value] : *left) {
      const Value* other = find(*b.dict(), key);
      if (other == nullptr || !equal_at(value, *other, depth + 1)) return false;
    }
    return true;
  }
  if (const Range* left = a.range()) {
    const Range& right = *b.range();
    if (left->size() != right.size()) return false;
    if (left->size() == 0) return true;
    return left->begin == right.begin && (left->size() == 1 || left->step == right.step);
  }
  if (a.name_space() != nullptr) return a.name_space() == b.name_space();
  if (a.object() != nullptr) return a.object() == b.object();
  if (a.callable() != nullptr) {
    const Callable &left = *a.callable(), &right = *b.callable();
    if (left.method != nullptr || right.method != nullptr) return left.method == right.method;
    return left.macro == right.macro && left.around == right.around &&
           left.builtin == right.builtin;
  }
  return a.is_undefined() || a.is_none();
}

constexpr std::size_t kWeightMax = std::size_t{1} << 40;
std::size_t add_weights(std::size_t a, std::size_t b) { return std::min(a + b, kWeightMax); }
}  // namespace

void Text::append(const Text& more) {
  for (const TextSpan& span : more.foreign) {
    const TextSpan moved{span.begin + text.size(), span.end + text.size()};
    if (!foreign.empty() && foreign.back().end == moved.begin) {
      foreign.back().end = moved.end;
    } else {
      foreign.push_back(moved);
    }
  }
  text += more.text;
}

bool Value::is_foreign() const {
  if (const Text* one = text()) return !one->foreign.empty();
  if (const auto* nested = shared<Nested<List>>()) return nested->foreign;
  if (const auto* nested = shared<Nested<Dict>>()) return nested->foreign;
  return object() != nullptr && object()->foreign;
}

Value Value::as_foreign() const {
  if (const Text* one = text()) {
    if (one->text.empty()) return *this;
    return Value(Text{one->text, {{0, one->text.size()}}, one->markup});
  }
  if (const List* items = list()) {
    List out;
    for (const Value& item : *items) out.push_back(item.as_foreign());
    return Value(std::move(out), sequence());
  }
  if (const Dict* entries = dict()) {
    Dict out;
    for (const auto& [key, item] : *entries) out.emplace_back(key.as_foreign(), item.as_foreign());
    return Value(std::move(out));
  }
  if (is(Object::Kind::kIterator)) {
    const auto made = std::make_shared<Object>(*object());
    for (Value& item : made->items) item = item.as_foreign();
    made->foreign = true;
    return Value(made);
  }
  return *this;
}

Value::Value(const BigInteger& value) {
  if (const auto small = value.to_int64()) {
    data = *small;
  } else {
    data = std::make_shared<const BigInteger>(value);
  }
}

Value::Value(List value, Sequence kind) {
  Nested<List> nested;
  nested.kind = kind;
  for (const Value& item : value) {
    nested.depth = std::max(nested.depth, item.depth() + 1);
    nested.weight = add_weights(nested.weight, item.weight());
    nested.foreign = nested.foreign || item.is_foreign();
  }
  nested.items = std::move(value);
  data = std::make_shared<const Nested<List>>(std::move(nested));
}

Value::Value(Dict value) {
  Nested<Dict> nested;
  for (const auto& [key, item] : value) {
    nested.depth = std::max({nested.depth, item.depth() + 1, key.depth() + 1});
    nested.weight = add_weights(nested.weight, key.weight() + item.weight());
    nested.foreign = nested.foreign || item.is_foreign() || key.is_foreign();
  }
  nested.items = std::move(value);
  data = std::make_shared<const Nested<Dict>>(std::move(nested));
}

bool Value::is_indexed() const {
  return list() != nullptr && (sequence() == Sequence::kList || is_tuple());
}
bool Value::is_tuple() const {
  return list() != nullptr && (sequence() == Sequence::kTuple || sequence() == Sequence::kGroup);
}

std::size_t Value::weight() const {
  if (const std::string* one = string()) return 1 + one->size();
  if (const auto* nested = shared<Nested<List>>()) return nested->weight;
  if (const auto* nested = shared<Nested<Dict>>()) return nested->weight;
  if (const BigInteger* one = big()) return 1 + 4 * one->words();
  if (object() != nullptr) return object()->weight;
  if (callable() != nullptr && callable()->method != nullptr) {
    return callable()->method->object.weight();
  }
  return 1;
}

int Value::depth() const {
  if (const auto* nested = shared<Nested<List>>()) return nested->depth;
  if (const auto* nested = shared<Nested<Dict>>()) return nested->depth;
  if (object() != nullptr) return object()->depth;
  if (callable() != nullptr && callable()->method != nullptr) {
    return callable()->method->object.depth() + 1;
  }
  return 0;
}

std::int64_t Range::size() const {
  const std::int64_t span = step > 0 ? end - begin : begin - end;
  const std::int64_t stride = step > 0 ? step : -step;
  return span <= 0 ? 0 : (span - 1) / stride + 1;
}

Value tuple_of(List items) { return Value(std::move(items), Sequence::kTuple); }

Value iterator_of(List items, std::string name, Status failed) {
  auto made = std::make_shared<Object>();
  for (const Value& item : items) {
    made->depth = std::max(made->depth, item.depth() + 1);
    made->weight = add_weights(made->weight, item.weight());
    made->foreign = made->foreign || item.is_foreign();
  }
  made->items = std::move(items);
  made->name = std::move(name);
  made->failed = std::move(failed);
  return Value(std::move(made));
}

std::string_view type_name(const Value& value) {
  if (const Object* object = value.object()) {
    static constexpr std::string_view kObjects[] = {"", "cycler", "joiner", "loop"};
    return object->kind == Object::Kind::kIterator
               ? std::string_view(object->name)
               : kObjects[static_cast<std::size_t>(object->kind)];
  }
  if (value.list() != nullptr) {
    static constexpr std::string_view kSequences[] = {"list",        "tuple",      "dict_keys",
                                                      "dict_values", "dict_items", "tuple"};
    return kSequences[static_cast<std::size_t>(value.sequence())];
  }
  static constexpr std::string_view kNames[] = {"undefined", "none",     "bool",    "integer",
                                                "float",     "string",   "list",    "dict",
                                                "namespace", "function", "integer", "range"};
  return kNames[value.data.index()];
}

bool truth(const Value& value) {
  if (const auto* boolean = value.boolean()) return *boolean;
  if (const auto* integer = value.integer()) return *integer != 0;
  if (const auto* real = value.real()) return *real != 0;
  if (const auto* string = value.string()) return !string->empty();
  if (const auto* list = value.list()) return !list->empty();
  if (const auto* dict = value.dict()) return !dict->empty();
  if (const auto* range = value.range()) return range->size() > 0;
  return !value.is_undefined() && !value.is_none();
}

int compare_numbers(const Value& a, const Value& b) {
  if (a.integer() != nullptr && b.integer() != nullptr) {
    return *a.integer() < *b.integer() ? -1 : *a.integer() > *b.integer() ? 1 : 0;
  }
  if (a.real() != nullptr && b.real() != nullptr) {
    if (std::isnan(*a.real()) || std::isnan(*b.real())) return 2;
    return *a.real() < *b.real() ? -1 : *a.real() > *b.real() ? 1 : 0;
  }
  if (b.real() != nullptr) {
    const int order = compare_numbers(b, a);
    return order == 2 ? 2 : -order;
  }
  const std::optional<BigInteger> right = whole_of(b);
  if (!right) return 2;
  if (const double* real = a.real()) {
    if (std::isnan(*real)) return 2;
    if (std::isinf(*real)) return *real < 0 ? -1 : 1;
    const int order = BigInteger::compare(BigInteger::from_double(*real), *right);
    const double rest = *real - std::trunc(*real);
    return order != 0 ? order : rest < 0 ? -1 : rest > 0 ? 1 : 0;
  }
  const std::optional<BigInteger> left = whole_of(a);
  return left ? BigInteger::compare(*left, *right) : 2;
}

bool is_hashable(const Value& value) {
  if (value.list() != nullptr) {
    return value.is_tuple() && std::all_of(value.list()->begin(), value.list()->end(), is_hashable);
  }
  return value.dict() == nullptr;
}

bool equal(const Value& a, const Value& b) { return equal_at(a, b, 0); }

bool to_number(const Value& value, double* out) {
  if (const auto* boolean = value.boolean()) {
    *out = *boolean ? 1 : 0;
  } else if (const auto* integer = value.integer()) {
    *out = static_cast<double>(*integer);
  } else if (const auto* big = value.big()) {
    *out = big->to_double();
  } else if (const auto* real = value.real()) {
    *out = *real;
  } else {
    return false;
  }
  return true;
}

bool to_integer(const Value& value, std::int64_t* out) {
  if (value.integer() != nullptr) {
    *out = *value.integer();
  } else if (value.boolean() != nullptr) {
    *out = *value.boolean() ? 1 : 0;
  } else {
    return false;
  }
  return true;
}

std::optional<BigInteger> whole_of(const Value& value) {
  std::int64_t small = 0;
  if (to_integer(value, &small)) return BigInteger(small);
  return value.big() != nullptr ? std::optional<BigInteger>(*value.big()) : std::nullopt;
}

const Value* find(const Dict& dict, const Value& key) {
  if (key.string() != nullptr) return find_text(dict, *key.string());
  for (const auto& [name, value] : dict) {
    if (equal(name, key)) return &value;
  }
  return nullptr;
}
const Value* find_text(const Dict& dict, std::string_view key) {
  for (const auto& [name, value] : dict) {
    if (name.string() != nullptr && *name.string() == key) return &value;
  }
  return nullptr;
}
const Value* find(const Names& names, std::string_view key) {
  for (const auto& [name, value] : names) {
    if (name == key) return &value;
  }
  return nullptr;
}

void put(Dict* dict, const Value& key, Value value) {
  if (const Value* found = find(*dict, key)) {
    *const_cast<Value*>(found) = std::move(value);
    return;
  }
  dict->emplace_back(key, std::move(value));
}
void put(Names* names, std::string_view key, Value value) {
  for (auto& [name, old] : *names) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  names->emplace_back(std::string(key), std::move(value));
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t bytes = utf8_char(text).bytes;
    out.push_back(text.substr(0, bytes));
    text.remove_prefix(bytes);
  }
  return out;
}

}  // namespace troupe::model::jinja
