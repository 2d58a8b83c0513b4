#pragma once

#include <span>

#include <troupe/model/jinja/builtin_parts.h>

// The tables of filters that filters.cpp looks into beside its own. They have a header of their own
// because filters apply filters: map('upper') is an item filter that calls apply_filter.

namespace troupe::model::jinja {

std::span<const Row> item_filters();   // filters_items.cpp: filters that go through items
std::span<const Row> value_filters();  // filters_values.cpp: filters of numbers, dicts, anything

}  // namespace troupe::model::jinja
