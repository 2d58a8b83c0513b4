#include <string>

#include <troupe/model/jinja/budget.h>
#include <troupe/model/jinja/error.h>

namespace troupe::model::jinja {

Status Budget::step(int line, std::size_t count) {
  steps_ += count;
  if (steps_ <= kStepsMax) return Status::ok();
  return template_error(line,
                        "the rendering takes more than " + std::to_string(kStepsMax) + " steps",
                        Code::kResourceExhausted);
}

Status Budget::take(int line, std::size_t bytes) {
  if (bytes > kTextBytesMax) {
    return template_error(line,
                          "a value is larger than " + std::to_string(kTextBytesMax >> 20) + " MiB",
                          Code::kResourceExhausted);
  }
  return work(line, bytes);
}

Status Budget::work(int line, std::size_t bytes) {
  bytes_ += bytes;
  if (bytes_ > kBytesMax) {
    return template_error(line,
                          "the rendering goes through more than " +
                              std::to_string(kBytesMax >> 20) + " MiB of values",
                          Code::kResourceExhausted);
  }
  return step(line);
}

}  // namespace troupe::model::jinja
