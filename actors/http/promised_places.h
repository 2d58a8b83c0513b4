#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

// Who was told when to come back, when the server was full. A server that is asked for ten times of
// what it computes refuses nine of ten, whenever they ask: those who wait as long as they were told
// therefore find places that are kept for them, one after the other, in the order of their
// promises. What is promised follows from how fast places become free, and from how many askers
// came back at all. Pure: time is an argument.

namespace troupe::http {

class PromisedPlaces {
 public:
  // How long an asker that is refused now should wait. `who` names the same request when it is
  // repeated, `back` says that it came back as it was told: it need not wait for its turn again.
  // `between_s` is the usual time between two places that become free.
  double promise_s(std::uint64_t who, bool back, double between_s, std::int64_t now_us);
  // Whether the asker was told to come back about now. Its promise is used up.
  bool comes_back(std::uint64_t who, std::int64_t now_us);
  // How many places to keep from newcomers: those of askers who may come back soon.
  std::size_t kept(std::int64_t now_us);

 private:
  struct Promise {
    std::int64_t due_us = 0, lapses_us = 0;
  };
  void lapse(std::int64_t now_us);
  std::map<std::uint64_t, Promise> promises_;        // by asker
  std::multimap<std::int64_t, std::uint64_t> ends_;  // when each lapses
  std::int64_t last_due_us_ = 0;
  double returning_ =
      1;  // the share of the askers who came back, of which the last ones count most
};

}  // namespace troupe::http
