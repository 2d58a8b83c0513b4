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

// The connection that replaced the one of `impl`; null if none did.
std::shared_ptr<Cluster> connection_of(Cluster::Impl& impl);
// True if the head does not answer.
bool is_lost(Cluster::Impl& impl);
// Connects again. Tries until `patience` has passed, and at least once.
Result<std::shared_ptr<Cluster>> reconnect(Cluster::Impl& impl, std::chrono::seconds patience);

struct HeadAnswer {
  std::string text, data;
};
JobAsk job_ask(JobAskKind kind, const std::string& id, std::uint64_t number = 0);
// Asks, and if the head was lost, repeats the question over a new connection (for half a minute).
Result<HeadAnswer> ask_head(Cluster::Impl& impl, const JobAsk& message);
// Asks the head for the cluster's status. Blocks for up to 5 s.
//   Errors: kUnavailable if no answer comes; kPermissionDenied in a program that is not a client.
Result<ClusterStatus> ask_status(Cluster::Impl& impl);
// Errors: kNotFound (no answer with this id is open).
Result<OpenStream> open_stream(Cluster::Impl& impl, const std::string& id);

inline constexpr std::chrono::seconds kRepeatPatience{30};
// Calls `call` with the present connection, and again with a new one if the head was lost.
template <class Call>
auto patiently(Cluster::Impl& impl, Call call) {
  const auto began = std::chrono::steady_clock::now();
  auto again = connection_of(impl);
  for (;;) {
    Cluster::Impl& now = again ? again->impl() : impl;
    auto answer = call(now);
    const bool lost = !answer && answer.code() == Code::kUnavailable && !impl.local;
    if (!lost || !is_lost(now)) return answer;
    if (std::chrono::steady_clock::now() - began > kRepeatPatience) return answer;
    auto connected = reconnect(impl, kRepeatPatience);
    if (!connected) return answer;
    again = *connected;
  }
}

}  // namespace troupe::actors
