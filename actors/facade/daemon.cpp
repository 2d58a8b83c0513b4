#include <atomic>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <future>
#include <thread>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <troupe/actors/cluster_state/members.h>
#include <troupe/actors/coordinator/admission.h>
#include <troupe/actors/facade/daemon.h>
#include <troupe/actors/facade/home.h>
#include <troupe/actors/facade/local_key.h>
#include <troupe/actors/facade/proved_models.h>
#include <troupe/actors/facade/roles.h>
#include <troupe/actors/journal/journal_actor.h>
#include <troupe/actors/node/membership.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/machine/process_memory.h>

namespace troupe {

using namespace std::chrono_literals;

namespace {

constexpr auto kJoinPatience = 40s;

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "node";
}

}  // namespace

struct Daemon::Impl {
  std::string home, name, join_address;
  FileLock lock;
  std::unique_ptr<actors::LocalKey> local_key;  // only in a head
  int stop_event = -1;
  std::mutex mutex;
  Status why;  // guarded by mutex
  std::shared_ptr<actors::Process> process;
  actors::node_actor node;
  actors::task_actor tasks;
  std::shared_ptr<std::atomic<std::int64_t>> moved_us;

  ~Impl() {
    shut_down();
    if (stop_event >= 0) ::close(stop_event);
  }
  void ask_stop(const Status& status) {
    {
      std::lock_guard guard(mutex);
      if (why.is_ok()) why = status;
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(stop_event, &one, sizeof one);
  }
  void shut_down() {
    if (!process) return;
    local_key.reset();
    actors::remove_run_files(home);
    if (node) caf::anon_send(node, actors::stop_atom::value, std::string("the daemon was stopped"));
    std::this_thread::sleep_for(50ms);  // the goodbye leaves before the sockets close
    process->close();
    node = nullptr;
    tasks = nullptr;
    process.reset();
    lock = FileLock();
  }
};

Daemon::Daemon(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Daemon::Daemon(Daemon&&) noexcept = default;
Daemon& Daemon::operator=(Daemon&&) noexcept = default;
Daemon::~Daemon() = default;

std::string Daemon::join_address() const { return impl_->join_address; }
std::string Daemon::name() const { return impl_->name; }
void Daemon::stop() { impl_->shut_down(); }

void Daemon::request_stop() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(impl_->stop_event, &one, sizeof one);
}

Status Daemon::wait() { return *wait_for(-1); }

std::optional<Status> Daemon::wait_for(int timeout_ms) {
  pollfd waiting{impl_->stop_event, POLLIN, 0};
  int ready = 0;
  while ((ready = ::poll(&waiting, 1, timeout_ms)) < 0 && errno == EINTR) {
  }
  if (ready == 0) return std::nullopt;
  std::lock_guard guard(impl_->mutex);
  return impl_->why;
}

actors::task_actor actors::tasks_of(Daemon& daemon) { return daemon.impl().tasks; }

int Daemon::stalled_ms() const {
  return static_cast<int>((monotonic_us() - *impl_->moved_us) / 1000);
}

namespace {

// The cluster that a daemon belongs to, and where its head is.
struct ClusterAddress {
  net::PublicKey head{};
  net::Endpoint endpoint;
  std::uint64_t cluster = 0;
  std::shared_ptr<actors::Admission> admission;  // only for a head
  std::optional<net::Token> token;               // only for a node
  // This home is a member of the token's cluster already: the token is used only if the head forgot
  // us.
  bool member = false;
};

// Finds the head from --join, or from what this home joined before.
Result<ClusterAddress> find_head(const DaemonOptions& options, const std::string& home) {
  if (!options.join.empty() && std::filesystem::exists(actors::head_file(home))) {
    return Status(Code::kInvalidArgument,
                  "the home " + home + " is that of a head; give the node a --home of its own");
  }
  TROUPE_ASSIGN_OR_RETURN(const auto member, actors::load_membership(home));
  ClusterAddress place;
  if (options.join.empty()) {
    if (!member) {
      return Status(Code::kInvalidArgument,
                    "this home belongs to no cluster yet; start a head with --head, or join one "
                    "with --join TOKEN@HOST:PORT");
    }
    place.head = member->head;
    place.endpoint = {member->head_host, member->head_port};
    place.cluster = member->cluster;
    return place;
  }
  const std::size_t at = options.join.rfind('@');
  if (at == std::string::npos) {
    return Status(Code::kInvalidArgument,
                  "--join takes TOKEN@HOST:PORT as the head printed it; \"" + options.join +
                      "\" has no token");
  }
  TROUPE_ASSIGN_OR_RETURN(place.token, net::parse_token(options.join.substr(0, at)));
  TROUPE_ASSIGN_OR_RETURN(place.endpoint, net::parse_endpoint(options.join.substr(at + 1)));
  place.head = place.token->head;
  place.cluster = place.token->cluster;
  place.member = member && member->head == place.head && member->cluster == place.cluster;
  return place;
}

bool is_any_address(const std::string& host) {
  return host == "0.0.0.0" || host == "::" || host == "*";
}

Status check(const DaemonOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(const std::string joined, joined_head(options.home));
  if (options.head && !joined.empty()) {
    return Status(Code::kInvalidArgument,
                  "the home " + resolve_home(options.home) + " is that of a node of " + joined +
                      "; start it without --head to join that cluster again, or give the head a "
                      "--home of its own");
  }
  if (options.head && !options.join.empty()) {
    return Status(Code::kInvalidArgument,
                  "--head and --join exclude each other: a head joins no "
                  "other head");
  }
  if (!options.head && !options.work) {
    return Status(Code::kInvalidArgument,
                  "--no-work is for a head; a node without work has no use");
  }
  TROUPE_RETURN_IF_ERROR(actors::check_node_name(options.name));
  if (is_any_address(options.listen.host) && !options.advertise) {
    return Status(Code::kInvalidArgument,
                  "--listen " + net::to_string(options.listen) +
                      " needs --advertise HOST:PORT, the address by which the others reach this "
                      "machine");
  }
  if (options.listen.port == 0 || options.listen.port > 65533) {
    return Status(Code::kInvalidArgument,
                  "port " + std::to_string(options.listen.port) +
                      " cannot be used: PORT, PORT+1 and PORT+2 must lie between 1 and 65535");
  }
  return Status::ok();
}

// Reads what an earlier run of this head left in its journal, and reserves the numbers that this
// run will use.
Status begin_journal(const std::string& home, model::Store& store, actors::Journal& journal,
                     actors::CoordinatorSetup* coordinator) {
  TROUPE_ASSIGN_OR_RETURN(coordinator->manifests, actors::prove_models(home, store, journal));
  // The reservation is committed before a frame carries any of the numbers, and no run uses all of
  // them. Earlier heads, which had no journal, began their epochs with the time of day.
  using namespace std::chrono;
  const auto wall = duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
  TROUPE_ASSIGN_OR_RETURN(
      coordinator->first_epoch,
      journal.reserve("epochs", std::uint64_t{1} << 32, static_cast<std::uint64_t>(wall)));
  TROUPE_ASSIGN_OR_RETURN(coordinator->placed, journal.models());
  return Status::ok();
}

net::Endpoint advertised(const DaemonOptions& options) {
  return options.advertise.value_or(options.listen);
}

// Makes the link with this home's key, for the head of a cluster or for a member. Its sockets are
// not open yet.
Result<ClusterAddress> make_link(const DaemonOptions& options, Daemon::Impl& daemon) {
  const std::filesystem::path keys = std::filesystem::path(daemon.home) / "keys";
  std::filesystem::create_directories(keys);
  net::TransportOptions transport;
  TROUPE_ASSIGN_OR_RETURN(transport.identity, net::load_or_make_key_pair(keys / "node.key"));
  transport.incarnation = net::random_u64();
  transport.listen = options.listen;
  ClusterAddress place;
  // The keys that may connect are known before the sockets open, because some peers reconnect at
  // once.
  if (options.head) {
    TROUPE_ASSIGN_OR_RETURN(
        auto made, actors::Admission::load_or_make(daemon.home, transport.identity.public_key,
                                                   std::time(nullptr)));
    place.admission = std::make_shared<actors::Admission>(std::move(made));
    if (options.approve) place.admission->ask_approval();
    place.head = transport.identity.public_key;
    place.endpoint = advertised(options);
    place.cluster = place.admission->cluster();
    transport.allowed = place.admission->allowed();
    transport.own_door = place.admission->local_token().key;
  } else {
    TROUPE_ASSIGN_OR_RETURN(place, find_head(options, daemon.home));
    transport.allowed = {{place.head, net::Role::kHead}};
  }
  transport.cluster = place.cluster;
  TROUPE_ASSIGN_OR_RETURN(daemon.process, actors::Process::make(nullptr));
  TROUPE_ASSIGN_OR_RETURN(daemon.process->store, model::Store::open(daemon.home));
  daemon.process->link = actors::Link::with_sockets(transport);
  return place;
}

Status start_head(const DaemonOptions& options, const ClusterAddress& place, Daemon::Impl& daemon) {
  actors::Process& process = *daemon.process;
  TROUPE_ASSIGN_OR_RETURN(auto opened,
                          actors::Journal::open(std::filesystem::path(daemon.home) / "journal.db"));
  const std::shared_ptr<actors::Journal> journal = std::move(opened);
  actors::CoordinatorSetup setup;
  TROUPE_RETURN_IF_ERROR(begin_journal(daemon.home, *process.store, *journal, &setup));
  setup.journal = process.track(actors::spawn_journal(process.system(), journal));
  setup.admission = place.admission;
  setup.advertise = advertised(options);
  setup.works = options.work;
  setup.events_file = std::filesystem::path(daemon.home) / "events.jsonl";
  setup.audit_file = std::filesystem::path(daemon.home) / "audit.log";
  setup.audit_also_logs = options.audit_also_logs;
  if (options.keep_alive_s >= 0) setup.keep_alive_us = options.keep_alive_s * 1'000'000;
  if (!options.speculation) setup.speculation = actors::Speculation::kOff;
  setup.on_stop = [&daemon] { daemon.ask_stop(Status::ok()); };
  actors::spawn_head(process, std::move(setup), journal);
  return Status::ok();
}

// Opens the sockets, now that every room is attached, and blocks until the daemon is a member of
// its cluster. (A head is a member of its own cluster.)
Status join(const DaemonOptions& options, const ClusterAddress& place, Daemon::Impl& daemon) {
  actors::NodeSetup setup;
  setup.home = daemon.home;
  setup.name = options.name.empty() ? host_name() : options.name;
  setup.advertise = advertised(options);
  setup.head = place.head;
  setup.head_endpoint = place.endpoint;
  setup.token = place.token;
  setup.member = place.member;
  if (options.memory_bytes != 0) {
    setup.memory_bytes = options.memory_bytes;
  } else if (daemon.process->device.memory_bytes) {
    setup.memory_bytes = *daemon.process->device.memory_bytes;  // a GPU has memory of its own
  } else {
    MemoryOffer offer = memory_offer();
    setup.memory_bytes = offer.bytes;
    setup.memory_pool = std::move(offer.pool);
  }
  setup.on_stop = [&daemon](const Status& why) { daemon.ask_stop(why); };
  // A head with a GPU of its own continues without it.
  if (!options.head) setup.on_broken = setup.on_stop;
  daemon.moved_us = setup.moved_us;
  const actors::Member member = actors::spawn_member(*daemon.process, std::move(setup));
  daemon.node = member.node;
  daemon.tasks = member.tasks;
  TROUPE_RETURN_IF_ERROR(daemon.process->link->open_sockets());
  caf::anon_send(member.node, actors::join_atom::value);
  auto joined = member.joined->get_future();
  if (joined.wait_for(kJoinPatience) != std::future_status::ready) {
    return Status(Code::kUnavailable, "no head answered at " + net::to_string(place.endpoint));
  }
  TROUPE_ASSIGN_OR_RETURN(daemon.name, joined.get());
  return Status::ok();
}

// Writes the key with which clients of this user connect to the head.
Status leave_local_key(const DaemonOptions& options, const actors::Admission& admission,
                       Daemon::Impl& daemon) {
  const net::Endpoint local{is_any_address(options.listen.host) ? "127.0.0.1" : options.listen.host,
                            options.listen.port};
  const std::string token = net::to_text(*admission.local_token().token);
  TROUPE_ASSIGN_OR_RETURN(daemon.local_key,
                          actors::LocalKey::publish(daemon.home, options.listen.port,
                                                    token + "@" + net::to_string(local) + "\n"));
  return Status::ok();
}

}  // namespace

Result<Daemon> Daemon::start(const DaemonOptions& options) {
  TROUPE_RETURN_IF_ERROR(check(options));
  auto impl = std::make_unique<Impl>();
  impl->home = resolve_home(options.home);
  TROUPE_ASSIGN_OR_RETURN(impl->lock, actors::lock_home(impl->home));
  impl->stop_event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  TROUPE_ASSIGN_OR_RETURN(const ClusterAddress place, make_link(options, *impl));
  if (options.work)
    TROUPE_RETURN_IF_ERROR(impl->process->open_device(options.threads, options.device));
  impl->process->open_bulk();
  if (options.head) TROUPE_RETURN_IF_ERROR(start_head(options, place, *impl));
  TROUPE_RETURN_IF_ERROR(join(options, place, *impl));
  if (options.head) {
    impl->join_address = net::to_text(*place.admission->join_token().token) + "@" +
                         net::to_string(advertised(options));
    TROUPE_RETURN_IF_ERROR(leave_local_key(options, *place.admission, *impl));
  }
  TROUPE_RETURN_IF_ERROR(actors::write_run_files(
      impl->home, {::getpid(), options.head ? "head" : "node", impl->name,
                   net::to_string(advertised(options)), net::to_string(place.endpoint)}));
  return Daemon(std::move(impl));
}

}  // namespace troupe
