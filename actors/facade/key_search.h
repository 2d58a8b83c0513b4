#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// When a client of the head's own user, which reads its token from a file that the head left, tries
// what it found, looks again, or gives up. While a head restarts, the file is gone or holds the
// token of the process that ended; the new one is written when the head is ready. Values; no file,
// no clock.

namespace troupe::actors {

class KeySearch {
 public:
  // The search ends at `until_us`, on the caller's clock.
  explicit KeySearch(std::int64_t until_us) : until_us_(until_us) {}

  enum class Next { kTry, kLookAgain, kGiveUp };
  // What to do with what was found now: a token, or the reason why there is none, of which only
  // kUnavailable (no file) may pass.
  Next next(const Result<net::Token>& found, std::int64_t now_us) const;
  // The head refused this token: it is not tried again.
  void refuse(const net::Token& token) { refused_ = token.seed; }
  bool is_refused(const net::Token& token) const { return refused_ == token.seed; }

 private:
  const std::int64_t until_us_;
  std::optional<std::array<std::uint8_t, 16>> refused_;
};

}  // namespace troupe::actors
