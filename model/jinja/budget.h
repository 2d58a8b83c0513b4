#pragma once

#include <cstddef>

#include <troupe/runtime/status.h>

namespace troupe::model::jinja {

// Limits on what one rendering may use, because a template comes with a model file, which anyone
// may have made.
class Budget {
 public:
  static constexpr std::size_t kStepsMax = 1'000'000;
  // The bytes of all values that are made or read, and of a single one.
  static constexpr std::size_t kBytesMax = std::size_t{128} << 20;
  static constexpr std::size_t kTextBytesMax = std::size_t{16} << 20;

  // Each takes from the budget: `step` takes steps, `take` the bytes of one value, `work` bytes
  // that are read.
  //   Errors: kResourceExhausted, naming the line.
  Status step(int line, std::size_t count = 1);
  Status take(int line, std::size_t bytes);
  Status work(int line, std::size_t bytes);

 private:
  std::size_t steps_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace troupe::model::jinja
