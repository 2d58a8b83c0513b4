#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <troupe/runtime/clock.h>
#include <troupe/runtime/net/zmq/dial.h>
#include <troupe/runtime/net/zmq/listener.h>
#include <troupe/runtime/net/zmq/zap.h>

// The transport over ZeroMQ. The calls of other threads become commands, and one thread works
// through commands, authentication, listeners and dials, in this order. It holds a lock while it
// works, and releases it while it waits: if a caller finds it waiting, the caller's own thread
// sends the frame, so that a step does not wait for another thread to wake up. Sockets are used
// only under the lock.

namespace troupe::net {
namespace {

using namespace zmq;

// The pause after which frames that wait for room are tried again if no signal comes.
constexpr std::int64_t kRetryUs = 1000;

struct SendCommand {
  OutletPtr outlet;
  OutFrame frame;
};
struct DialCommand {
  DialOrder order;
};
struct HurryCommand {
  PublicKey peer;
  Channel channel;
};
struct DisconnectCommand {
  PublicKey peer;
};
struct RevokeCommand {
  PublicKey peer;
};
struct ClusterCommand {
  std::uint64_t cluster;
};
using Command = std::variant<SendCommand, DialCommand, HurryCommand, DisconnectCommand,
                             RevokeCommand, ClusterCommand>;

class ZmqTransport final : public Transport {
 public:
  ZmqTransport(const TransportOptions& options, Handlers handlers)
      : shared_(options, std::move(handlers)), inbox_(shared_.wake) {}

  ~ZmqTransport() override {
    stop_ = true;
    shared_.wake->signal();
    if (thread_.joinable()) thread_.join();
    // The sockets go before the context; the monitors of listeners and dials are closed with them.
    dials_.clear();
    for (auto& listener : listeners_) listener.reset();
    zap_ = ZapServer();
  }

  // Binds and starts the thread.
  Status start() {
    TROUPE_RETURN_IF_ERROR(shared_.poller.add(shared_.wake->fd(), &woken_));
    TROUPE_ASSIGN_OR_RETURN(zap_, ZapServer::open(shared_.context));
    TROUPE_RETURN_IF_ERROR(shared_.poller.add(zap_.fd(), &zap_ready_));
    if (shared_.options.listen) TROUPE_RETURN_IF_ERROR(listen(*shared_.options.listen));
    // Signals belong to the program that embeds us.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_setname_np(thread_.native_handle(), "troupe-net");
    return Status::ok();
  }

  void allow(const PublicKey& key, Role role) override { shared_.allowed.allow(key, role); }

  void revoke(const PublicKey& key) override {
    shared_.allowed.revoke(key);
    shared_.directory.forget(key);
    inbox_.push(RevokeCommand{key});
  }

  void dial(const PublicKey& peer, const Endpoint& endpoint, Channel channel,
            const std::optional<KeyPair>& as) override {
    const std::uint64_t number = ++dial_numbers_;
    OutletPtr outlet = shared_.directory.begin_dial(peer, channel, number);
    if (!outlet) return inbox_.push(HurryCommand{peer, channel});
    inbox_.push(DialCommand{{number, peer, endpoint, channel, as.value_or(shared_.options.identity),
                             std::move(outlet)}});
  }

  void disconnect(const PublicKey& peer) override {
    shared_.directory.end_dials(peer);
    inbox_.push(DisconnectCommand{peer});
  }

  Status send(const PublicKey& peer, Channel channel, OutFrame frame) override {
    if (frame.body.size() > body_bytes_max(channel) ||
        frame.payload.data.size() > payload_bytes_max(channel)) {
      return Status(Code::kInvalidArgument,
                    "a frame of " + std::to_string(frame.body.size()) + " + " +
                        std::to_string(frame.payload.data.size()) + " bytes is over the bound of " +
                        std::to_string(body_bytes_max(channel)) + " + " +
                        std::to_string(payload_bytes_max(channel)) + " of the " +
                        channel_name(channel) + " channel: split it");
    }
    const OutletPtr outlet = shared_.directory.find(peer, channel, frame.to_incarnation);
    if (!outlet) {
      return Status(Code::kUnavailable, std::string("no ") + channel_name(channel) +
                                            " connection to the peer " + to_z85(peer));
    }
    if (outlet->waiting.fetch_add(1, std::memory_order_relaxed) >= shared_.options.queue_frames) {
      outlet->waiting.fetch_sub(1, std::memory_order_relaxed);
      shared_.counters.add(shared_.counters.send_overflow);
      return Status(Code::kResourceExhausted, "the " + std::string(channel_name(channel)) +
                                                  " queue to the peer " + to_z85(peer) +
                                                  " is full with " +
                                                  std::to_string(shared_.options.queue_frames) +
                                                  " frames: it takes them too slowly");
    }
    SendCommand command{outlet, std::move(frame)};
    if (!send_at_once(command)) inbox_.push(std::move(command));
    return Status::ok();
  }

