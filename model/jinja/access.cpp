#include <algorithm>
#include <charconv>
#include <iterator>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/builtin_parts.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {

bool is_dict_method(std::string_view name) {
  static constexpr std::string_view kNames[] = {"clear",  "copy",   "fromkeys",  "get",
                                                "items",  "keys",   "pop",       "popitem",
                                                "update", "values", "setdefault"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

Result<Value> attribute_of(Budget* budget, int line, const Value& object, const std::string& name) {
  if (object.dict() != nullptr && is_dict_method(name)) {
    return Value(Callable{nullptr, Builtin::kMethod});
  }
  return subscript(budget, line, object, Value(name));
}

Result<Value> subscript(Budget* budget, int line, const Value& object, const Value& key) {
  TROUPE_RETURN_IF_ERROR(budget->step(line));
  if (object.is_undefined()) {
    TROUPE_ASSIGN_OR_RETURN(const std::string name, text_of(line, key));
    return template_error(line, "cannot take " + in_quotes(name) + " of an undefined value");
  }
  if (key.string() != nullptr) {
    const Dict* dict = object.dict();
    if (object.name_space() != nullptr) dict = &object.name_space()->attributes;
    const Value* found = dict == nullptr ? nullptr : find(*dict, *key.string());
    if (found != nullptr) return *found;
    if (object.dict() != nullptr && is_dict_method(*key.string())) {
      return Value(Callable{nullptr, Builtin::kMethod});
    }
  }
  std::int64_t index = 0;
  if (key.integer() != nullptr) {
    index = *key.integer();
  } else if (key.string() == nullptr ||
             std::from_chars(key.string()->data(), key.string()->data() + key.string()->size(),
                             index)
                     .ptr != key.string()->data() + key.string()->size() ||
             key.string()->empty()) {
    return Value();
  }
  const auto place = [&](std::size_t size) {
    return index < 0 ? index + static_cast<std::int64_t>(size) : index;
  };
  if (const List* list = object.list()) {
    const std::int64_t at = place(list->size());
    const bool inside = at >= 0 && at < static_cast<std::int64_t>(list->size());
    return inside ? (*list)[static_cast<std::size_t>(at)] : Value();
  }
  if (const std::string* text = object.string(); text != nullptr && key.integer() != nullptr) {
    TROUPE_RETURN_IF_ERROR(budget->take(line, text->size()));
    const std::vector<std::string_view> chars = characters(*text);
    const std::int64_t at = place(chars.size());
    const bool inside = at >= 0 && at < static_cast<std::int64_t>(chars.size());
    if (!inside) return Value();
    const Value one{std::string(chars[static_cast<std::size_t>(at)])};
    return object.is_foreign() ? one.as_foreign() : one;
  }
  return Value();
}

Result<Value> path_of(Budget* budget, int line, const Value& item, const Value& path) {
  if (path.string() == nullptr) return subscript(budget, line, item, path);
  Value value = item;
  for (const Value& part : split_at(*path.string(), ".", -1)) {
    TROUPE_ASSIGN_OR_RETURN(value, subscript(budget, line, value, part));
  }
  return value;
}

Result<bool> contains(Budget* budget, int line, const Value& container, const Value& item) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, container.weight()));
  if (const std::string* text = container.string()) {
    if (item.string() == nullptr) return wrong_type(line, "looking in a string", item);
    TROUPE_RETURN_IF_ERROR(take_search(budget, line, *text, *item.string()));
    return text->find(*item.string()) != std::string::npos;
  }
  if (const List* list = container.list()) {
    return std::any_of(list->begin(), list->end(),
                       [&](const Value& one) { return equal(one, item); });
  }
  if (const Dict* dict = container.dict()) {
    return item.string() != nullptr && find(*dict, *item.string()) != nullptr;
  }
  if (container.is_undefined()) return false;
  return wrong_type(line, "looking for an item", container);
}

Result<List> iterate(Budget* budget, int line, const Value& value) {
  List items;
  if (const List* list = value.list()) {
    items = *list;
  } else if (const Dict* dict = value.dict()) {
    for (const auto& [key, item] : *dict) items.emplace_back(key);
  } else if (const std::string* text = value.string()) {
    TROUPE_RETURN_IF_ERROR(budget->take(line, text->size() * sizeof(Value)));
    for (const std::string_view character : characters(*text)) {
      items.emplace_back(std::string(character));
    }
  } else if (!value.is_undefined()) {
    return wrong_type(line, "going through items", value);
  }
  TROUPE_RETURN_IF_ERROR(budget->take(line, items.size() * sizeof(Value)));
  // Characters and keys are new strings, which must be marked; the items of a list are unchanged.
  if (value.list() == nullptr && value.is_foreign()) {
    for (Value& item : items) item = item.as_foreign();
  }
  return items;
}

Result<Value> concatenate(Budget* budget, int line, const Value& a, const Value& b) {
  if (a.string() != nullptr && b.string() != nullptr) {
    TROUPE_RETURN_IF_ERROR(budget->take(line, a.string()->size() + b.string()->size()));
    Text joined = *a.text();
    joined.append(*b.text());
    return Value(std::move(joined));
  }
  if (a.list() != nullptr && b.list() != nullptr) {
    TROUPE_RETURN_IF_ERROR(
        budget->take(line, (a.list()->size() + b.list()->size()) * sizeof(Value)));
    List list = *a.list();
    list.insert(list.end(), b.list()->begin(), b.list()->end());
    return Value(std::move(list));
  }
  double x = 0, y = 0;
  if (to_number(a, &x) && to_number(b, &y)) {
    if (a.real() != nullptr || b.real() != nullptr) return Value(x + y);
    const std::int64_t left = a.integer() != nullptr ? *a.integer() : std::int64_t{*a.boolean()};
    const std::int64_t right = b.integer() != nullptr ? *b.integer() : std::int64_t{*b.boolean()};
    std::int64_t sum = 0;
    if (__builtin_add_overflow(left, right, &sum))
      return template_error(line, "a sum is too large");
    return Value(sum);
  }
  return template_error(line, "values of the types " + std::string(type_name(a)) + " and " +
                                  std::string(type_name(b)) + " cannot be added");
}

}  // namespace troupe::model::jinja
