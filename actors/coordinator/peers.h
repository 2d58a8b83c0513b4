#pragma once

#include <vector>

#include <troupe/actors/coordinator/head_state.h>
#include <troupe/runtime/log.h>

// The processes that the head sends messages to, and how they find each other.

namespace troupe::actors::coordinator {

// Sends a message to a node or client. A failure is only logged.
template <class Message>
void send(const HeadState& head, const net::PublicKey& peer, MessageType type,
          const Message& message, std::uint64_t epoch = 0) {
  const Status sent = head.setup->link->send(peer, type, message, epoch);
  if (!sent) log(LogLevel::kWarning, "cannot reach a node: " + sent.message());
}

PeerAddress address_of(const HeadState& head, const net::PublicKey& key);

// Returns the nodes that may fetch parts of a model: those with layers of it in any of its
// deployments, and those that are to have copies.
std::vector<net::PublicKey> fetchers_of(const HeadState& head, const std::string& model);

// Returns the nodes and clients that `node` can fetch these layers from: full copies first, then
// partial ones.
std::vector<PeerAddress> sources_of(const HeadState& head, const Deployment& deployment,
                                    model::LayerRange layers, const net::PublicKey& node);

}  // namespace troupe::actors::coordinator
