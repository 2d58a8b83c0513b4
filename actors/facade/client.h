#pragma once

#include <functional>
#include <memory>

#include <troupe/actors/actors.h>
#include <troupe/actors/link.h>

// A program's connection to a head that runs elsewhere. It has the same service interface as the
// coordinator and translates it to frames. It enrols a key of its own for this one connection,
// under an identity that lasts.

namespace troupe::actors {

struct ClientSetup {
  std::shared_ptr<Link> link;
  net::Token token;
  net::KeyPair identity;  // what the client makes belongs to this key
  bool known = false;     // try to enrol by the identity before the token
  net::Endpoint head;
  bulk_actor bulk;
  // Called once, with the name of the cluster that welcomed us, or with the reason why none did.
  std::function<void(Result<std::string> cluster_name)> on_connected;
};
client_actor spawn_client(caf::actor_system& system, ClientSetup setup);

}  // namespace troupe::actors
