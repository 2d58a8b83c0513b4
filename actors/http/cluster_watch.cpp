#include <algorithm>
#include <chrono>

#include <troupe/actors/http/cluster_watch.h>
#include <troupe/runtime/clock.h>

namespace troupe::http {
namespace {

constexpr std::chrono::milliseconds kEvery{250};
constexpr std::int64_t kStalledUs = 3'000'000;
// These times are well below any --keep-alive that makes sense.
constexpr std::int64_t kKeepUs = 20'000'000, kKeepInTroubleUs = 2'000'000;

}  // namespace

void Progress::see(const Result<ClusterStatus>& status, const std::vector<std::string>& models,
                   std::int64_t now_us) {
  if (!status) {
    trouble_ = status.message();
    return;
  }
  see_steps(*status, now_us);
  for (const std::string& model : models) {
    const bool placed = std::any_of(
        status->deployments.begin(), status->deployments.end(),
        [&](const DeploymentStatus& one) { return one.model_id == model && one.state == "ready"; });
    if (placed) continue;
    trouble_ = "a model is not loaded: its layers are being placed, or wait for a node";
    return;
  }
  const bool stalled = busy_ && now_us - moved_us_ >= patience_us();
  trouble_ = stalled ? "no step has ended for " + std::to_string((now_us - moved_us_) / 1'000'000) +
                           " s, though requests are under way"
                     : std::string();
}

std::int64_t Progress::patience_us() const { return std::max(kStalledUs, 4 * longest_us_); }

void Progress::see_steps(const ClusterStatus& status, std::int64_t now_us) {
  std::uint64_t steps = 0;
  bool busy = false;
  for (const NodeStatus& node : status.nodes) steps += node.steps;
  for (const DeploymentStatus& one : status.deployments) {
    steps += one.tokens;
    busy = busy || one.credits_in_use > 0;
  }
  if (steps != steps_ || busy != busy_) {
    // A time that was long enough to count as trouble is not a measure of a step.
    const std::int64_t took_us = now_us - moved_us_;
    if (busy_ && busy && steps != steps_ && took_us < patience_us()) {
      longest_us_ = std::max(longest_us_, took_us);
    }
    moved_us_ = now_us;
  }
  steps_ = steps;
  busy_ = busy;
}

ClusterWatch::ClusterWatch(Ask ask, std::function<void()> keep, std::vector<std::string> models)
    : ask_(std::move(ask)),
      keep_(std::move(keep)),
      models_(std::move(models)),
      thread_([this] { run(); }) {}

ClusterWatch::~ClusterWatch() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ClusterWatch::run() {
  std::unique_lock lock(mutex_);
  std::int64_t kept_us = monotonic_us();
  while (!ended_) {
    lock.unlock();
    Result<ClusterStatus> status = ask_();
    lock.lock();
    progress_.see(status, models_, monotonic_us());
    if (status) status_ = std::move(*status);
    const std::int64_t since_us = monotonic_us() - kept_us;
    if (since_us > kKeepUs || (!progress_.trouble().empty() && since_us > kKeepInTroubleUs)) {
      kept_us = monotonic_us();
      keep_();
    }
    changed_.wait_for(lock, kEvery, [this] { return ended_; });
  }
}

std::string ClusterWatch::trouble() const {
  const std::lock_guard lock(mutex_);
  return progress_.trouble();
}

ClusterStatus ClusterWatch::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace troupe::http
