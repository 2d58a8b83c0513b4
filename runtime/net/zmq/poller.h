#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <troupe/runtime/status.h>

// What the transport's thread waits for: descriptors (epoll) and commands (a locked queue with an
// eventfd that is written only while the thread sleeps).

namespace troupe::net::zmq {

// A descriptor that is watched. `ready` is set when it is readable, and cleared by the owner that
// has read everything. ZeroMQ's descriptors signal commands, not messages: after a send, or after
// anything else that may have consumed a signal, the owner sets `ready` itself and reads.
struct Pollable {
  bool ready = true;
};

class Poller {
 public:
  Poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
    TROUPE_CHECK(fd_ >= 0, "epoll_create1: " + std::to_string(errno));
  }
  ~Poller() { ::close(fd_); }
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  Status add(int fd, Pollable* pollable) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = pollable;
    pollable->ready = true;
    if (::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) == 0) return Status::ok();
    return Status(Code::kResourceExhausted,
                  std::string("cannot watch a descriptor: ") + std::strerror(errno));
  }
  void remove(int fd) { ::epoll_ctl(fd_, EPOLL_CTL_DEL, fd, nullptr); }

  // Waits up to timeout_ms (-1: without limit). Uses no Pollable, so that other threads may change
  // them meanwhile.
  void wait(int timeout_ms) {
    count_ = ::epoll_wait(fd_, events_.data(), static_cast<int>(events_.size()), timeout_ms);
  }
  // Marks what the last wait found readable.
  void mark() {
    for (int i = 0; i < count_; ++i) {
      static_cast<Pollable*>(events_[static_cast<std::size_t>(i)].data.ptr)->ready = true;
    }
    count_ = 0;
  }

 private:
  int fd_;
  std::array<epoll_event, 64> events_;
  int count_ = 0;
};

// Wakes the thread. Shared with helper threads that may outlive the transport.
class WakeUp {
 public:
  WakeUp() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    TROUPE_CHECK(fd_ >= 0, "eventfd: " + std::to_string(errno));
  }
  ~WakeUp() { ::close(fd_); }
  WakeUp(const WakeUp&) = delete;
  WakeUp& operator=(const WakeUp&) = delete;
  int fd() const { return fd_; }
  void signal() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
  }
  void clear() const {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto read = ::read(fd_, &count, sizeof count);
  }

 private:
  int fd_;
};

template <class Command>
class Inbox {
 public:
  explicit Inbox(std::shared_ptr<const WakeUp> wake) : wake_(std::move(wake)) {}

  void push(Command command) {
    bool asleep;
    {
      std::lock_guard lock(mutex_);
      commands_.push_back(std::move(command));
      asleep = asleep_;
      asleep_ = false;
    }
    if (asleep) wake_->signal();
  }
  // Swaps the waiting commands into `out`, which must be empty.
  void take(std::vector<Command>& out) {
    std::lock_guard lock(mutex_);
    out.swap(commands_);
    asleep_ = false;
  }
  bool empty() const {
    std::lock_guard lock(mutex_);
    return commands_.empty();
  }
  // Returns true if the thread may sleep: from now on a push wakes it.
  bool may_sleep() {
    std::lock_guard lock(mutex_);
    asleep_ = commands_.empty();
    return asleep_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Command> commands_;
  bool asleep_ = false;
  std::shared_ptr<const WakeUp> wake_;
};

}  // namespace troupe::net::zmq
