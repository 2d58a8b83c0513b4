#pragma once

#include <cstdint>
#include <string>

#include <troupe/actors/messages/types.h>
#include <troupe/actors/troupe.h>
#include <troupe/runtime/wire/codec.h>
#include <troupe/tests/actors/temporary_home.h>
#include <troupe/tests/runtime/net/zmq/harness.h>

// A head made by a test, which sends what a real one would not.

namespace troupe::actors::test {

// A bare transport with a head's key, which lets newcomers connect and answers nothing by itself.
struct BareHead : net::test::Peer {
  explicit BareHead(std::uint16_t version = wire::kProtocolVersion)
      : BareHead(options_of(version)) {}
  explicit BareHead(const net::test::PeerOptions& options) : Peer(options) {
    transport->allow(net::enrolment_key_pair(token).public_key, net::Role::kEnrol);
  }
  static net::test::PeerOptions options_of(std::uint16_t version) {
    net::test::PeerOptions options;
    options.version = version;
    return options;
  }
  // Returns the setup of a node that joins this head.
  DaemonOptions joining(const TemporaryHome& home) const {
    DaemonOptions node;
    node.home = home.path;
    node.join = join;
    node.listen = net::test::free_endpoint();
    return node;
  }

  const net::Token token{77, key, {1, 2, 3}};
  const std::string join = net::to_text(token) + "@" + net::to_string(endpoint);
};

template <class Message>
net::OutFrame frame_of(MessageType type, const Message& message) {
  net::OutFrame frame;
  frame.header.type = static_cast<std::uint16_t>(type);
  frame.body = wire::encode(message);
  return frame;
}

}  // namespace troupe::actors::test
