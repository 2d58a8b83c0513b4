#include <array>
#include <cstring>

#include <troupe/runtime/clock.h>
#include <troupe/runtime/net/zmq/zap.h>

namespace troupe::net::zmq {

Result<ZapServer> ZapServer::open(const Context& context) {
  ZapServer server;
  TROUPE_ASSIGN_OR_RETURN(server.socket_, Socket::open(context, ZMQ_REP));
  // Its clients are our own I/O threads, one question a handshake: no bound that could block them.
  server.socket_.set(ZMQ_RCVHWM, 0);
  server.socket_.set(ZMQ_SNDHWM, 0);
  if (zmq_bind(server.socket_.get(), "inproc://zeromq.zap.01") != 0) {
    return Status(Code::kInternal,
                  std::string("cannot serve authentication: ") + zmq_strerror(zmq_errno()));
  }
  return server;
}

bool ZapServer::serve(const AllowList& allowed, AtomicCounters& counters) {
  bool any = false;
  // Parts: version, request id, domain, address, identity, mechanism, then CURVE's client key.
  std::array<Message, 7> parts;
  while (socket_.receive(parts[0])) {
    any = true;
    std::size_t count = 1;
    bool more = parts[0].more();
    Message surplus;
    while (more) {
      Message& part = count < parts.size() ? parts[count] : surplus;
      if (!socket_.receive(part)) break;
      more = part.more();
      ++count;
    }
    PublicKey key{};
    bool granted = false;
    if (count == parts.size() && parts[0].text() == "1.0" && parts[2].text() == kZapDomain &&
        parts[5].text() == "CURVE" && parts[6].bytes().size() == key.size()) {
      std::memcpy(key.data(), parts[6].bytes().data(), key.size());
      granted = allowed.role(key).has_value();
    }
    if (!granted) {
      counters.add(counters.refused_keys);
      const std::int64_t now = monotonic_us() / 1000;
      if (now - logged_ms_ >= 1000) {
        logged_ms_ = now;
        log(LogLevel::kWarning, "refused a connection from " +
                                    std::string(count > 3 ? parts[3].text() : "?") + ": its key " +
                                    to_z85(key) + " is not allowed here");
      }
    }
    const std::string request(count > 1 ? parts[1].text() : "");
    const std::string reply[] = {"1.0",
                                 request,
                                 granted ? "200" : "400",
                                 granted ? "" : "this key is not allowed here",
                                 granted ? to_z85(key) : "",
                                 ""};
    for (std::size_t i = 0; i < std::size(reply); ++i) {
      Message part(reply[i]);
      if (socket_.send(part, i + 1 < std::size(reply)) != 0) break;
    }
  }
  return any;
}

}  // namespace troupe::net::zmq
