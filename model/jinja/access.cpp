#include <algorithm>
#include <optional>
#include <utility>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/builtin_parts.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model::jinja {

Result<bool> contains(Budget* budget, int line, const Value& container, const Value& item) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, container.weight()));
  if (const std::string* text = container.string()) {
    if (item.string() == nullptr) return wrong_type(line, "looking in a string", item);
    TROUPE_RETURN_IF_ERROR(take_search(budget, line, *text, *item.string()));
    return text->find(*item.string()) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) {
    if (!is_hashable(item)) return wrong_type(line, "looking for a key", item);
    return find(*dict, item) != nullptr;
  }
  if (container.is_undefined()) return false;
  if (container.is(Object::Kind::kIterator)) {  // takes items until one is equal
    Object& iterator = *container.object();
    while (iterator.at < iterator.items.size()) {
      if (equal(iterator.items[iterator.at++], item)) return true;
    }
    TROUPE_RETURN_IF_ERROR(iterator.failed);
    return false;
  }
  if (container.list() == nullptr && container.range() == nullptr) {
    return wrong_type(line, "looking for an item", container);
  }
  TROUPE_ASSIGN_OR_RETURN(const List items, iterate(budget, line, container));
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& one) { return equal(one, item); });
}

Result<List> iterate(Budget* budget, int line, const Value& value) {
  List items;
  if (const List* list = value.list()) {
    items = *list;
  } else if (const Dict* dict = value.dict()) {
    for (const auto& [key, item] : *dict) items.push_back(key);
  } else if (const std::string* text = value.string()) {
    TROUPE_RETURN_IF_ERROR(budget->take(line, text->size() * sizeof(Value)));
    for (const std::string_view character : characters(*text)) {
      const Value one{std::string(character)};
      items.push_back(value.is_foreign() ? one.as_foreign() : one);
    }
  } else if (const Range* range = value.range()) {
    for (std::int64_t i = 0; i < range->size(); ++i) items.emplace_back(range->at(i));
  } else if (value.is(Object::Kind::kIterator)) {
    Object& iterator = *value.object();
    items.assign(iterator.items.begin() + static_cast<std::ptrdiff_t>(iterator.at),
                 iterator.items.end());
    iterator.at = iterator.items.size();
    TROUPE_RETURN_IF_ERROR(iterator.failed);
  } else if (!value.is_undefined()) {
    return wrong_type(line, "going through items", value);
  }
  TROUPE_RETURN_IF_ERROR(budget->take(line, items.size() * sizeof(Value)));
  return items;
}

Result<Value> concatenate(Budget* budget, int line, const Value& a, const Value& b) {
  if (a.string() != nullptr && b.string() != nullptr) {
    Text joined = *a.text(), more = *b.text();
    if (a.is_markup() != b.is_markup()) {
      TROUPE_ASSIGN_OR_RETURN(joined, escaped(line, a));
      TROUPE_ASSIGN_OR_RETURN(more, escaped(line, b));
    }
    TROUPE_RETURN_IF_ERROR(budget->take(line, joined.text.size() + more.text.size()));
    joined.append(more);
    return Value(std::move(joined));
  }
  if (a.is_indexed() && b.is_indexed() && a.is_tuple() == b.is_tuple()) {
    TROUPE_RETURN_IF_ERROR(
        budget->take(line, (a.list()->size() + b.list()->size()) * sizeof(Value)));
    List list = *a.list();
    list.insert(list.end(), b.list()->begin(), b.list()->end());
    return Value(std::move(list), a.is_tuple() ? Sequence::kTuple : Sequence::kList);
  }
  const std::optional<BigInteger> left = whole_of(a), right = whole_of(b);
  if (left && right) {
    const BigInteger sum = *left + *right;
    if (sum.words() > BigInteger::kWordsMax) return template_error(line, "a sum is too large");
    return Value(sum);
  }
  double x = 0, y = 0;
  if (to_number(a, &x) && to_number(b, &y)) return Value(x + y);
  return template_error(line, "values of the types " + std::string(type_name(a)) + " and " +
                                  std::string(type_name(b)) + " cannot be added");
}

}  // namespace troupe::model::jinja
