#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/model/jinja/value.h>

// Filters, tests and methods of the template language, and the budget that bounds a rendering.

namespace troupe::model::jinja {

// What one rendering may use: a template comes with a model file, from anyone.
class Budget {
 public:
  static constexpr std::size_t kStepsMax = 1'000'000;
  // Of all values that are made or gone through, and of a single one.
  static constexpr std::size_t kBytesMax = std::size_t{128} << 20;
  static constexpr std::size_t kTextBytesMax = std::size_t{16} << 20;

  // kResourceExhausted, naming the line.
  Status step(int line, std::size_t count = 1);
  Status take(int line, std::size_t bytes);  // for one value
  Status work(int line, std::size_t bytes);

 private:
  std::size_t steps_ = 0;
  std::size_t bytes_ = 0;
};

struct Arguments {
  std::vector<Value> positional;
  Dict keywords;
  // The argument at `index` or of that name; nullptr when absent.
  const Value* get(std::size_t index, std::string_view name) const;
};

// kBadData naming the line and what is not known or has the wrong type.
Result<Value> apply_filter(Budget* budget, int line, const std::string& name, const Value& input,
                           const Arguments& arguments);
Result<bool> apply_test(Budget* budget, int line, const std::string& name, const Value& input,
                        const Arguments& arguments);
Result<Value> call_method(Budget* budget, int line, const Value& object, const std::string& name,
                          const Arguments& arguments);
// Whether Python's dicts have a method of that name: for Jinja, `x.items` is this method and not
// the value under the key "items", and x["items"] is the method where there is no such key.
bool is_dict_method(std::string_view name);
// object.name as Jinja has it; undefined when there is none.
Result<Value> attribute_of(Budget* budget, int line, const Value& object, const std::string& name);
// object[key]; undefined when there is none.
Result<Value> subscript(Budget* budget, int line, const Value& object, const Value& key);
Result<bool> contains(Budget* budget, int line, const Value& container, const Value& item);
// What a `for` goes through: items, keys, characters; nothing for undefined.
Result<List> iterate(Budget* budget, int line, const Value& value);
Result<Value> concatenate(Budget* budget, int line, const Value& a, const Value& b);
Result<std::string> text_of(int line, const Value& value);
Result<Text> marked_text_of(int line, const Value& value);

// `result` with what is foreign marked, where a filter or method made it of `input` and
// `arguments`: exactly where it only picks or strips, as a whole otherwise.
Value marked_filter(const std::string& name, const Value& input, const Arguments& arguments,
                    Value result);
Value marked_method(const std::string& name, const Value& object, const Arguments& arguments,
                    Value result);

}  // namespace troupe::model::jinja
