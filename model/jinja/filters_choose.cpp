#include <utility>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/attributes.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/filter_tables.h>
#include <troupe/model/jinja/filters.h>
#include <troupe/model/jinja/marks.h>
#include <troupe/model/jinja/tests.h>

// The filters that apply a filter or a test to each item. As in Jinja, they return an iterator,
// which fails only once its items are taken, and every false value counts as empty.

namespace troupe::model::jinja {
namespace {

// Calls `visit(item, &out)` for each item and returns an iterator over the values in `out`. If a
// call fails, the iterator gives the values before it and then fails in the same way.
template <class Visit>
Result<Value> each_item(const Use& use, Visit visit) {
  if (!truth(use.input)) return iterator_of({});
  const Result<List> items = iterate(use.budget, use.line, use.input);
  if (!items.is_ok()) return iterator_of({}, "generator", items.status());
  List out;
  for (const Value& item : *items) {
    Status status = use.budget->step(use.line);
    if (status) status = visit(item, &out);
    if (status.code() == Code::kResourceExhausted) return status;
    if (!status) return iterator_of(std::move(out), "generator", std::move(status));
  }
  TROUPE_RETURN_IF_ERROR(use.budget->take(use.line, out.size() * sizeof(Value)));
  return iterator_of(std::move(out));
}

Result<Value> map_attribute(const Use& use, const Value& attribute) {
  const Value* fallback = find(use.arguments.keywords, "default");
  if (fallback != nullptr && fallback->is_none()) fallback = nullptr;
  return each_item(use, [&](const Value& item, List* out) -> Status {
    TROUPE_ASSIGN_OR_RETURN(Value value, path_of(use.budget, use.line, item, attribute, fallback));
    out->push_back(std::move(value));
    return Status::ok();
  });
}

// Runs map(filter, arguments...) or map(attribute=..., default=...).
Result<Value> map(const Use& use) {
  const Value* attribute = find(use.arguments.keywords, "attribute");
  if (use.arguments.positional.empty() && attribute != nullptr) {
    return map_attribute(use, *attribute);
  }
  Arguments rest = use.arguments;
  if (!rest.positional.empty()) rest.positional.erase(rest.positional.begin());
  return each_item(use, [&](const Value& item, List* out) -> Status {
    TROUPE_ASSIGN_OR_RETURN(const std::string name,
                            string_argument(use.line, use.arguments, 0, "filter"));
    TROUPE_ASSIGN_OR_RETURN(Value value, apply_filter(use.budget, use.line, name, item, rest));
    out->push_back(marked_filter(name, item, rest, std::move(value)));
    return Status::ok();
  });
}

// Runs select and reject with (test, arguments...), selectattr and rejectattr with (attribute,
// test, arguments...).
Result<Value> select(const Use& use) {
  const bool by_attribute = use.name.ends_with("attr");
  const bool keep = use.name.starts_with("select");
  Arguments rest = use.arguments;
  Value attribute, test;
  if (by_attribute && !rest.positional.empty()) {
    attribute = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  const bool tests = !rest.positional.empty();
  if (tests) {
    test = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  return each_item(use, [&](const Value& item, List* out) -> Status {
    Value subject = item;
    if (by_attribute) {
      if (attribute.is_undefined()) {
        return template_error(use.line, "'" + use.name + "' needs the name of an attribute");
      }
      TROUPE_ASSIGN_OR_RETURN(subject, path_of(use.budget, use.line, item, attribute));
    }
    bool holds = truth(subject);
    if (tests) {
      if (test.string() == nullptr) return wrong_type(use.line, "naming a test", test);
      TROUPE_ASSIGN_OR_RETURN(holds,
                              apply_test(use.budget, use.line, *test.string(), subject, rest));
    }
    if (holds == keep) out->push_back(item);
    return Status::ok();
  });
}

constexpr Row kChoosingFilters[] = {
    {"map", "*", map},           {"select", "*", select},     {"reject", "*", select},
    {"selectattr", "*", select}, {"rejectattr", "*", select},
};

}  // namespace

std::span<const Row> choosing_filters() { return kChoosingFilters; }

}  // namespace troupe::model::jinja
