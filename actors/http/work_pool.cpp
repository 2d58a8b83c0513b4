#include <pthread.h>

#include <troupe/actors/http/work_pool.h>

namespace troupe::http {

WorkPool::WorkPool(std::size_t threads, std::size_t queue_max) : queue_max_(queue_max) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { run(); });
    pthread_setname_np(threads_.back().native_handle(), "troupe-prepare");
  }
}

WorkPool::~WorkPool() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    queue_.clear();
  }
  more_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool WorkPool::submit(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_ || queue_.size() >= queue_max_) return false;
    queue_.push_back(std::move(work));
  }
  more_.notify_one();
  return true;
}

void WorkPool::run() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      more_.wait(lock, [this] { return ended_ || !queue_.empty(); });
      if (ended_) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace troupe::http
