#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <troupe/actors/actors.h>
#include <troupe/actors/facade/cluster_impl.h>

// The questions that a client asks its head. Each may be asked twice, so that a head that is away
// for a while causes only a pause: the connection is made again and the question is repeated.

namespace troupe::actors {

// Returns the connection that replaced the one of `impl`; null if none did.
std::shared_ptr<Cluster> connection_of(Cluster::Impl& impl);
// True if the head does not answer.
bool is_lost(Cluster::Impl& impl);
// Connects again. Tries until `patience` has passed, and at least once.
Result<std::shared_ptr<Cluster>> reconnect(Cluster::Impl& impl, std::chrono::seconds patience);

struct HeadAnswer {
  std::string text, data;
};
JobAsk job_ask(JobAskKind kind, const std::string& id, std::uint64_t number = 0);
// Asks, and if the head was lost, repeats the question over a new connection (see RepeatClock).
Result<HeadAnswer> ask_head(Cluster::Impl& impl, const JobAsk& message);
// Asks the head for the cluster's status. Blocks for up to 5 s.
//   Errors: kUnavailable if no answer comes; kPermissionDenied in a program that is not a client.
Result<ClusterStatus> ask_status(Cluster::Impl& impl);
// Errors: kNotFound (no answer with this id is open).
Result<OpenStream> open_stream(Cluster::Impl& impl, const std::string& id);

// Decides how long a question is repeated if the head is lost again and again: until the head has
// been away for kRepeatPatience. A head that is lost as soon as it is asked counts as away.
class RepeatClock {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kRepeatPatience{30};
  // If a call lasted at least this long before the head was lost, the head had been there in the
  // meantime.
  static constexpr std::chrono::seconds kHeld{2};

  explicit RepeatClock(Time began) : since_(began) {}
  // Says whether a call may be repeated that began at `called` and ended now because the head was
  // lost.
  bool may_repeat(Time called, Time now) {
    if (now - called >= kHeld) since_ = now;
    return now - since_ <= kRepeatPatience;
  }

 private:
  Time since_;
};

// Calls `call` with the present connection, and again with a new one if the head was lost.
template <class Call>
auto patiently(Cluster::Impl& impl, Call call) {
  using Clock = std::chrono::steady_clock;
  RepeatClock clock(Clock::now());
  auto again = connection_of(impl);
  for (;;) {
    Cluster::Impl& now = again ? again->impl() : impl;
    const auto called = Clock::now();
    auto answer = call(now);
    const bool lost = !answer && answer.code() == Code::kUnavailable && !impl.local;
    if (!lost || !is_lost(now)) return answer;
    if (!clock.may_repeat(called, Clock::now())) return answer;
    auto connected = reconnect(impl, RepeatClock::kRepeatPatience);
    if (!connected) return answer;
    again = *connected;
  }
}

}  // namespace troupe::actors
