#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <troupe/actors/troupe/admin.h>
#include <troupe/runtime/status.h>

// Asks the cluster for its state a few times a second, on a thread of its own, because that blocks.
// /ready and /metrics read the latest answer.

namespace troupe::http {

// Decides from successive answers whether the cluster computes. Pure: time is an argument.
class Progress {
 public:
  // Takes an answer. `models` has the SHA-256 of the models that must be placed.
  void see(const Result<ClusterStatus>& status, const std::vector<std::string>& models,
           std::int64_t now_us);
  // Says in a sentence why no answer can be had; "" if all is well. A cluster is never in trouble
  // because it is busy: only if something runs and no step has ended for 3 s, or for four times the
  // longest time between two steps that was seen before, whichever is longer.
  const std::string& trouble() const { return trouble_; }

 private:
  void see_steps(const ClusterStatus& status, std::int64_t now_us);
  std::int64_t patience_us() const;
  std::string trouble_;
  std::uint64_t steps_ = 0;
  bool busy_ = false;
  std::int64_t moved_us_ = 0;  // when a step ended, or work began
  // The longest time between two answers of the cluster in which steps had ended.
  std::int64_t longest_us_ = 0;
};

class ClusterWatch {
 public:
  using Ask = std::function<Result<ClusterStatus>()>;
  // `keep` is called now and then, and while a model is not placed, so that all stay loaded.
  ClusterWatch(Ask ask, std::function<void()> keep, std::vector<std::string> models);
  ~ClusterWatch();
  ClusterWatch(const ClusterWatch&) = delete;
  ClusterWatch& operator=(const ClusterWatch&) = delete;

  std::string trouble() const;
  ClusterStatus status() const;  // the latest that came

 private:
  void run();
  const Ask ask_;
  const std::function<void()> keep_;
  const std::vector<std::string> models_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Progress progress_;
  ClusterStatus status_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace troupe::http
