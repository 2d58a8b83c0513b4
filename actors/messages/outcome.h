#pragma once

#include <cstdint>
#include <string>

#include <troupe/runtime/status.h>

// How something that was asked for ended, as messages carry it: a Status on the wire. Two fields,
// the code (1 byte) and the text (u32 count, then the bytes).

namespace troupe::actors {

struct Outcome {
  std::uint8_t code = 0;  // troupe::Code; 0 means success
  std::string text;       // why it failed; an answer that is a text carries it here on success

  Outcome() = default;
  Outcome(std::uint8_t number, std::string words) : code(number), text(std::move(words)) {}
  Outcome(const Status& status)
      : code(static_cast<std::uint8_t>(status.code())), text(status.message()) {}
  // The text of an answer, or why there is none.
  explicit Outcome(const Result<std::string>& answer) : Outcome(answer.status()) {
    if (answer) text = *answer;
  }

  bool is_ok() const { return code == 0; }
  // A peer may send any byte: a code that this release does not know becomes kInternal.
  Status status() const {
    if (is_ok()) return Status::ok();
    const bool known = code <= static_cast<std::uint8_t>(Code::kInternal);
    return Status(known ? static_cast<Code>(code) : Code::kInternal, text);
  }
  // The text on success, else why it failed.
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
