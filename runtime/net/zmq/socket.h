#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <zmq.h>

#include <troupe/runtime/net/transport.h>

// ZeroMQ's handles as C++ objects: context, socket, message. Only the transport's thread uses a
// Socket; a Message may be destroyed on any thread. Nothing here blocks.

namespace troupe::net::zmq {

// Payloads below this size are copied into ZeroMQ's messages on the way out and into aligned memory
// on the way in; larger ones are shared on the way out and stay in their message on the way in.
constexpr std::size_t kSharedBytesMin = 64u << 10;

class Context {
 public:
  // Makes two I/O threads: the first for control and activations, the second for bulk.
  Context();
  ~Context();  // waits until all of its sockets are closed
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  void* get() const { return handle_; }

 private:
  void* handle_;
};

class Message {
 public:
  Message() { zmq_msg_init(&message_); }
  explicit Message(std::span<const std::byte> bytes);  // copies
  explicit Message(std::string_view text) : Message(std::as_bytes(std::span(text))) {}
  explicit Message(const Payload& payload);  // shares; ZeroMQ releases `keep`
  ~Message() { zmq_msg_close(&message_); }
  Message(Message&& other) noexcept;
  Message& operator=(Message&& other) noexcept;

  std::span<const std::byte> bytes() const;
  std::string_view text() const;
  bool more() const { return zmq_msg_more(&message_) != 0; }
  const char* property(const char* name) { return zmq_msg_gets(&message_, name); }
  // Returns the TCP connection's descriptor, or -1 if it is not known.
  int source_fd() { return zmq_msg_get(&message_, ZMQ_SRCFD); }
  zmq_msg_t* get() { return &message_; }

 private:
  mutable zmq_msg_t message_;
};

class Socket {
 public:
  Socket() = default;
  // Opens a socket with a linger of 0. A ROUTER's own routing ids begin at a random number. Errors:
  // kResourceExhausted if descriptors run out.
  static Result<Socket> open(const Context& context, int type);
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() { close(); }
  void close();
  bool is_open() const { return handle_ != nullptr; }
  void* get() const { return handle_; }

  // Sets an option. Those that we set are always valid: a refusal is a broken invariant.
  void set(int option, int value);
  void set(int option, std::uint64_t value);
  void set(int option, std::int64_t value);
  void set(int option, std::span<const std::uint8_t> value);
  void set(int option, std::string_view value);
  int fd() const;  // readable when the socket has commands to look at

  // True if there is something to receive. Consumes the signal that fd() gave.
  bool has_input() const;
  // Returns false if there is nothing, or the socket has ended.
  bool receive(Message& message);
  // Returns 0 or errno (EAGAIN: the queue is full). A message that was sent is empty afterwards.
  int send(Message& message, bool more);

 private:
  void* handle_ = nullptr;
};

// Sets what both ends of a channel have in common: bounds, heartbeats, keep-alive, I/O thread.
void set_channel_options(Socket& socket, Channel channel, int handshake_timeout_ms);
// Connects to an address such as "tcp://127.0.0.1:7700"; sets IPv6 on the socket if the address
// needs it.
std::string tcp_address(Socket& socket, const std::string& address, std::uint16_t port);

}  // namespace troupe::net::zmq
