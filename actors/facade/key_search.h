#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// Decides what a client of the head's own user does, which reads its token from a file that the
// head left (local_key.h): it tries what it found, looks again, or gives up. While a head restarts,
// the file is gone or holds the token of the process that ended; the new one is written when the
// head is ready. Plain values: no file, no clock, no lock.

namespace troupe::actors {

class KeySearch {
 public:
  // The search ends at `until_us`, in microseconds of the caller's clock.
  explicit KeySearch(std::int64_t until_us) : until_us_(until_us) {}

  enum class Next { kTry, kLookAgain, kGiveUp };
  // Returns what to do with what was found at `now_us`: a token, or the reason why there is none.
  // Only kUnavailable (there is no file) is a reason to look again.
  Next next(const Result<net::Token>& found, std::int64_t now_us) const;
  // Says that the head refused this token, which is not tried again.
  void refuse(const net::Token& token) { refused_ = token.seed; }

 private:
  const std::int64_t until_us_;
  std::optional<std::array<std::uint8_t, 16>> refused_;
};

}  // namespace troupe::actors
