#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/net/zmq/listener.h>
#include <troupe/runtime/net/zmq/zap.h>

namespace troupe::net::zmq {
namespace {

// Returns the number of messages taken in one turn, which is bounded so that no channel delays the
// others.
int receive_max(Channel channel) {
  return channel == Channel::kControl ? 256 : channel == Channel::kBulk ? 8 : 64;
}
// A routing id that the ROUTER made itself: a zero byte and a number of four bytes.
constexpr std::size_t kRoutingIdBytes = 5;
// ZMQ_ZAP_ENFORCE_DOMAIN, which zmq.h shows only to users of draft options: without a handler,
// nobody may connect.
constexpr int kZapEnforceDomain = 93;

// The time that a connection has for its first frame, after the handshake. A connection whose key
// was revoked has the same time, because the key may be allowed again.
constexpr std::int64_t kSilentUs = 1'000'000;

// Returns the kernel's number of a socket, which no other socket ever has; 0 if the descriptor is
// not a socket.
std::uint64_t cookie_of(int fd) {
  std::uint64_t cookie = 0;
  socklen_t bytes = sizeof cookie;
  if (::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &bytes) != 0) return 0;
  return cookie;
}

// Ends a connection that ZeroMQ cannot be asked to end. In the meantime, its descriptor may have
// been closed and given to another socket. That cannot happen to a duplicate of the descriptor, and
// the cookie shows whether the duplicate is the right socket.
bool end_connection(int fd, std::uint64_t cookie) {
  const int held = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (held < 0) return false;
  const bool same = cookie != 0 && cookie_of(held) == cookie;
  if (same) ::shutdown(held, SHUT_RDWR);
  ::close(held);
  return same;
}

// Returns the number in a routing id that a ROUTER made: a zero, then 32 bits, big-endian.
std::optional<std::uint32_t> number_of(std::string_view id) {
  if (id.size() != kRoutingIdBytes || id[0] != 0) return std::nullopt;
  std::uint32_t number = 0;
  for (const char byte : id.substr(1)) number = number << 8 | static_cast<std::uint8_t>(byte);
  return number;
}

Status bind_error(const std::string& at, int error) {
  const std::string prefix = "cannot listen on " + at + ": ";
  switch (error) {
    case EADDRINUSE:
      return Status(Code::kAlreadyExists, prefix +
                                              "the port is in use; choose another one (three "
                                              "in a row are needed) or stop its user");
    case EADDRNOTAVAIL:
    case ENODEV:
      // The machine may have the address soon: its interface may come up late, or its lease may not
      // be there yet.
      return Status(Code::kUnavailable, prefix + "this machine has no such address at this moment");
    case EACCES:
      return Status(Code::kPermissionDenied, prefix + "not permitted; choose a port from 1024 on");
    default:
      return Status(Code::kInternal, prefix + zmq_strerror(error));
  }
}

}  // namespace

Listener::~Listener() {
  if (socket_.is_open()) shared_.poller.remove(socket_.fd());
  if (monitor_.is_open()) shared_.poller.remove(monitor_.fd());
  socket_.close();  // before its monitor
}

Status Listener::open(Channel channel, const std::string& address, std::uint16_t port) {
  channel_ = channel;
  TROUPE_ASSIGN_OR_RETURN(Socket socket, Socket::open(shared_.context, ZMQ_ROUTER));
  set_channel_options(socket, channel, shared_.options.handshake_timeout_ms);
  socket.set(ZMQ_ROUTER_MANDATORY, 1);
  socket.set(ZMQ_CURVE_SERVER, 1);
  socket.set(ZMQ_CURVE_SECRETKEY, std::span(shared_.options.identity.secret_key));
  socket.set(ZMQ_ZAP_DOMAIN, std::string_view(kZapDomain));
  socket.set(kZapEnforceDomain, 1);
  TROUPE_RETURN_IF_ERROR(learn_first_id(socket));
  TROUPE_ASSIGN_OR_RETURN(Monitor monitor, Monitor::watch(shared_.context, socket));
  const std::string at = tcp_address(socket, address, port);
  if (zmq_bind(socket.get(), at.c_str()) != 0) {
    const int error = zmq_errno();
    return bind_error(to_string(Endpoint{address, port}), error);
  }
  socket_ = std::move(socket);
  monitor_ = std::move(monitor);
  TROUPE_RETURN_IF_ERROR(shared_.poller.add(socket_.fd(), &socket_ready_));
  return shared_.poller.add(monitor_.fd(), &monitor_ready_);
}

