#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include <troupe/runtime/net/zmq/parts.h>

namespace troupe::net::zmq {
namespace {

constexpr std::size_t kAlignment = 64;

// Makes the payload of a part: a small one gets aligned memory of its own, and a large one stays in
// the message that brought it.
Payload take_payload(Message& part) {
  const auto bytes = part.bytes();
  if (bytes.empty()) return {};
  if (bytes.size() >= kSharedBytesMin) {
    auto keep = std::make_shared<const Message>(std::move(part));
    return {keep, keep->bytes()};
  }
  const std::size_t rounded = (bytes.size() + kAlignment - 1) / kAlignment * kAlignment;
  std::shared_ptr<std::byte> copy(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)),
                                  std::free);
  if (!copy) throw std::bad_alloc();
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return {copy, {copy.get(), bytes.size()}};
}

}  // namespace

bool Parts::receive(Socket& socket, Parts& parts) {
  parts.count = 0;
  if (!socket.receive(parts.part[0])) return false;
  parts.count = 1;
  parts.receive_rest(socket, parts.part[0].more());
  return true;
}

void Parts::receive_rest(Socket& socket, bool more) {
  Message surplus;
  while (more) {
    Message& next = count < part.size() ? part[count] : surplus;
    if (!socket.receive(next)) return;
    more = next.more();
    ++count;
  }
}

RawFrame Parts::raw() const {
  RawFrame raw;
  raw.parts = count;
  if (count > 0) raw.header = part[0].bytes();
  if (count > 1) raw.body = part[1].bytes();
  if (count > 2) raw.payload = part[2].bytes();
  return raw;
}

std::optional<InFrame> admit(Gate& gate, const Source& source, Parts& parts,
                             Status* other_version) {
  auto frame = gate.admit(source, parts.raw(), other_version);
  if (frame && parts.count > 2) frame->payload = take_payload(parts.part[2]);
  return frame;
}

}  // namespace troupe::net::zmq
