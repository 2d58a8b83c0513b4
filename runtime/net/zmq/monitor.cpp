#include <atomic>
#include <cstring>
#include <string>

#include <troupe/runtime/net/zmq/monitor.h>

namespace troupe::net::zmq {

Result<Monitor> Monitor::watch(const Context& context, Socket& watched) {
  static std::atomic<std::uint64_t> counter{0};
  const std::string address = "inproc://troupe.monitor." + std::to_string(counter++);
  TROUPE_ASSIGN_OR_RETURN(Socket socket, Socket::open(context, ZMQ_PAIR));
  // The queue is unbounded: an I/O thread that found it full would wait for our thread.
  socket.set(ZMQ_RCVHWM, 0);
  constexpr int kEvents = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_ACCEPTED |
                          ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                          ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                          ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
  if (zmq_socket_monitor(watched.get(), address.c_str(), kEvents) != 0 ||
      zmq_connect(socket.get(), address.c_str()) != 0) {
    return Status(Code::kResourceExhausted,
                  std::string("cannot watch a socket: ") + zmq_strerror(zmq_errno()));
  }
  Monitor monitor;
  monitor.socket_ = std::move(socket);
  return monitor;
}

std::optional<MonitorEvent> Monitor::next() {
  if (!socket_.is_open()) return std::nullopt;
  Message event, address;
  if (!socket_.receive(event)) return std::nullopt;
  if (event.more()) socket_.receive(address);
  MonitorEvent result;
  const auto bytes = event.bytes();
  std::uint16_t number = 0;
  if (bytes.size() < sizeof number + sizeof result.value) return result;
  std::memcpy(&number, bytes.data(), sizeof number);
  std::memcpy(&result.value, bytes.data() + sizeof number, sizeof result.value);
  result.event = number;
  return result;
}

}  // namespace troupe::net::zmq
