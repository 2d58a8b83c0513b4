#pragma once

#include <cstdint>
#include <string>

#include <troupe/runtime/status.h>

// The outcome of a request, as messages carry it: a Status on the wire. It has two fields, the code
// (1 byte) and the text (u32 count, then the bytes).

namespace troupe::actors {

struct Outcome {
  std::uint8_t code = 0;  // troupe::Code; 0 means success
  std::string text;       // why it failed; on success the answer, if the answer is a text

  Outcome() = default;
  Outcome(std::uint8_t number, std::string words) : code(number), text(std::move(words)) {}
  Outcome(const Status& status)
      : code(static_cast<std::uint8_t>(status.code())), text(status.message()) {}
  // Takes the text of an answer, or the reason why there is none.
  explicit Outcome(const Result<std::string>& answer) : Outcome(answer.status()) {
    if (answer) text = *answer;
  }

  bool is_ok() const { return code == 0; }
  // Returns the Status. A peer may send any byte: a code that this release does not know becomes
  // kInternal.
  Status status() const {
    if (is_ok()) return Status::ok();
    const bool known = code <= static_cast<std::uint8_t>(Code::kInternal);
    return Status(known ? static_cast<Code>(code) : Code::kInternal, text);
  }
  // Returns the text on success, else the failure.
  Result<std::string> answer() const {
    if (is_ok()) return text;
    return status();
  }

  template <class A>
  void serialize(A& a) {
    a(code, text);
  }
};

}  // namespace troupe::actors
