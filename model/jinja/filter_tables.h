#pragma once

#include <span>

#include <troupe/model/jinja/builtin_parts.h>

// The tables of filters that filters.cpp looks into beside its own. They have a header of their own
// because filters apply filters: map('upper') is an item filter that calls apply_filter.

namespace troupe::model::jinja {

std::span<const Row> item_filters();      // filters_items.cpp: filters that go through items
std::span<const Row> choosing_filters();  // filters_choose.cpp: map, select and the like
std::span<const Row> value_filters();     // filters_values.cpp: numbers, dicts, anything
std::span<const Row> layout_filters();    // filters_layout.cpp: texts cut and filled to a width
std::span<const Row> web_filters();       // filters_web.cpp: HTML and addresses

// Returns input with the bytes of `text`, marked as markup if the input of the filter is.
Result<Value> soft_text(const Use& use, std::string text);

}  // namespace troupe::model::jinja
