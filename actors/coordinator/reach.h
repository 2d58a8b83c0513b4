#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <troupe/actors/coordinator/head_state.h>

// Whether the nodes can be dialled. A node dials its head, so that it joins from behind a firewall
// or a NAT, too; but the engine, and the stage before, dial the node. So the head dials a node back
// when it says Hello, before it welcomes it. A node that it cannot reach is a member without layers
// until an attempt succeeds; the transport goes on trying.

namespace troupe::actors::coordinator {

// A Hello that waited until the head had tried to dial the node.
struct DialledBack {
  net::PublicKey node{};
  std::uint64_t incarnation = 0;
  Hello hello;
  std::string unreachable;  // why it cannot be dialled; "" if it can
};

// Nothing if the Hello waits until the head has reached the node, or failed to. Else why it cannot
// be dialled, or "" if the head is connected to it already.
std::optional<std::string> dial_back(HeadState& head, const net::PublicKey& node,
                                     std::uint64_t incarnation, const Hello& hello);
// The head's connection to a node's activations channel opened, or was lost, or an attempt failed.
// What they and check_reach() return is to be admitted.
std::optional<DialledBack> on_reached(HeadState& head, const net::PublicKey& node);
std::optional<DialledBack> on_not_reached(HeadState& head, const net::PublicKey& node,
                                          const Status& why, bool was_connected);
// Logs that the head cannot reach a member, and why.
void say_unreachable(const HeadState& head, const net::PublicKey& node, const std::string& why);
// The node's connection to the head closed.
void forget_hello(HeadState& head, const net::PublicKey& node);
// Called regularly. Dials again what a refusal ended, and no longer what is gone.
std::vector<DialledBack> check_reach(HeadState& head);

}  // namespace troupe::actors::coordinator
