#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

// Remembers which clients a full server told to come back, and when. A server that gets ten times
// the requests that it can compute refuses nine out of ten, whenever they come. Therefore clients
// that wait as long as they were told find places that are kept for them, one after the other, in
// the order of their promises. What is promised depends on how fast places become free, and on how
// many clients came back at all. Pure: time is an argument.

namespace troupe::http {

class PromisedPlaces {
 public:
  // Returns how long a client that is refused now should wait. `who` names the request, and is the
  // same when it is repeated; `back` says that the client came back when it was told to, so that it
  // need not wait for its turn again. `between_s` is the usual time between two places that become
  // free.
  double promise_s(std::uint64_t who, bool back, double between_s, std::int64_t now_us);
  // True if the client was told to come back about now. This uses up its promise.
  bool comes_back(std::uint64_t who, std::int64_t now_us);
  // Returns the number of places to keep from newcomers, for clients that may come back soon.
  std::size_t kept(std::int64_t now_us);

 private:
  struct Promise {
    std::int64_t due_us = 0, lapses_us = 0;
  };
  void lapse(std::int64_t now_us);
  std::map<std::uint64_t, Promise> promises_;        // by asker
  std::multimap<std::int64_t, std::uint64_t> ends_;  // when each lapses
  std::int64_t last_due_us_ = 0;
  double returning_ = 1;  // the fraction of the clients that came back; the latest count most
};

}  // namespace troupe::http
