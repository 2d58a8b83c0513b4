#include <troupe/actors/coordinator/client_records.h>
#include <troupe/actors/coordinator/peers.h>

namespace troupe::actors::coordinator {

Client& client_of(HeadState& head, const net::PublicKey& key) {
  Client& client = head.clients[key];
  if (!client.session) {
    client.session = spawn_session(head.self->system(), head.setup->link, key, client.names);
  }
  return client;
}

void forget_client(HeadState& head, const net::PublicKey& key) {
  const auto found = head.clients.find(key);
  if (found == head.clients.end()) return;
  head.self->send_exit(found->second.session, caf::exit_reason::user_shutdown);
  head.clients.erase(found);
  head.owners->forget(key);
  head.cluster.deployments.forget_source(key);
  // A client's key is made for one connection. The nodes that the client served know the key, too.
  if (head.setup->link->transport()) head.setup->link->transport()->revoke(key);
  for (const NodeRecord* node : head.cluster.members.all()) {
    if (node->alive() && node->key != head.own_key()) {
      send(head, node->key, MessageType::kForgetPeers, ForgetPeers{{key}});
    }
  }
}

void forget_absent_clients(HeadState& head, std::int64_t now_us) {
  std::vector<net::PublicKey> absent;
  for (const auto& [key, client] : head.clients) {
    if (client.hello_until_us && *client.hello_until_us <= now_us) absent.push_back(key);
  }
  for (const net::PublicKey& key : absent) forget_client(head, key);
}

}  // namespace troupe::actors::coordinator
