#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include <troupe/runtime/net/gate.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/net/zmq/socket.h>

namespace troupe::net::zmq {
namespace {

constexpr int kIoThreads = 2;
constexpr int kSocketsMax = 16384;
// The bytes of CURVE's nonce, tag and command name around every part.
constexpr std::int64_t kCurveOverheadBytes = 64;
// A connection that stays silent this long, pings unanswered, is closed. The actors' leases notice
// a stalled machine much earlier; this cleans up after one that lost its power. Two nodes that have
// lost only each other have no lease between them: the channel of their tensors reports the loss.
constexpr int kHeartbeatEveryMs = 1000;
constexpr int kHeartbeatTimeoutMs = 6000;
constexpr int kActivationsTimeoutMs = 3000;
// The bulk channel has no pings. The kernel instead watches for a silent connection and for bytes
// that are not acknowledged.
constexpr int kKeepAliveIdleS = 10;
constexpr int kKeepAliveEveryS = 5;
constexpr int kKeepAliveProbes = 4;
constexpr int kUnacknowledgedMs = 30'000;

void set_option(void* socket, int option, const void* value, std::size_t bytes) {
  const int rc = zmq_setsockopt(socket, option, value, bytes);
  TROUPE_CHECK(rc == 0, "option " + std::to_string(option) + ": " + zmq_strerror(zmq_errno()));
}

}  // namespace

Context::Context() : handle_(zmq_ctx_new()) {
  TROUPE_CHECK(handle_ != nullptr, zmq_strerror(zmq_errno()));
  zmq_ctx_set(handle_, ZMQ_IO_THREADS, kIoThreads);
  zmq_ctx_set(handle_, ZMQ_MAX_SOCKETS, kSocketsMax);
}

Context::~Context() {
  while (zmq_ctx_term(handle_) != 0 && zmq_errno() == EINTR) {
  }
}

Message::Message(std::span<const std::byte> bytes) {
  const int rc = zmq_msg_init_size(&message_, bytes.size());
  TROUPE_CHECK(rc == 0, "no memory for a message of " + std::to_string(bytes.size()) + " bytes");
  if (!bytes.empty()) std::memcpy(zmq_msg_data(&message_), bytes.data(), bytes.size());
}

Message::Message(const Payload& payload) {
  auto* keep = new std::shared_ptr<const void>(payload.keep);
  const auto release = [](void*, void* hint) {
    delete static_cast<std::shared_ptr<const void>*>(hint);
  };
  const int rc = zmq_msg_init_data(&message_, const_cast<std::byte*>(payload.data.data()),
                                   payload.data.size(), release, keep);
  TROUPE_CHECK(rc == 0, "no memory for a message's header");
}

Message::Message(Message&& other) noexcept : Message() { zmq_msg_move(&message_, &other.message_); }

Message& Message::operator=(Message&& other) noexcept {
  if (this != &other) zmq_msg_move(&message_, &other.message_);
  return *this;
}

std::span<const std::byte> Message::bytes() const {
  return {static_cast<const std::byte*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
}

std::string_view Message::text() const {
  return {static_cast<const char*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
}

namespace {

// A ROUTER of ZeroMQ 4.3 numbers its connections from a number that it draws from rand(), which
// nobody seeds, so that the number would be the same in every process. A peer may choose an id of
// the same form, and ZeroMQ aborts when its counter reaches that id. Therefore, while a socket is
// made, rand() draws from a state of our own with a random seed. A program that embeds us keeps its
// own sequence.
class RandomStart {
 public:
  RandomStart() : turn_(mutex()) {
    static char state[128];
    before_ = ::initstate(static_cast<unsigned>(random_u64()), state, sizeof state);
  }
  ~RandomStart() { ::setstate(before_); }
  RandomStart(const RandomStart&) = delete;
  RandomStart& operator=(const RandomStart&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  std::lock_guard<std::mutex> turn_;
  char* before_;
};

}  // namespace

Result<Socket> Socket::open(const Context& context, int type) {
  std::optional<RandomStart> random;
  if (type == ZMQ_ROUTER) random.emplace();
  Socket socket;
  socket.handle_ = zmq_socket(context.get(), type);
  if (socket.handle_ == nullptr) {
    return Status(Code::kResourceExhausted, std::string("cannot open a socket: ") +
                                                zmq_strerror(zmq_errno()) +
                                                "; raise the limit of open files (ulimit -n)");
  }
  socket.set(ZMQ_LINGER, 0);
  return socket;
}

Socket::Socket(Socket&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

void Socket::close() {
  if (handle_ == nullptr) return;
  // This ends the monitor's events. An I/O thread with an event for a monitor that nobody reads any
  // more would wait forever, and every connection of the process with it.
  zmq_socket_monitor(handle_, nullptr, 0);
  zmq_close(std::exchange(handle_, nullptr));
}

void Socket::set(int option, int value) { set_option(handle_, option, &value, sizeof value); }
void Socket::set(int option, std::uint64_t value) {
  set_option(handle_, option, &value, sizeof value);
}
void Socket::set(int option, std::int64_t value) {
  set_option(handle_, option, &value, sizeof value);
}
void Socket::set(int option, std::span<const std::uint8_t> value) {
  set_option(handle_, option, value.data(), value.size());
}
void Socket::set(int option, std::string_view value) {
  set_option(handle_, option, value.data(), value.size());
}

int Socket::fd() const {
  int fd = -1;
  std::size_t bytes = sizeof fd;
  zmq_getsockopt(handle_, ZMQ_FD, &fd, &bytes);
  return fd;
}

bool Socket::has_input() const {
  int events = 0;
  std::size_t bytes = sizeof events;
  return zmq_getsockopt(handle_, ZMQ_EVENTS, &events, &bytes) == 0 && (events & ZMQ_POLLIN) != 0;
}

bool Socket::receive(Message& message) {
  for (;;) {
    if (zmq_msg_recv(message.get(), handle_, ZMQ_DONTWAIT) >= 0) return true;
    if (zmq_errno() != EINTR) return false;
  }
}

int Socket::send(Message& message, bool more) {
  for (;;) {
    if (zmq_msg_send(message.get(), handle_, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0) {
      return 0;
    }
    if (zmq_errno() != EINTR) return zmq_errno();
  }
}

void set_channel_options(Socket& socket, Channel channel, int handshake_timeout_ms) {
  // The number of frames that ZeroMQ holds for a connection, besides our own bounded queues: enough
  // that a burst does not wait for our thread, and few enough that bulk frames cannot pile up
  // before a socket.
  const int frames = channel == Channel::kControl ? 256 : channel == Channel::kBulk ? 4 : 64;
  socket.set(ZMQ_SNDHWM, frames);
  // ZeroMQ 4.3.4 ends the process ("!_io_error") if a connection that it has stopped reading from,
  // because the queue of what it read is full, is closed by the peer while a ping is due. A process
  // that was stopped for some seconds finds exactly this when it continues. (libzmq issues 3937 and
  // 4767.) So a connection has pings, or a queue that can be full, but never both. Control and
  // activations have pings: each of their flows has a bound of its own (leases, credits), and our
  // thread takes frames faster than an I/O thread deciphers them. The bulk channel has a queue,
  // because weights come as fast as a source can send.
  const bool pings = channel != Channel::kBulk;
  socket.set(ZMQ_RCVHWM, pings ? 0 : frames);
  const std::uint64_t part_max = std::max(body_bytes_max(channel), payload_bytes_max(channel));
  socket.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(part_max) + kCurveOverheadBytes);
  socket.set(ZMQ_AFFINITY, channel == Channel::kBulk ? std::uint64_t{2} : std::uint64_t{1});
  socket.set(ZMQ_HANDSHAKE_IVL, handshake_timeout_ms);
  socket.set(ZMQ_TCP_KEEPALIVE, 1);
  if (!pings) {
    socket.set(ZMQ_TCP_KEEPALIVE_IDLE, kKeepAliveIdleS);
    socket.set(ZMQ_TCP_KEEPALIVE_INTVL, kKeepAliveEveryS);
    socket.set(ZMQ_TCP_KEEPALIVE_CNT, kKeepAliveProbes);
    socket.set(ZMQ_TCP_MAXRT, kUnacknowledgedMs);
    return;
  }
  socket.set(ZMQ_HEARTBEAT_IVL, kHeartbeatEveryMs);
  const int silence_ms =
      channel == Channel::kActivations ? kActivationsTimeoutMs : kHeartbeatTimeoutMs;
  socket.set(ZMQ_HEARTBEAT_TIMEOUT, silence_ms);
  socket.set(ZMQ_HEARTBEAT_TTL, silence_ms);
}

std::string tcp_address(Socket& socket, const std::string& address, std::uint16_t port) {
  const bool literal6 = address.find(':') != std::string::npos;
  socket.set(ZMQ_IPV6, literal6 ? 1 : 0);
  std::string text = "tcp://";
  text += to_string(Endpoint{address, port});
  return text;
}

}  // namespace troupe::net::zmq