// Learns the number with which the ROUTER begins. It numbers its connections one after the other,
// and the first one, which is ours, shows the number. With it, ids that the ROUTER made can be told
// from ids that a peer chose.
Status Listener::learn_first_id(Socket& router) {
  static std::atomic<std::uint64_t> counter{0};
  const std::string at = "inproc://troupe.listener." + std::to_string(counter++);
  TROUPE_ASSIGN_OR_RETURN(Socket probe, Socket::open(shared_.context, ZMQ_DEALER));
  Message nothing, id, rest;
  const bool asked = zmq_bind(router.get(), at.c_str()) == 0 &&
                     zmq_connect(probe.get(), at.c_str()) == 0 && probe.send(nothing, false) == 0;
  std::optional<std::uint32_t> number;
  if (asked && router.receive(id) && router.receive(rest)) number = number_of(id.text());
  if (!number) {
    return Status(Code::kInternal, std::string("cannot learn how ZeroMQ numbers connections: ") +
                                       zmq_strerror(zmq_errno()));
  }
  first_id_ = *number + 1;
  zmq_unbind(router.get(), at.c_str());
  return Status::ok();
}

bool Listener::is_own_id(const std::string& id) {
  const auto number = number_of(id);
  if (!number) return false;
  drain_monitor();  // so that the connection's arrival is counted
  return *number - first_id_ < accepted_;
}

bool Listener::work(std::int64_t now_us) {
  bool any = false;
  if (monitor_ready_.ready) any |= drain_monitor();
  if (send_now_) {
    send_now_ = false;
    send_waiting();
    // Sending may have consumed the signal of an arrival.
    socket_ready_.ready = any = true;
  }
  if (socket_ready_.ready) any |= receive();
  if (!closed_.empty() && !socket_ready_.ready) finish_closed();
  close_silent(now_us);
  return any;
}

std::optional<std::int64_t> Listener::due_us() const {
  if (silent_.empty()) return std::nullopt;
  return silent_.begin()->first;
}

void Listener::spoke(int fd) {
  if (const auto found = open_fds_.find(fd); found != open_fds_.end()) found->second.spoke = true;
}

void Listener::must_speak(int fd, std::int64_t until_us) {
  const auto found = open_fds_.find(fd);
  if (found == open_fds_.end()) return;
  found->second.spoke = false;
  silent_.emplace(until_us, Silent{fd, found->second.cookie});
}

void Listener::close_silent(std::int64_t now_us) {
  if (silent_.empty() || now_us < silent_.begin()->first) return;
  drain_monitor();  // the descriptor may belong to another connection by now
  while (!silent_.empty() && silent_.begin()->first <= now_us) {
    const auto [fd, cookie] = silent_.begin()->second;
    silent_.erase(silent_.begin());
    const auto found = open_fds_.find(fd);
    if (found == open_fds_.end() || found->second.spoke || found->second.cookie != cookie) continue;
    if (end_connection(fd, cookie)) {
      shared_.counters.add(shared_.counters.closed_silent);
    }
  }
}

