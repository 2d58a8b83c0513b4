#include <chrono>
#include <future>

#include <troupe/actors/facade/client.h>
#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/actors/facade/home.h>
#include <troupe/actors/facade/remote_cluster.h>
#include <troupe/runtime/file.h>

namespace troupe::actors {
namespace {

// TOKEN@HOST:PORT, or HOST:PORT with the key file that a head of this user left on this machine.
Status find_token(const std::string& text, net::Token* token, net::Endpoint* endpoint) {
  const std::size_t at = text.rfind('@');
  std::string address = at == std::string::npos ? text : text.substr(at + 1);
  std::string token_text = at == std::string::npos ? std::string() : text.substr(0, at);
  TROUPE_ASSIGN_OR_RETURN(*endpoint, net::parse_endpoint(address));
  if (token_text.empty()) {
    TROUPE_ASSIGN_OR_RETURN(const auto path, client_key_path(endpoint->port));
    const auto content = read_file(path, 4096);
    if (!content) {
      return Status(Code::kUnavailable,
                    "no head of this user listens on port " + std::to_string(endpoint->port) +
                        " of this machine (there is no " + path.string() +
                        "); start one with 'troupe start --head', or give TOKEN@" + address +
                        " as the head printed it");
    }
    std::string line = *content;
    while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
    token_text = line.substr(0, line.rfind('@'));
  }
  TROUPE_ASSIGN_OR_RETURN(*token, net::parse_token(token_text));
  return Status::ok();
}

Result<service_actor> start_client(Process& process, const ConnectOptions& options,
                                   std::string* description) {
  ClientSetup client;
  TROUPE_RETURN_IF_ERROR(find_token(options.cluster, &client.token, &client.head));
  net::TransportOptions transport;
  // A key for this one connection: two programs of one user are two peers.
  transport.identity = net::make_key_pair();
  transport.cluster = client.token.cluster;
  transport.incarnation = net::random_u64();
  TROUPE_ASSIGN_OR_RETURN(process.link, Link::open(transport));
  process.open_bulk();
  client.link = process.link;
  client.bulk = process.bulk;
  const auto connected = std::make_shared<std::promise<Result<std::string>>>();
  client.on_connected = [connected](Result<std::string> name) {
    connected->set_value(std::move(name));
  };
  const net::Endpoint endpoint = client.head;
  // Attached before it dials: the actor's first act needs its events.
  const auto handle = process.track(spawn_client(process.system(), std::move(client)));
  process.link->attach(Room::kClient, handle);
  caf::anon_send(handle, join_atom::value);
  auto future = connected->get_future();
  if (future.wait_for(std::chrono::milliseconds(options.timeout_ms)) != std::future_status::ready) {
    return Status(Code::kUnavailable,
                  "no head answered at " + net::to_string(endpoint) + " within " +
                      std::to_string(options.timeout_ms) +
                      " ms; check the address, and that 'troupe start --head' runs there");
  }
  const Result<std::string> name = future.get();
  if (!name) return name.status();
  *description = "cluster " + *name + " at " + net::to_string(endpoint);
  return service_actor(handle);
}

}  // namespace

Result<Cluster> make_client_cluster(const ConnectOptions& options, caf::actor_system* system) {
  auto impl = std::make_unique<Cluster::Impl>();
  TROUPE_ASSIGN_OR_RETURN(impl->process, Process::open(options.home, system));
  TROUPE_ASSIGN_OR_RETURN(impl->service, start_client(*impl->process, options, &impl->description));
  impl->bulk = impl->process->bulk;
  impl->local = false;
  impl->options = options;
  return Cluster(std::move(impl));
}

}  // namespace troupe::actors
