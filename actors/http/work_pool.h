#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

// Threads that parse, render and tokenize, so that neither HTTP threads nor actors do. The queue is
// bounded. Any thread may submit.

namespace troupe::http {

class WorkPool {
 public:
  WorkPool(std::size_t threads, std::size_t queue_max);
  ~WorkPool();  // waits for the work under way, and drops the rest
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  // Adds work; returns false if the queue is full. `work` must not throw.
  bool submit(std::function<void()> work);

 private:
  void run();
  const std::size_t queue_max_;
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::function<void()>> queue_;
  bool ended_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace troupe::http