  void set_cluster(std::uint64_t cluster) override { inbox_.push(ClusterCommand{cluster}); }
  Counters counters() const override { return shared_.counters.snapshot(); }
  std::optional<Endpoint> bound() const override { return shared_.options.listen; }

 private:
  Status listen(const Endpoint& endpoint) {
    if (endpoint.port == 0 || endpoint.port > 65535 - (kChannels - 1)) {
      return Status(Code::kInvalidArgument, "cannot listen on " + to_string(endpoint) +
                                                ": three ports in a row are needed, choose one "
                                                "from 1 to 65533");
    }
    Resolution resolution;
    resolve_now(endpoint.host, resolution);
    if (resolution.addresses.empty()) {
      return Status(Code::kInvalidArgument, "cannot listen on " + to_string(endpoint) + ": " +
                                                resolution.error +
                                                "; give an address of this machine");
    }
    for (int i = 0; i < kChannels; ++i) {
      auto listener = std::make_unique<Listener>(shared_);
      TROUPE_RETURN_IF_ERROR(listener->open(static_cast<Channel>(i), resolution.addresses.front(),
                                            static_cast<std::uint16_t>(endpoint.port + i)));
      listeners_[static_cast<std::size_t>(i)] = std::move(listener);
    }
    return Status::ok();
  }

  // Returns false if the transport's thread is busy, or has other commands to work through first.
  bool send_at_once(SendCommand& command) {
    // The caller is a handler, within a turn.
    if (own_thread_ == std::this_thread::get_id()) return false;
    const std::unique_lock turn(turn_, std::try_to_lock);
    if (!turn || !inbox_.empty()) return false;
    const OutletPtr outlet = command.outlet;
    apply(command);
    bool look = false;
    if (outlet->incarnation != 0) {
      look = listeners_[static_cast<std::size_t>(outlet->channel)]->send_at_once();
    } else if (Dial* dial = dial_of(*outlet)) {
      look = dial->send_at_once();
    }
    if (look) shared_.wake->signal();
    return true;
  }

  void run() {
    own_thread_ = std::this_thread::get_id();
    std::unique_lock turn_taken(turn_);
    std::int64_t active_us = monotonic_us();
    while (!stop_) {
      const bool any = turn();
      const std::int64_t now_us = monotonic_us();
      if (any) active_us = now_us;
      int timeout_ms = 0;
      // Answers follow soon after questions: if there are cores to spare, polling is faster than
      // being woken.
      if (!any && !pending() && now_us - active_us >= shared_.options.spin_us) {
        timeout_ms = sleep_ms(now_us);
        if (timeout_ms != 0 && !inbox_.may_sleep()) timeout_ms = 0;
      }
      turn_taken.unlock();
      shared_.poller.wait(timeout_ms);
      turn_taken.lock();
      shared_.poller.mark();
      if (woken_.ready) {
        woken_.ready = false;
        shared_.wake->clear();
      }
    }
  }

  bool turn() {
    bool any = apply_commands();
    const std::int64_t began_us = monotonic_us();
    if (zap_ready_.ready) {
      zap_ready_.ready = false;
      any |= zap_.serve(shared_.allowed, shared_.counters, began_us);
    }
    zap_.answer_due(began_us);
    for (auto& listener : listeners_) {
      if (listener) any |= listener->work(began_us);
    }
    const std::int64_t now_us = monotonic_us();
    const bool retry = now_us >= retry_us_;
    if (retry) retry_us_ = now_us + kRetryUs;
    for (auto& listener : listeners_) {
      if (retry && listener && listener->blocked()) listener->look_again();
    }
    for (auto& dial : dials_) {
      if (retry && dial->blocked()) dial->look_again();
      any |= dial->work(now_us);
    }
    std::erase_if(dials_, [](const auto& dial) { return dial->over(); });
    return any;
  }

  bool pending() const {
    for (const auto& listener : listeners_) {
      if (listener && listener->pending()) return true;
    }
    return std::any_of(dials_.begin(), dials_.end(),
                       [](const auto& dial) { return dial->pending(); });
  }

