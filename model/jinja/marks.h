#pragma once

#include <string>

#include <troupe/model/jinja/builtin_parts.h>
#include <troupe/model/jinja/value.h>

// Keeps track of the bytes of results that come from outside the template. Pure.

namespace troupe::model::jinja {

// Returns what {{ value }} prints, with the foreign bytes marked.
Result<Text> marked_text_of(int line, const Value& value);

// These return `result`, which a filter or method made of its input and `arguments`, with the
// foreign parts marked: exactly if it only picks or strips, else as a whole.
Value marked_filter(const std::string& name, const Value& input, const Arguments& arguments,
                    Value result);
Value marked_method(const std::string& name, const Value& object, const Arguments& arguments,
                    Value result);

}  // namespace troupe::model::jinja
