#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <troupe/actors/coordinator/head_state.h>

// Finds out whether the nodes can be dialled. A node dials its head, so that it can also join from
// behind a firewall or a NAT; but the engine and the previous stage dial the node. Therefore the
// head dials a node back when it says Hello, before it welcomes the node. A node that cannot be
// reached is a member without layers until an attempt succeeds; the transport keeps trying.

namespace troupe::actors::coordinator {

// A Hello that waited until the head had tried to dial the node.
struct DialledBack {
  net::PublicKey node{};
  std::uint64_t incarnation = 0;
  Hello hello;
  std::string unreachable;  // why it cannot be dialled; "" if it can
};

// Returns nothing if the Hello waits until the head has reached the node or failed to. Otherwise
// returns why the node cannot be dialled, or "" if the head is connected to it already.
std::optional<std::string> dial_back(HeadState& head, const net::PublicKey& node,
                                     std::uint64_t incarnation, const Hello& hello);
// Called when the head's connection to a node's activations channel has opened or was lost, or an
// attempt failed. The caller admits the nodes that these functions and check_reach() return.
std::optional<DialledBack> on_reached(HeadState& head, const net::PublicKey& node);
std::optional<DialledBack> on_not_reached(HeadState& head, const net::PublicKey& node,
                                          const Status& why, bool was_connected);
// Logs that the head cannot reach a member, and why.
void say_unreachable(HeadState& head, const net::PublicKey& node, const std::string& why);
// Called when the node's connection to the head has closed.
void forget_hello(HeadState& head, const net::PublicKey& node);
// Called regularly. Dials again the nodes whose dial was ended by a refusal, and stops dialling
// nodes that are gone.
std::vector<DialledBack> check_reach(HeadState& head);

}  // namespace troupe::actors::coordinator