bool Listener::drain_monitor() {
  monitor_ready_.ready = false;
  bool any = false;
  while (const auto event = monitor_.next()) {
    any = true;
    const int fd = static_cast<int>(event->value);
    if (event->event == ZMQ_EVENT_ACCEPTED) {
      ++accepted_;
      open_fds_[fd] = {cookie_of(fd), false};
      must_speak(fd, monotonic_us() + kSilentUs +
                         std::int64_t{shared_.options.handshake_timeout_ms} * 1000);
    }
    // A refused key is another event, which the ZAP server counts.
    if (event->event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL ||
        event->event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) {
      count_unproven();
    }
    if (event->event == ZMQ_EVENT_DISCONNECTED && open_fds_.erase(fd) != 0) {
      if (auto speaker = speakers_.extract(fd)) {
        closed_.push_back(speaker.mapped());
        socket_ready_.ready = true;  // the frames that the peer still sent come first
      }
    }
  }
  return any;
}

// Logs at most one line a second, whatever the number of connections.
void Listener::count_unproven() {
  shared_.counters.add(shared_.counters.closed_unproven);
  ++unproven_closed_;
  const std::int64_t now_us = monotonic_us();
  if (now_us - unproven_logged_us_ < 1'000'000) return;
  unproven_logged_us_ = now_us;
  log(LogLevel::kWarning, "closed " + std::to_string(std::exchange(unproven_closed_, 0)) +
                              " connections to the " + channel_name(channel_) +
                              " port that proved no key: they said nothing in time, or something "
                              "else than Troupe does");
}

bool Listener::receive() {
  for (int i = 0; i < receive_max(channel_); ++i) {
    if (!socket_.receive(id_)) {
      // A connection whose queue has room again announces itself like a message.
      socket_ready_.ready = send_waiting();
      return i > 0 || socket_ready_.ready;
    }
    parts_.count = 0;
    parts_.receive_rest(socket_, id_.more());
    take(std::string(id_.text()));
  }
  return true;
}

void Listener::take(const std::string& id) {
  const char* property = parts_.count > 0 ? parts_.part[0].property("User-Id") : nullptr;
  const std::string_view user = property != nullptr ? property : "";
  auto known = connections_.find(id);
  if (known != connections_.end() && known->second.user != user) {
    close(id);  // the connection ended, and its id was given to another one before we heard of that
    known = connections_.end();
  }
  const int fd = parts_.part[0].source_fd();
  Source source{{}, channel_, std::nullopt, 0};
  if (known != connections_.end()) {
    source.peer = known->second.outlet->peer;
    source.incarnation = known->second.outlet->incarnation;
  } else {
    const Result<PublicKey> peer = key_from_z85(std::string(user.substr(0, 40)));
    if (!peer || !is_own_id(id)) {
      // The message has an id of the peer's own choosing, or no parts at all.
      shared_.counters.add(shared_.counters.rejected_header);
      if (const auto found = open_fds_.find(fd); found != open_fds_.end()) {
        end_connection(fd, found->second.cookie);
      }
      return;
    }
    source.peer = *peer;
  }
  Status other_version;
  const bool notice =
      parts_.count > 0 && wire::type_of_any_version(parts_.part[0].bytes()) == wire::kVersionNotice;
  std::optional<InFrame> frame = admit(shared_.gate, source, parts_, &other_version);
  if (!other_version && !notice) tell_version(id);
  if (!frame) return;
  if (frame->header.type == wire::kGreeting) return spoke(fd);
  OutletPtr outlet;
  if (known != connections_.end()) {
    outlet = known->second.outlet;
  } else {
    outlet = std::make_shared<Outlet>(source.peer, channel_, frame->header.incarnation);
    outlet->connected = true;
    const char* from =
        channel_ == Channel::kControl ? parts_.part[0].property("Peer-Address") : nullptr;
    known = connections_
                .emplace(id, Connection{outlet, std::string(user), fd, from != nullptr ? from : "",
                                        false})
                .first;
    ids_.emplace(outlet.get(), id);
    drain_monitor();  // the connection's arrival may not have been handled yet
    spoke(fd);
    if (open_fds_.contains(fd)) {
      speakers_[fd] = id;
    } else {
      closed_.push_back(id);  // the connection spoke and left before this
    }
  }
  if (spoke_last_ != outlet.get() || forgotten_ != shared_.directory.forgotten()) {
    spoke_last_ = outlet.get();
    forgotten_ = shared_.directory.forgotten();
    shared_.directory.spoke(outlet);
  }
  frame->address = known->second.address;
  shared_.deliver(std::move(*frame));
}

