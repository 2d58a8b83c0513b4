#include <algorithm>

#include <troupe/model/jinja/value.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

constexpr int kDepthMax = 64;

bool equal_at(const Value& a, const Value& b, int depth) {
  if (depth > kDepthMax) return false;
  double x = 0, y = 0;
  if (a.integer() != nullptr && b.integer() != nullptr) return *a.integer() == *b.integer();
  if (to_number(a, &x) && to_number(b, &y)) return x == y;
  if (a.data.index() != b.data.index()) return false;
  if (a.string() != nullptr) return *a.string() == *b.string();
  if (const List* left = a.list()) {
    const List* right = b.list();
    if (left->size() != right->size()) return false;
    for (std::size_t i = 0; i < left->size(); ++i) {
      if (!equal_at((*left)[i], (*right)[i], depth + 1)) return false;
    }
    return true;
  }
  if (const Dict* left = a.dict()) {
    if (left->size() != b.dict()->size()) return false;
    for (const auto& [key, value] : *left) {
      const Value* other = find(*b.dict(), key);
      if (other == nullptr || !equal_at(value, *other, depth + 1)) return false;
    }
    return true;
  }
  if (a.name_space() != nullptr) return a.name_space() == b.name_space();
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
  return false;
}

Value Value::as_foreign() const {
  if (const std::string* one = string()) {
    if (one->empty()) return *this;
    return Value(Text{*one, {{0, one->size()}}});
  }
  if (const List* items = list()) {
    List out;
    for (const Value& item : *items) out.push_back(item.as_foreign());
    return Value(std::move(out));
  }
  if (const Dict* entries = dict()) {
    Dict out;
    for (const auto& [key, item] : *entries) out.emplace_back(key, item.as_foreign());
    Value made(std::move(out));
    auto nested = *made.shared<Nested<Dict>>();
    nested.foreign = true;  // its keys are foreign
    made.data = std::make_shared<const Nested<Dict>>(std::move(nested));
    return made;
  }
  return *this;
}

Value::Value(List value) {
  Nested<List> nested;
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
    nested.depth = std::max(nested.depth, item.depth() + 1);
    nested.weight = add_weights(nested.weight, key.size() + item.weight());
    nested.foreign = nested.foreign || item.is_foreign();
  }
  nested.items = std::move(value);
  data = std::make_shared<const Nested<Dict>>(std::move(nested));
}

std::size_t Value::weight() const {
  if (const std::string* one = string()) return 1 + one->size();
  if (const auto* nested = shared<Nested<List>>()) return nested->weight;
  if (const auto* nested = shared<Nested<Dict>>()) return nested->weight;
  return 1;
}

std::string_view type_name(const Value& value) {
  static constexpr std::string_view kNames[] = {"undefined", "none",    "bool", "integer",
                                                "float",     "string",  "list", "dict",
                                                "namespace", "function"};
  return kNames[value.data.index()];
}

bool truth(const Value& value) {
  if (const auto* boolean = value.boolean()) return *boolean;
  if (const auto* integer = value.integer()) return *integer != 0;
  if (const auto* real = value.real()) return *real != 0;
  if (const auto* string = value.string()) return !string->empty();
  if (const auto* list = value.list()) return !list->empty();
  if (const auto* dict = value.dict()) return !dict->empty();
  return !value.is_undefined() && !value.is_none();
}

bool equal(const Value& a, const Value& b) { return equal_at(a, b, 0); }

bool to_number(const Value& value, double* out) {
  if (const auto* boolean = value.boolean()) {
    *out = *boolean ? 1 : 0;
  } else if (const auto* integer = value.integer()) {
    *out = static_cast<double>(*integer);
  } else if (const auto* real = value.real()) {
    *out = *real;
  } else {
    return false;
  }
  return true;
}

const Value* find(const Dict& dict, std::string_view key) {
  for (const auto& [name, value] : dict) {
    if (name == key) return &value;
  }
  return nullptr;
}

void put(Dict* dict, std::string_view key, Value value) {
  for (auto& [name, old] : *dict) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  dict->emplace_back(std::string(key), std::move(value));
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
