#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>

#include <arpa/inet.h>
#include <netdb.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include <troupe/actors/troupe.h>
#include <troupe/tools/troupe/logging.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/output.h>
#include <troupe/tools/troupe/signals.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct Options {
  CommonOptions common;
  bool head = false, no_work = false;
  std::string join, listen, advertise, name;
  int threads = 0;
};

Daemon* running = nullptr;  // for the signal handler

// The address of this machine from which `host` is reached; nothing when that is loopback or
// unknown. No packet is sent: connecting a datagram socket only chooses the route.
std::optional<std::string> own_address_towards(const net::Endpoint& peer) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(peer.port);
  if (::getaddrinfo(peer.host.c_str(), port.c_str(), &hints, &found) != 0) return std::nullopt;
  std::optional<std::string> address;
  for (addrinfo* at = found; at != nullptr && !address; at = at->ai_next) {
    const int fd = ::socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    char host[NI_MAXHOST];
    if (::connect(fd, at->ai_addr, at->ai_addrlen) == 0 &&
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
        ::getnameinfo(reinterpret_cast<sockaddr*>(&own), length, host, sizeof host, nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      address = host;
    }
    ::close(fd);
  }
  ::freeaddrinfo(found);
  if (address && (address->rfind("127.", 0) == 0 || *address == "::1")) return std::nullopt;
  return address;
}

Status usage(const std::string& message) { return {Code::kInvalidArgument, message}; }

Result<DaemonOptions> daemon_options(const Options& options) {
  DaemonOptions daemon;
  if (options.head && !options.join.empty()) {
    return usage("--head makes a new cluster and --join enters one: give only one of them");
  }
  if (options.no_work && !options.join.empty()) {
    return usage("--no-work is for a head; a node that does no work has nothing to do");
  }
  daemon.home = options.common.home;
  daemon.name = options.name;
  // A home that joined a cluster joins it again.
  std::string head_address;
  if (options.join.empty() && !options.head) {
    TROUPE_ASSIGN_OR_RETURN(head_address, joined_head(options.common.home));
    if (!head_address.empty()) say("this home is a node of " + head_address + ": joining it again");
  }
  daemon.head = options.join.empty() && head_address.empty();
  daemon.work = !options.no_work;
  daemon.join = options.join;
  daemon.threads = options.threads;
  if (!options.listen.empty()) {
    TROUPE_ASSIGN_OR_RETURN(daemon.listen, net::parse_endpoint(options.listen));
  } else if (!options.join.empty()) {
    const std::size_t at = options.join.rfind('@');
    if (at == std::string::npos) {
      return usage("--join takes TOKEN@HOST:PORT, as the head printed it, not '" + options.join +
                   "'");
    }
    head_address = options.join.substr(at + 1);
  }
  if (options.listen.empty() && !head_address.empty()) {
    TROUPE_ASSIGN_OR_RETURN(net::Endpoint head, net::parse_endpoint(head_address));
    if (auto own = own_address_towards(head)) daemon.listen.host = *own;
  }
  if (!options.advertise.empty()) {
    TROUPE_ASSIGN_OR_RETURN(daemon.advertise, net::parse_endpoint(options.advertise));
  }
  return daemon;
}

void announce(const Options& options, const DaemonOptions& started, const Daemon& daemon) {
  const std::string join = daemon.join_address();
  const net::Endpoint address = started.advertise.value_or(started.listen);
  if (options.common.json) {
    print_json({{"ready",
                 {{"name", daemon.name()},
                  {"role", started.head ? "head" : "node"},
                  {"address", net::to_string(address)},
                  {"join", join},
                  {"home", resolve_home(started.home)},
                  {"pid", ::getpid()}}}});
  } else if (started.head) {
    std::printf("troupe start --join %s\n", join.c_str());
    std::fflush(stdout);
  }
  if (started.head) {
    say("head " + daemon.name() + " is ready at " + net::to_string(address) +
        "; the line on stdout makes another machine a node of it");
    if (address.host.rfind("127.", 0) == 0 || address.host == "::1" ||
        address.host == "localhost") {
      say("only this machine reaches " + address.host + "; start with --listen ADDRESS:" +
          std::to_string(address.port) + " (an address of this machine) to let others join");
    }
  } else {
    say("node " + daemon.name() + " is ready at " + net::to_string(address));
  }
}

int start(const Options& options) {
  set_up_logging(LogLevel::kInfo, options.common.verbose);
  std::signal(SIGPIPE, SIG_IGN);  // a closed terminal must not end a daemon
  const bool json = options.common.json;
  Result<DaemonOptions> prepared = daemon_options(options);
  if (!prepared) return fail(prepared.status(), json);
  // Until it is ready, Ctrl-C ends the process at once, as by default.
  Result<Daemon> daemon = Daemon::start(*prepared);
  if (!daemon) return fail(daemon.status(), json);
  running = &*daemon;
  Status outcome;
  {
    SignalWatch watch([] { running->request_stop(); });
    announce(options, *prepared, *daemon);
    outcome = daemon->wait();
    daemon->stop();
  }
  running = nullptr;
  if (!outcome) {
    say(outcome.message());
    return kExitFailure;
  }
  return kExitOk;
}

}  // namespace

Action add_start(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_flag(
      "--head", options->head,
      "Be the head of a new cluster (so too without --join, on a home that has joined none)");
  app.add_flag("--no-work", options->no_work, "A head that holds no layers itself");
  app.add_option("--join", options->join, "Be a node of the cluster that printed this")
      ->type_name("TOKEN@HOST:PORT");
  app.add_option("--listen", options->listen,
                 "Control uses this port, tensors the next two [127.0.0.1:7700; a node that joins "
                 "another machine: this machine's address there]")
      ->type_name("HOST:PORT");
  app.add_option("--advertise", options->advertise, "What others dial, where it differs")
      ->type_name("HOST:PORT");
  app.add_option("--name", options->name, "Name in the cluster [host name]");
  app.add_option("--threads", options->threads, "Compute threads [every usable CPU]")
      ->check(CLI::Range(1, 1024));
  add_common_options(app, options->common);
  app.footer(
      "Runs in the foreground until Ctrl-C, SIGTERM or `troupe stop`. When ready, a head prints "
      "one\n"
      "line on stdout: the command that makes another machine a node.\n"
      "\n"
      "Examples:\n"
      "  troupe start                                  a head on 127.0.0.1:7700\n"
      "  troupe start --listen 192.168.1.5:7700        a head that other machines can join\n"
      "  troupe start --join TOKEN@192.168.1.5:7700    a node, on another machine\n"
      "  troupe start --join TOKEN@127.0.0.1:7700 --listen 127.0.0.1:7710 --home /tmp/node2\n"
      "                                                a second daemon on one machine");
  return [options] { return start(*options); };
}

}  // namespace troupe::tools