// Tells a peer our version. The peer needs only a header of our version to report the mismatch. If
// the header cannot be sent now, it is left out, since the peer will speak again.
void Listener::tell_version(const std::string& id) {
  wire::Header header;
  header.version = shared_.options.version;
  header.type = wire::kVersionNotice;
  header.incarnation = shared_.options.incarnation;
  const auto sealed = wire::seal(header, {}, {});
  Message to{std::string_view(id)}, what{std::span<const std::byte>(sealed)};
  if (socket_.send(to, true) == 0) (void)socket_.send(what, false);
  socket_ready_.ready = true;  // sending may have consumed the signal of an arrival
}

void Listener::enqueue(const OutletPtr& outlet) {
  const auto id = ids_.find(outlet.get());
  if (id == ids_.end()) return;
  send_now_ = true;
  Connection& connection = connections_.at(id->second);
  if (connection.waits) return;
  connection.waits = true;
  waiting_.push_back(id->second);
}

// Sends the frames that have room. Returns true if any was sent.
bool Listener::send_waiting() {
  if (waiting_.empty()) return false;
  bool any = false;
  std::vector<std::string> again;
  for (std::string& id : std::exchange(waiting_, {})) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    Connection& connection = found->second;
    const std::size_t before = connection.outlet->queue.size();
    const Flushed flushed = flush(socket_, *connection.outlet, &id, shared_.counters);
    any |= connection.outlet->queue.size() != before;
    if (flushed == Flushed::kBlocked) {
      again.push_back(std::move(id));
      continue;
    }
    connection.waits = false;
    if (flushed == Flushed::kGone) {
      speakers_.erase(connection.fd);
      closed_.push_back(id);
    }
  }
  waiting_ = std::move(again);
  return any;
}

bool Listener::send_at_once() {
  send_now_ = false;
  send_waiting();
  if (!blocked() && closed_.empty() && !socket_.has_input()) return false;
  socket_ready_.ready = true;  // reading has consumed the signal of an arrival
  return true;
}

void Listener::finish_closed() {
  for (const std::string& id : std::exchange(closed_, {})) close(id);
}

void Listener::close(const std::string& id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const OutletPtr outlet = found->second.outlet;
  outlet->closed = true;
  outlet->queue.clear();
  if (spoke_last_ == outlet.get()) spoke_last_ = nullptr;
  ids_.erase(outlet.get());
  connections_.erase(found);
  if (shared_.directory.left(outlet) && shared_.handlers.on_peer_left) {
    shared_.handlers.on_peer_left(outlet->peer, channel_);
  }
}

void Listener::revoke(const PublicKey& peer, std::int64_t now_us) {
  for (auto it = connections_.begin(); it != connections_.end();) {
    const OutletPtr outlet = it->second.outlet;
    if (outlet->peer != peer) {
      ++it;
      continue;
    }
    // The connection is closed a little later, unless its key is allowed again and it speaks. Until
    // then its frames are dropped.
    must_speak(it->second.fd, now_us + kSilentUs);
    outlet->closed = true;
    outlet->queue.clear();
    if (spoke_last_ == outlet.get()) spoke_last_ = nullptr;
    shared_.directory.left(outlet);
    speakers_.erase(it->second.fd);
    ids_.erase(outlet.get());
    it = connections_.erase(it);
  }
}

}  // namespace troupe::net::zmq