  // Returns how long nothing can be due; -1 means forever.
  int sleep_ms(std::int64_t now_us) const {
    std::int64_t due_us = zap_.due_us().value_or(INT64_MAX);
    for (const auto& listener : listeners_) {
      if (listener) due_us = std::min(due_us, listener->due_us().value_or(INT64_MAX));
      if (listener && listener->blocked()) due_us = std::min(due_us, retry_us_);
    }
    for (const auto& dial : dials_) {
      if (dial->blocked()) due_us = std::min(due_us, retry_us_);
      due_us = std::min(due_us, dial->due_us().value_or(INT64_MAX));
    }
    if (due_us == INT64_MAX) return -1;
    return static_cast<int>(std::clamp<std::int64_t>((due_us - now_us + 999) / 1000, 0, 60'000));
  }

  bool apply_commands() {
    inbox_.take(commands_);
    for (Command& command : commands_) {
      std::visit([this](auto& c) { apply(c); }, command);
    }
    const bool any = !commands_.empty();
    commands_.clear();
    return any;
  }

  void apply(SendCommand& command) {
    Outlet& outlet = *command.outlet;
    if (outlet.closed) return;  // the frame is lost with its connection
    outlet.queue.push_back(shared_.seal(outlet.channel, std::move(command.frame)));
    if (outlet.incarnation != 0) {
      listeners_[static_cast<std::size_t>(outlet.channel)]->enqueue(command.outlet);
      return;
    }
    if (Dial* dial = dial_of(outlet)) dial->enqueue();
  }

  Dial* dial_of(const Outlet& outlet) {
    for (auto& dial : dials_) {
      if (dial->outlet() == &outlet) return dial.get();
    }
    return nullptr;
  }

  void apply(DialCommand& command) {
    dials_.push_back(std::make_unique<Dial>(shared_, std::move(command.order)));
  }

  void apply(HurryCommand& command) {
    for (auto& dial : dials_) {
      if (dial->peer() == command.peer && dial->channel() == command.channel) dial->hurry();
    }
  }

  void apply(DisconnectCommand& command) {
    std::erase_if(dials_, [&](const auto& dial) { return dial->peer() == command.peer; });
  }

  void apply(RevokeCommand& command) {
    std::erase_if(dials_, [&](const auto& dial) { return dial->peer() == command.peer; });
    // The key was allowed again in the meantime: the newer call counts.
    if (shared_.allowed.role(command.peer)) return;
    for (auto& listener : listeners_) {
      if (listener) listener->revoke(command.peer, monotonic_us());
    }
    shared_.gate.forget(command.peer);
  }

  void apply(ClusterCommand& command) { shared_.gate.set_cluster(command.cluster); }

  Shared shared_;
  Inbox<Command> inbox_;
  std::atomic<std::uint64_t> dial_numbers_{0};
  std::atomic<bool> stop_{false};
  std::atomic<std::thread::id> own_thread_{};
  std::mutex turn_;  // guards the members below while the thread runs
  ZapServer zap_;
  Pollable zap_ready_, woken_;
  std::array<std::unique_ptr<Listener>, kChannels> listeners_;
  std::vector<std::unique_ptr<Dial>> dials_;
  std::vector<Command> commands_;
  std::int64_t retry_us_ = 0;
  std::thread thread_;
};

// Checks that there are descriptors left, because ZeroMQ aborts if it cannot open those that its
// threads need.
Status descriptors_left() {
  constexpr std::size_t kNeeded = 48;
  std::vector<int> fds;
  while (fds.size() < kNeeded) {
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) break;
    fds.push_back(fd);
  }
  for (const int fd : fds) ::close(fd);
  if (fds.size() == kNeeded) return Status::ok();
  return Status(Code::kResourceExhausted,
                "no descriptors are left for network connections: close files or raise the limit "
                "of open files (ulimit -n)");
}

}  // namespace

Result<std::unique_ptr<Transport>> make_zmq_transport(const TransportOptions& options,
                                                      Handlers handlers) {
  TROUPE_RETURN_IF_ERROR(descriptors_left());
  TransportOptions complete = options;
  if (complete.incarnation == 0) complete.incarnation = random_u64();
  auto transport = std::make_unique<ZmqTransport>(complete, std::move(handlers));
  TROUPE_RETURN_IF_ERROR(transport->start());
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace troupe::net
