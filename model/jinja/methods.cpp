#include <algorithm>
#include <cmath>
#include <optional>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/methods.h>
#include <troupe/model/jinja/text.h>
#include <troupe/runtime/text/utf8.h>

// Methods of dicts, sequences, numbers and cyclers, and the look-up of all methods.

namespace troupe::model::jinja {
namespace {

Result<Value> keys_of(const Use& use) {
  List out;
  for (const auto& [key, value] : *use.input.dict()) out.push_back(key);
  return Value(std::move(out), Sequence::kDictKeys);
}

Result<Value> values_of(const Use& use) {
  List out;
  for (const auto& [key, value] : *use.input.dict()) out.push_back(value);
  return Value(std::move(out), Sequence::kDictValues);
}

Result<Value> items_of(const Use& use) {
  return Value(dict_items(*use.input.dict()), Sequence::kDictItems);
}
Result<Value> copy_of(const Use& use) { return use.input; }

Result<Value> get_of(const Use& use) {
  const Value* key = use.get(0, "key");
  if (key == nullptr) return template_error(use.line, "'get' needs a key");
  if (!is_hashable(*key)) return wrong_type(use.line, "looking for a key", *key);
  if (const Value* found = find(*use.input.dict(), *key)) return *found;
  const Value* fallback = use.get(1, "default");
  return fallback != nullptr ? *fallback : Value(None{});
}

Result<Value> from_keys(const Use& use) {
  if (use.get(0, "keys") == nullptr) return template_error(use.line, "'fromkeys' needs keys");
  TROUPE_ASSIGN_OR_RETURN(const List keys, iterate(use.budget, use.line, *use.get(0, "keys")));
  const Value* value = use.get(1, "value");
  Dict out;
  for (const Value& key : keys) {
    if (!is_hashable(key)) return wrong_type(use.line, "making a key of a dict", key);
    TROUPE_RETURN_IF_ERROR(use.budget->step(use.line, 1 + out.size() / 64));
    put(&out, key, value == nullptr ? Value(None{}) : *value);
  }
  return Value(std::move(out));
}

constexpr Row kDictMethods[] = {
    {"items", "", items_of}, {"keys", "", keys_of},          {"values", "", values_of},
    {"copy", "", copy_of},   {"get", "key default", get_of}, {"fromkeys", "keys value", from_keys},
};

Result<Value> place_in_list(const Use& use) {
  TROUPE_ASSIGN_OR_RETURN(const List list, iterate(use.budget, use.line, use.input));
  const Value* item = use.get(0, "value");
  if (item == nullptr) return template_error(use.line, in_quotes(use.name) + " needs a value");
  const auto same = [&](const Value& one) { return equal(one, *item); };
  if (use.name == "count") {
    return Value(static_cast<std::int64_t>(std::count_if(list.begin(), list.end(), same)));
  }
  const auto size = static_cast<std::int64_t>(list.size());
  std::int64_t bounds[2] = {0, size};
  for (std::size_t i = 0; i < 2; ++i) {
    const Value* given = use.get(1 + i, i == 0 ? "start" : "stop");
    if (given == nullptr) continue;
    if (!to_integer(*given, &bounds[i])) return wrong_type(use.line, "counting with", *given);
    if (bounds[i] < 0) bounds[i] += size;
    bounds[i] = std::clamp<std::int64_t>(bounds[i], 0, size);
  }
  const auto end = list.begin() + std::max(bounds[0], bounds[1]);
  const auto found = std::find_if(list.begin() + bounds[0], end, same);
  if (found == end) return template_error(use.line, "the value is not in the list");
  return Value(static_cast<std::int64_t>(found - list.begin()));
}

constexpr Row kListMethods[] = {{"index", "value start stop", place_in_list},
                                {"count", "value", place_in_list},
                                {"copy", "", copy_of}};
constexpr std::span<const Row> kTupleMethods = std::span(kListMethods).first(2);

Result<Value> bit_length(const Use& use) {
  const BigInteger whole = *whole_of(use.input);
  if (whole.is_zero()) return Value(std::int64_t{0});
  const std::string bits = (whole.is_negative() ? -whole : whole).to_string(2);
  return Value(static_cast<std::int64_t>(bits.size()));
}

Result<Value> is_integral(const Use& use) {
  const double value = use.input.real() != nullptr ? *use.input.real() : 0;
  return Value(std::isfinite(value) && value == std::floor(value));
}

constexpr Row kWholeMethods[] = {{"bit_length", "", bit_length}, {"is_integer", "", is_integral}};
constexpr std::span<const Row> kIntegerMethods = std::span(kWholeMethods).first(1);
constexpr std::span<const Row> kRealMethods = std::span(kWholeMethods).subspan(1);

// Runs the methods of a cycler: next() takes a turn, reset() goes back to the first item.
Result<Value> cycle(const Use& use) {
  Object& cycler = *use.input.object();
  if (use.name == "reset") {
    cycler.at = 0;
    return Value(None{});
  }
  const Value value = cycler.items[cycler.at];
  cycler.at = (cycler.at + 1) % cycler.items.size();
  return value;
}
constexpr Row kCyclerMethods[] = {{"next", "", cycle}, {"reset", "", cycle}};

std::span<const Row> methods_of(const Value& object) {
  if (object.string() != nullptr) return string_methods();
  if (object.dict() != nullptr) return kDictMethods;
  if (object.is_indexed()) {
    return object.is_tuple() ? kTupleMethods : std::span<const Row>(kListMethods);
  }
  if (object.range() != nullptr) return kTupleMethods;
  if (object.is_whole() || object.boolean() != nullptr) return kIntegerMethods;
  if (object.real() != nullptr) return kRealMethods;
  if (object.is(Object::Kind::kCycler)) return kCyclerMethods;
  return {};
}

// Returns the same text as markup; does the same for the texts of a sequence.
Value as_markup(const Value& value) {
  if (const Text* text = value.text()) return Value(Text{text->text, text->foreign, true});
  if (!value.is_indexed()) return value;
  List out;
  for (const Value& item : *value.list()) out.push_back(as_markup(item));
  return Value(std::move(out), value.sequence());
}

// Escapes what a method of markup puts into it: the arguments of replace and join.
Result<Arguments> escaped_arguments(int line, const std::string& name, const Arguments& given) {
  Arguments out = given;
  const auto escape = [&](Value* value) -> Status {
    if (value->string() == nullptr) return Status::ok();
    TROUPE_ASSIGN_OR_RETURN(Text text, escaped(line, *value));
    *value = Value(std::move(text));
    return Status::ok();
  };
  if (name == "replace" && out.positional.size() > 1) {
    TROUPE_RETURN_IF_ERROR(escape(&out.positional[1]));
  }
  if (name == "join" && !out.positional.empty() && out.positional[0].is_indexed()) {
    List items = *out.positional[0].list();
    for (Value& item : items) TROUPE_RETURN_IF_ERROR(escape(&item));
    out.positional[0] = Value(std::move(items));
  }
  return out;
}

}  // namespace

bool has_method(const Value& object, std::string_view name) {
  if (object.is(Object::Kind::kLoop)) return name == "cycle" || name == "changed";
  return find_row(methods_of(object), name) != nullptr;
}

Status no_method(int line, const Value& object, const std::string& name) {
  const std::string kind = object.string() != nullptr ? "strings have"
                           : object.dict() != nullptr
                               ? "dicts have"
                               : "a value of type " + std::string(type_name(object)) + " has";
  return template_error(line, kind + " no method " + in_quotes(name));
}

Result<Value> call_method(Budget* budget, int line, const Value& object, const std::string& name,
                          const Arguments& arguments) {
  TROUPE_RETURN_IF_ERROR(budget->take(line, object.weight()));
  const Row* row = find_row(methods_of(object), name);
  if (row == nullptr) return no_method(line, object, name);
  if (!object.is_markup()) return run_row(*row, {budget, line, name, object, arguments});
  TROUPE_ASSIGN_OR_RETURN(const Arguments given, escaped_arguments(line, name, arguments));
  TROUPE_ASSIGN_OR_RETURN(const Value made, run_row(*row, {budget, line, name, object, given}));
  return as_markup(made);
}

}  // namespace troupe::model::jinja
