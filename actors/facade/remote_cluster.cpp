#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

#include <troupe/actors/facade/client.h>
#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/actors/facade/home.h>
#include <troupe/actors/facade/key_search.h>
#include <troupe/actors/facade/local_key.h>
#include <troupe/actors/facade/remote_cluster.h>
#include <troupe/actors/troupe/daemon.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::actors {
namespace {

// The pause with which a client that has no key, or a refused one, looks for a newer key.
constexpr std::chrono::milliseconds kLookAgain{100};

struct HeadAddress {
  net::Token token;
  net::Endpoint endpoint;
  // True if the token was found in a file that a head of this user left on this machine.
  bool from_file = false;
};

// Finds the head from TOKEN@HOST:PORT, or from HOST:PORT and the file of a head of this user.
Result<HeadAddress> find_head(const ConnectOptions& options) {
  const std::size_t at = options.cluster.rfind('@');
  const std::string address =
      at == std::string::npos ? options.cluster : options.cluster.substr(at + 1);
  std::string token = at == std::string::npos ? "" : options.cluster.substr(0, at);
  HeadAddress head;
  TROUPE_ASSIGN_OR_RETURN(head.endpoint, net::parse_endpoint(address));
  head.from_file = token.empty();
  if (head.from_file) {
    const auto found = find_local_token(resolve_home(options.home), head.endpoint.port);
    if (!found) {
      return Status(Code::kUnavailable,
                    found.message() +
                        "; start a head with 'troupe start --head', name the home of the one that "
                        "runs with --home DIR, or give TOKEN@" +
                        address + " as it printed it");
    }
    token = *found;
  }
  TROUPE_ASSIGN_OR_RETURN(head.token, net::parse_token(token));
  return head;
}

// The times until which a client waits: for a head that gives no sign of life, and for one that
// accepts the connection but does not answer.
struct Patience {
  std::chrono::steady_clock::time_point absent, busy;
};

Status no_answer(const net::Endpoint& head, const ConnectOptions& options, bool reached) {
  if (reached)
    return Status(
        Code::kUnavailable,
        "the head at " + net::to_string(head) + " accepted the connection but did not " +
            "answer within " + std::to_string(options.busy_timeout_ms) +
            " ms: it is too busy, or it hangs; 'troupe doctor' on its machine tells more");
  return Status(Code::kUnavailable,
                "no head answered at " + net::to_string(head) + " within " +
                    std::to_string(options.timeout_ms) +
                    " ms; check the address, and that 'troupe start --head' runs there");
}

Result<service_actor> start_client(Process& process, const ConnectOptions& options,
                                   const HeadAddress& head, const Patience& patience,
                                   std::string* description) {
  ClientSetup client;
  client.token = head.token;
  client.head = head.endpoint;
  // Clients of this user on this machine enrol with the local token, which is always there.
  client.known = !head.from_file;
  TROUPE_ASSIGN_OR_RETURN(client.identity, client_identity(resolve_home(options.home)));
  net::TransportOptions transport;
  // The key is made for this one connection: two programs of one user are two peers.
  transport.identity = net::make_key_pair();
  transport.cluster = client.token.cluster;
  transport.incarnation = net::random_u64();
  TROUPE_ASSIGN_OR_RETURN(process.link, Link::open(transport));
  process.open_bulk(false);
  client.link = process.link;
  client.bulk = process.bulk;
  const auto connected = std::make_shared<std::promise<Result<std::string>>>();
  client.on_connected = [connected](Result<std::string> name) {
    connected->set_value(std::move(name));
  };
  // The actor is attached before the link dials, because its first act needs the events of the
  // dial.
  const auto handle = process.track(spawn_client(process.system(), std::move(client)));
  process.link->attach(Room::kClient, handle);
  caf::anon_send(handle, join_atom::value);
  auto future = connected->get_future();
  if (future.wait_until(patience.absent) != std::future_status::ready) {
    const bool reached = process.link->transport()->counters().reached > 0;
    if (!reached) return no_answer(head.endpoint, options, reached);
    log(LogLevel::kWarning, "the head at " + net::to_string(head.endpoint) +
                                " accepts connections and is slow to answer: waiting on");
    if (future.wait_until(patience.busy) != std::future_status::ready)
      return no_answer(head.endpoint, options, reached);
  }
  const Result<std::string> name = future.get();
  if (!name) return name.status();
  *description = "cluster " + *name + " at " + net::to_string(head.endpoint);
  return service_actor(handle);
}

}  // namespace

Result<Cluster> make_client_cluster(const ConnectOptions& options, caf::actor_system* system) {
  using namespace std::chrono;
  const auto now = steady_clock::now();
  const auto until = now + milliseconds(options.timeout_ms);
  const Patience patience{until, std::max(until, now + milliseconds(options.busy_timeout_ms))};
  KeySearch search(monotonic_us() + 1'000 * std::int64_t{options.timeout_ms});
  Status refusal;
  for (;;) {
    const Result<HeadAddress> head = find_head(options);
    const auto token = head ? Result<net::Token>(head->token) : head.status();
    switch (search.next(token, monotonic_us())) {
      case KeySearch::Next::kLookAgain:
        std::this_thread::sleep_for(kLookAgain);
        continue;
      case KeySearch::Next::kGiveUp:
        return head ? refusal : head.status();
      case KeySearch::Next::kTry:
        break;
    }
    auto impl = std::make_unique<Cluster::Impl>();
    TROUPE_ASSIGN_OR_RETURN(impl->process, Process::open(options.home, system));
    auto service = start_client(*impl->process, options, *head, patience, &impl->description);
    if (service) {
      impl->service = *service;
      impl->bulk = impl->process->bulk;
      impl->local = false;
      impl->options = options;
      return Cluster(std::move(impl));
    }
    const bool stale = service.code() == Code::kPermissionDenied && head->from_file;
    if (!stale) return service.status();
    search.refuse(head->token);
    refusal = service.status();
  }
}

}  // namespace troupe::actors
