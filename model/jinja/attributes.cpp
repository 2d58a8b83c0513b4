#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include <troupe/model/jinja/ast.h>
#include <troupe/model/jinja/attributes.h>
#include <troupe/model/jinja/builtin_parts.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/methods.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {
namespace {

// True for the methods that change a value. Jinja's sandbox, which transformers uses, has none of
// them.
bool is_changing_method(const Value& object, std::string_view name) {
  static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  static constexpr std::string_view kList[] = {"append", "clear",  "extend",  "insert",
                                               "pop",    "remove", "reverse", "sort"};
  const auto has = [&](std::span<const std::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return object.dict() != nullptr ? has(kDict)
                                  : object.is_indexed() && !object.is_tuple() && has(kList);
}

Value bound(const Value& object, std::string_view name) {
  Callable callable;
  callable.method = std::make_shared<const BoundMethod>(BoundMethod{object, std::string(name)});
  return Value(std::move(callable));
}

// Returns what Python's getattr finds on values that are not dicts, or undefined.
Value plain_attribute(const Value& object, std::string_view name) {
  if (is_changing_method(object, name)) return Value();
  if (object.name_space() != nullptr) {
    const Value* found = find(object.name_space()->attributes, name);
    return found == nullptr ? Value() : *found;
  }
  if (has_method(object, name)) return bound(object, name);
  if (const Range* range = object.range()) {
    if (name == "start") return Value(range->begin);
    if (name == "stop") return Value(range->end);
    if (name == "step") return Value(range->step);
  }
  if (object.list() != nullptr && object.sequence() == Sequence::kGroup) {
    if (name == "grouper") return (*object.list())[0];
    if (name == "list") return (*object.list())[1];
  }
  if (object.is(Object::Kind::kCycler) && name == "current") {
    const Object& cycler = *object.object();
    return cycler.items[cycler.at % cycler.items.size()];
  }
  if (object.callable() != nullptr && object.callable()->macro != nullptr) {
    const Macro& macro = *object.callable()->macro;
    if (name == "name") return Value(macro.name);
    if (name == "catch_kwargs") return Value(macro.uses_kwargs);
    if (name == "catch_varargs") return Value(macro.uses_varargs);
    if (name == "caller") return Value(macro.uses_caller);
    if (name == "arguments") {
      List names;
      for (const auto& [parameter, fallback] : macro.parameters) names.emplace_back(parameter);
      return tuple_of(std::move(names));
    }
  }
  return Value();
}

Result<Value> at_index(Budget* budget, int line, const Value& object, std::int64_t index) {
  const auto inside = [&](std::int64_t size) {
    if (index < 0) index += size;
    return index >= 0 && index < size;
  };
  if (object.is_indexed()) {
    const List& list = *object.list();
    if (!inside(static_cast<std::int64_t>(list.size()))) return Value();
    return list[static_cast<std::size_t>(index)];
  }
  if (const Range* range = object.range()) {
    return inside(range->size()) ? Value(range->at(index)) : Value();
  }
  if (const Text* text = object.text()) {
    TROUPE_RETURN_IF_ERROR(budget->take(line, text->text.size()));
    const std::vector<std::string_view> chars = characters(text->text);
    if (!inside(static_cast<std::int64_t>(chars.size()))) return Value();
    const Value one(Text{std::string(chars[static_cast<std::size_t>(index)]), {}, text->markup});
    return object.is_foreign() ? one.as_foreign() : one;
  }
  return Value();
}

}  // namespace

Result<Value> method_or_attribute(Budget* budget, int line, const Value& object,
                                  const std::string& name) {
  TROUPE_RETURN_IF_ERROR(budget->step(line));
  if (object.is_undefined()) {
    return template_error(line, "cannot take " + in_quotes(name) + " of an undefined value");
  }
  return plain_attribute(object, name);
}

Result<Value> attribute_of(Budget* budget, int line, const Value& object, const std::string& name) {
  if (object.is_undefined()) {
    return template_error(line, "cannot take " + in_quotes(name) + " of an undefined value");
  }
  if (is_changing_method(object, name)) return Value();
  TROUPE_ASSIGN_OR_RETURN(Value found, method_or_attribute(budget, line, object, name));
  if (!found.is_undefined() || object.dict() == nullptr) return found;
  return subscript(budget, line, object, Value(name));
}

Result<Value> subscript(Budget* budget, int line, const Value& object, const Value& key) {
  TROUPE_RETURN_IF_ERROR(budget->step(line));
  if (object.is_undefined()) {
    TROUPE_ASSIGN_OR_RETURN(const std::string name, text_of(line, key));
    return template_error(line, "cannot take " + in_quotes(name) + " of an undefined value");
  }
  if (const Dict* dict = object.dict(); dict != nullptr && is_hashable(key)) {
    TROUPE_RETURN_IF_ERROR(budget->step(line, 1 + dict->size() / 64));
    if (const Value* found = find(*dict, key)) return *found;
  }
  if (key.string() != nullptr) return plain_attribute(object, *key.string());
  std::int64_t index = 0;
  return to_integer(key, &index) ? at_index(budget, line, object, index) : Value();
}

Result<Value> path_of(Budget* budget, int line, const Value& item, const Value& path,
                      const Value* fallback) {
  List parts;
  if (path.string() == nullptr) {
    parts.push_back(path);
  } else {
    parts = split_at(*path.string(), ".", -1);
  }
  Value value = item;
  for (Value& part : parts) {
    const std::string* text = part.string();
    if (text != nullptr && all_characters(*text, is_decimal)) {
      if (const auto number = BigInteger::parse(*text)) part = Value(*number);
    }
    TROUPE_ASSIGN_OR_RETURN(value, subscript(budget, line, value, part));
    if (value.is_undefined() && fallback != nullptr) value = *fallback;
  }
  return value;
}

}  // namespace troupe::model::jinja
