#include <algorithm>
#include <cerrno>
#include <utility>

#include <troupe/runtime/clock.h>
#include <troupe/runtime/net/zmq/dial.h>

namespace troupe::net::zmq {
namespace {

constexpr int kBackoffFirstMs = 50;
constexpr int kBackoffLastMs = 2000;
// A head that dies during the handshake looks like one with another key. Only the third such
// failure in a row is reported as another key.
constexpr int kDroppedMax = 3;
// A listener with another key hangs up at once. One that has too many connections of our key first
// delays the handshake (ZapServer).
constexpr std::int64_t kPacedUs = 500'000;
constexpr int kReceiveMax = 64;

// Returns the pause, plus up to a quarter, so that many nodes do not come back at the same moment.
std::int64_t with_jitter_us(int backoff_ms) {
  const std::int64_t us = std::int64_t{backoff_ms} * 1000;
  return us + static_cast<std::int64_t>(random_u64() % static_cast<std::uint64_t>(us / 4 + 1));
}

}  // namespace

Dial::Dial(Shared& shared, DialOrder order)
    : shared_(shared),
      order_(std::move(order)),
      backoff_ms_(kBackoffFirstMs),
      outlet_(order_.outlet) {}

Dial::~Dial() {
  close_socket();
  outlet_->closed = true;
  outlet_->queue.clear();
}

std::string Dial::name() const {
  return to_string(order_.endpoint) + " (" + channel_name(order_.channel) + ")";
}

std::optional<std::int64_t> Dial::due_us() const {
  if (state_ == State::kConnected || state_ == State::kOver) return std::nullopt;
  return due_us_;
}

bool Dial::work(std::int64_t now_us) {
  bool any = false;
  if (monitor_ready_.ready) any |= drain_monitor(now_us);
  if (state_ == State::kConnected) {
    if (send_now_) {
      send_now_ = false;
      send();
      socket_ready_.ready = any = true;  // sending may have consumed the signal of an arrival
    }
    if (state_ == State::kConnected && socket_ready_.ready) any |= receive();
  } else {
    socket_ready_.ready = send_now_ = false;  // nothing is received or sent before the handshake
  }
  if (state_ == State::kResolving && resolution_->done) connect(now_us);
  if (state_ == State::kWaiting && now_us >= due_us_) start(now_us);
  if ((state_ == State::kConnecting || state_ == State::kResolving) && now_us >= due_us_) {
    const std::string within =
        " within " + std::to_string(shared_.options.handshake_timeout_ms) + " ms";
    lost(now_us,
         Status(Code::kUnavailable,
                state_ == State::kResolving ? "the name of " + name() + " was not resolved" + within
                : tcp_connected_
                    ? "something listens at " + name() + " but did not prove to own the key " +
                          to_z85(order_.peer) + within + ": it hangs, or is another program"
                    : "no answer from " + name() + within +
                          ": is the machine up, and the port open in its firewall?"));
  }
  return any;
}

void Dial::hurry() {
  backoff_ms_ = kBackoffFirstMs;
  if (state_ == State::kWaiting) due_us_ = 0;
}

void Dial::start(std::int64_t now_us) {
  state_ = State::kResolving;
  due_us_ = now_us + std::int64_t{shared_.options.handshake_timeout_ms} * 1000;
  ++attempts_;
  // A lookup that is still under way, or that found addresses, can be used again.
  if (!resolution_ || (resolution_->done && resolution_->addresses.empty())) {
    resolution_ = resolve(order_.endpoint.host, shared_.wake);
  }
  if (resolution_->done) connect(now_us);
}

void Dial::connect(std::int64_t now_us) {
  if (resolution_->addresses.empty()) {
    lost(now_us, Status(Code::kUnavailable,
                        "cannot resolve the name of " + name() + ": " + resolution_->error));
    return;
  }
  state_ = State::kConnecting;
  attempted_us_ = now_us;
  tcp_connected_ = false;
  const Status opened = open_socket();
  if (!opened) lost(now_us, opened);
}

Status Dial::open_socket() {
  TROUPE_ASSIGN_OR_RETURN(Socket socket, Socket::open(shared_.context, ZMQ_DEALER));
  // Our own timeout comes first and knows why: ZeroMQ's looks like a listener that hung up.
  set_channel_options(socket, order_.channel, 2 * shared_.options.handshake_timeout_ms);
  socket.set(ZMQ_CONNECT_TIMEOUT, shared_.options.handshake_timeout_ms);
  socket.set(ZMQ_RECONNECT_IVL, -1);  // every attempt has a socket of its own
  socket.set(ZMQ_IMMEDIATE, 1);
  socket.set(ZMQ_CURVE_SERVERKEY, std::span(order_.peer));
  socket.set(ZMQ_CURVE_PUBLICKEY, std::span(order_.identity.public_key));
  socket.set(ZMQ_CURVE_SECRETKEY, std::span(order_.identity.secret_key));
  TROUPE_ASSIGN_OR_RETURN(Monitor monitor, Monitor::watch(shared_.context, socket));
  const auto& addresses = resolution_->addresses;
  const int port = order_.endpoint.port + static_cast<int>(order_.channel);
  const std::string at = tcp_address(socket, addresses[(attempts_ - 1) % addresses.size()],
                                     static_cast<std::uint16_t>(port));
  if (port > 65535 || zmq_connect(socket.get(), at.c_str()) != 0) {
    return Status(Code::kInvalidArgument, "cannot dial " + at + ": not an address that exists");
  }
  socket_ = std::move(socket);
  monitor_ = std::move(monitor);
  return shared_.poller.add(monitor_.fd(), &monitor_ready_);
}

void Dial::close_socket() {
  if (socket_.is_open()) shared_.poller.remove(socket_.fd());
  if (monitor_.is_open()) shared_.poller.remove(monitor_.fd());
  socket_.close();
  monitor_ = Monitor();
  socket_ready_.ready = monitor_ready_.ready = send_now_ = false;
}

bool Dial::drain_monitor(std::int64_t now_us) {
  monitor_ready_.ready = false;
  bool any = false;
  while (const auto event = monitor_.next()) {
    any = true;
    switch (event->event) {
      case ZMQ_EVENT_CONNECTED:
        tcp_connected_ = true;
        shared_.counters.add(shared_.counters.reached);
        break;
      case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        if (!connected(now_us)) return true;
        break;
      case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        lost(now_us,
             Status(Code::kPermissionDenied,
                    name() + " refused our key " + to_z85(order_.identity.public_key) +
                        ": the token has expired or is used up, or this machine was removed "
                        "from the cluster and its key revoked; 'troupe key new' on the head's "
                        "machine makes a new token"),
             true);
        return true;
      case ZMQ_EVENT_CLOSED:
        if (state_ == State::kConnecting) {
          lost(now_us, Status(Code::kUnavailable, "nobody listens at " + name()));
          return true;
        }
        break;
      case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
      case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
      case ZMQ_EVENT_DISCONNECTED:
        if (state_ == State::kConnected) {
          // The frames that the peer still sent come first.
          while (state_ == State::kConnected && receive()) {
          }
          if (state_ != State::kConnected) return true;
          lost(now_us, Status(Code::kUnavailable, "the connection to " + name() + " was lost"));
        } else {
          if (tcp_connected_ && now_us - attempted_us_ >= kPacedUs) {
            lost(now_us, Status(Code::kUnavailable,
                                name() + " admits only a few connections of one key a second, "
                                         "and has too many now"));
            return true;
          }
          const bool sure = ++dropped_ >= kDroppedMax;
          lost(now_us,
               Status(sure ? Code::kPermissionDenied : Code::kUnavailable,
                      "something listens at " + name() + " but does not prove to own the key " +
                          to_z85(order_.peer) +
                          ": the token or address is of another cluster, or another program has "
                          "the port"));
        }
        return true;
      default:
        break;
    }
  }
  return any;
}

// Returns false if the connection cannot be watched. The socket is watched only from here on:
// before the handshake nobody reads what its descriptor signals, and the thread would never sleep.
bool Dial::connected(std::int64_t now_us) {
  const Status watched = shared_.poller.add(socket_.fd(), &socket_ready_);
  if (!watched) {
    lost(now_us, watched);
    return false;
  }
  state_ = State::kConnected;
  backoff_ms_ = kBackoffFirstMs;
  dropped_ = 0;
  if (outlet_->closed) {
    outlet_ = std::make_shared<Outlet>(order_.peer, order_.channel, 0);
  }
  outlet_->connected = true;
  // The listener closes connections that send nothing, and this one may have nothing to send for a
  // long time.
  OutFrame greeting;
  greeting.header.type = wire::kGreeting;
  outlet_->waiting.fetch_add(1, std::memory_order_relaxed);
  outlet_->queue.push_front(shared_.seal(order_.channel, std::move(greeting)));
  shared_.directory.set_dialled(order_.peer, order_.channel, order_.number, outlet_);
  socket_ready_.ready = send_now_ = true;
  if (shared_.handlers.on_connected) shared_.handlers.on_connected(order_.peer, order_.channel);
  return true;
}

void Dial::lost(std::int64_t now_us, Status why, bool final) {
  close_socket();
  state_ = final ? State::kOver : State::kWaiting;
  due_us_ = now_us + with_jitter_us(backoff_ms_);
  backoff_ms_ = std::min(2 * backoff_ms_, kBackoffLastMs);
  // The frames of a lost connection are lost with it: the next connection starts without them.
  outlet_->closed = true;
  outlet_->connected = false;
  outlet_->queue.clear();
  if (final) {
    shared_.directory.end_dial(order_.peer, order_.channel, order_.number);
  } else {
    shared_.directory.set_dialled(order_.peer, order_.channel, order_.number, nullptr);
  }
  if (shared_.handlers.on_disconnected) {
    shared_.handlers.on_disconnected(order_.peer, order_.channel, why);
  }
}

// Returns true if any frame was sent.
bool Dial::send() {
  if (outlet_->queue.empty()) return false;
  const std::size_t before = outlet_->queue.size();
  // The monitor reports a connection that is gone.
  (void)flush(socket_, *outlet_, nullptr, shared_.counters);
  return outlet_->queue.size() != before;
}

bool Dial::send_at_once() {
  if (state_ != State::kConnected) return false;  // frames wait for the handshake
  send_now_ = false;
  (void)send();
  if (!blocked() && !socket_.has_input()) return false;
  socket_ready_.ready = true;  // reading has consumed the signal of an arrival
  return true;
}

bool Dial::receive() {
  // The role of a peer that we dialled and that is not listed: only heads are dialled on the
  // control channel.
  const Role unlisted = order_.channel == Channel::kControl ? Role::kHead : Role::kNode;
  const Source source{order_.peer, order_.channel, unlisted, 0};
  for (int i = 0; i < kReceiveMax; ++i) {
    if (!Parts::receive(socket_, parts_)) {
      socket_ready_.ready = send();
      return i > 0 || socket_ready_.ready;
    }
    Status other_version;
    auto frame = admit(shared_.gate, source, parts_, &other_version);
    if (frame) shared_.deliver(std::move(*frame));
    if (!other_version) {
      lost(monotonic_us(), other_version.with_context(name()), true);
      return true;
    }
  }
  return true;
}

}  // namespace troupe::net::zmq
