#include <atomic>
#include <cerrno>
#include <ctime>
#include <future>
#include <thread>

#include <nlohmann/json.hpp>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <troupe/actors/bulk/bulk.h>
#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/actors/coordinator/admission.h>
#include <troupe/actors/coordinator/coordinator.h>
#include <troupe/actors/engine/engine.h>
#include <troupe/actors/facade/process.h>
#include <troupe/actors/jobs/jobs_actor.h>
#include <troupe/actors/jobs/task_actor.h>
#include <troupe/actors/journal/journal_actor.h>
#include <troupe/actors/node/node.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/machine/process_memory.h>

namespace troupe {

using namespace std::chrono_literals;

namespace {

constexpr auto kJoinPatience = 20s;

std::filesystem::path run_file(const std::string& home) {
  return std::filesystem::path(home) / "daemon.json";
}
std::filesystem::path pid_file(const std::string& home) {
  return std::filesystem::path(home) / "daemon.pid";
}
std::filesystem::path lock_file(const std::string& home) {
  return std::filesystem::path(home) / "daemon.lock";
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "node";
}

struct RunFile {
  pid_t pid = 0;
  std::string role, address, head;
};

// What the daemon of this home wrote; kNotFound unless it runs.
Result<RunFile> read_run_file(const std::string& home) {
  const Status none(Code::kNotFound,
                    "no daemon runs on the home " + home + " (another home: --home DIR)");
  // A lock that can be taken means that nobody holds it: the file is a leftover.
  std::error_code error;
  if (!std::filesystem::exists(run_file(home), error)) return none;
  if (FileLock::try_acquire(lock_file(home))) return none;
  const auto text = read_file(run_file(home), 65536);
  if (!text) return none;
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return none;
  RunFile run;
  run.pid = json.value("pid", 0);
  run.role = json.value("role", "");
  run.address = json.value("address", "");
  run.head = json.value("head", "");
  return run;
}

}  // namespace

Result<std::string> daemon_address(const std::string& home) {
  TROUPE_ASSIGN_OR_RETURN(const RunFile run, read_run_file(resolve_home(home)));
  return run.head;
}

Result<std::string> joined_head(const std::string& home) {
  TROUPE_ASSIGN_OR_RETURN(const auto member, actors::load_membership(resolve_home(home)));
  return member ? net::to_string({member->head_host, member->head_port}) : std::string();
}

Status stop_daemon(const std::string& home_option) {
  const std::string home = resolve_home(home_option);
  TROUPE_ASSIGN_OR_RETURN(const RunFile run, read_run_file(home));
  if (run.pid <= 0 || ::kill(run.pid, SIGTERM) != 0) {
    return Status(Code::kPermissionDenied,
                  "cannot signal the daemon with process id " + std::to_string(run.pid));
  }
  for (int i = 0; i < 100; ++i) {
    if (FileLock::try_acquire(lock_file(home))) return Status::ok();
    std::this_thread::sleep_for(50ms);
  }
  return Status(Code::kDeadlineExceeded, "the daemon with process id " + std::to_string(run.pid) +
                                             " did not end within 5 s; 'kill -9' ends it");
}

struct Daemon::Impl {
  std::string home, name, join_address;
  FileLock lock;
  std::filesystem::path client_key;
  int stop_event = -1;
  std::mutex mutex;
  Status why;  // guarded by mutex
  std::shared_ptr<actors::Host> host;
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
    if (!host) return;
    std::error_code error;
    if (!client_key.empty()) std::filesystem::remove(client_key, error);
    std::filesystem::remove(run_file(home), error);
    std::filesystem::remove(pid_file(home), error);
    if (node) caf::anon_send(node, actors::stop_atom::value, std::string("the daemon was stopped"));
    std::this_thread::sleep_for(50ms);  // the goodbye leaves before the sockets close
    host->close();
    node = nullptr;
    tasks = nullptr;
    host.reset();
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

// Where the head is, for a node; filled from --join or from an earlier membership.
struct HeadAddress {
  net::PublicKey key{};
  net::Endpoint endpoint;
  std::uint64_t cluster = 0;
  std::optional<net::Token> token;
  bool member = false;  // of the token's cluster already: the token is for when we are not known
};

Result<HeadAddress> find_head(const DaemonOptions& options, const std::string& home) {
  if (!options.join.empty() && std::filesystem::exists(actors::head_file(home))) {
    return Status(Code::kInvalidArgument,
                  "the home " + home + " is that of a head; give the node a --home of its own");
  }
  TROUPE_ASSIGN_OR_RETURN(const auto member, actors::load_membership(home));
  HeadAddress head;
  if (options.join.empty()) {
    if (!member) {
      return Status(Code::kInvalidArgument,
                    "this home belongs to no cluster yet; start a head with --head, or join one "
                    "with --join TOKEN@HOST:PORT");
    }
    head.key = member->head;
    head.endpoint = {member->head_host, member->head_port};
    head.cluster = member->cluster;
    return head;
  }
  const std::size_t at = options.join.rfind('@');
  if (at == std::string::npos) {
    return Status(Code::kInvalidArgument,
                  "--join takes TOKEN@HOST:PORT as the head printed it; \"" + options.join +
                      "\" has no token");
  }
  TROUPE_ASSIGN_OR_RETURN(head.token, net::parse_token(options.join.substr(0, at)));
  TROUPE_ASSIGN_OR_RETURN(head.endpoint, net::parse_endpoint(options.join.substr(at + 1)));
  head.key = head.token->head;
  head.cluster = head.token->cluster;
  head.member = member && member->head == head.key && member->cluster == head.cluster;
  return head;
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

// What the head knew before, and the actors that write down what it learns.
Status begin_journal(const std::string& home, actors::Host& host,
                     actors::CoordinatorSetup* coordinator) {
  TROUPE_ASSIGN_OR_RETURN(auto opened,
                          actors::Journal::open(std::filesystem::path(home) / "journal.db"));
  const std::shared_ptr<actors::Journal> journal = std::move(opened);
  // Committed before a frame carries any of them; no run uses up so many. Epochs of heads that
  // kept no journal began with the time of day.
  using namespace std::chrono;
  const auto wall = duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
  TROUPE_ASSIGN_OR_RETURN(
      coordinator->first_epoch,
      journal->reserve("epochs", std::uint64_t{1} << 32, static_cast<std::uint64_t>(wall)));
  TROUPE_ASSIGN_OR_RETURN(coordinator->placed, journal->models());
  TROUPE_ASSIGN_OR_RETURN(const auto manifests, journal->manifests());
  for (const auto& [model, bytes] : manifests) {
    auto manifest = wire::decode<model::Manifest>(std::as_bytes(std::span<const char>(bytes)));
    if (!manifest) {
      return Status(Code::kBadData, "the journal " + home + "/journal.db is damaged (model " +
                                        model + ": " + manifest.message() +
                                        "); move it away and start again: its jobs are lost");
    }
    coordinator->manifests[model] = std::move(*manifest);
  }
  coordinator->journal = host.track(actors::spawn_journal(host.system(), journal));
  coordinator->jobs = host.track(actors::spawn_jobs(host.system(), {journal, host.link}));
  host.link->attach(actors::Room::kJobs, coordinator->jobs);
  return Status::ok();
}

}  // namespace

Result<Daemon> Daemon::start(const DaemonOptions& options) {
  TROUPE_RETURN_IF_ERROR(check(options));
  auto impl = std::make_unique<Impl>();
  Impl* const raw = impl.get();
  impl->home = resolve_home(options.home);
  TROUPE_RETURN_IF_ERROR(actors::prepare_home(impl->home));
  auto lock = FileLock::try_acquire(lock_file(impl->home));
  if (!lock) {
    if (lock.code() != Code::kAlreadyExists) return lock.status();
    return Status(Code::kAlreadyExists, "a daemon runs on the home " + impl->home +
                                            " already; stop it with 'troupe stop', or give this "
                                            "one another --home");
  }
  impl->lock = std::move(*lock);
  impl->stop_event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const net::Endpoint advertise = options.advertise.value_or(options.listen);

  std::filesystem::create_directories(std::filesystem::path(impl->home) / "keys");
  net::TransportOptions transport;
  TROUPE_ASSIGN_OR_RETURN(
      transport.identity,
      net::load_or_make_key_pair(std::filesystem::path(impl->home) / "keys" / "node.key"));
  transport.incarnation = net::random_u64();
  transport.listen = options.listen;
  HeadAddress head;
  std::shared_ptr<actors::Admission> admission;
  if (options.head) {
    TROUPE_ASSIGN_OR_RETURN(
        auto made, actors::Admission::load_or_make(impl->home, transport.identity.public_key,
                                                   std::time(nullptr)));
    admission = std::make_shared<actors::Admission>(std::move(made));
    head.key = transport.identity.public_key;
    head.endpoint = advertise;
    head.cluster = admission->cluster();
  } else {
    TROUPE_ASSIGN_OR_RETURN(head, find_head(options, impl->home));
  }
  transport.cluster = head.cluster;
  // Before the sockets open: who comes back at once is known.
  if (admission) {
    transport.allowed = admission->allowed();
  } else {
    transport.allowed = {{head.key, net::Role::kHead}};
  }

  impl->host = actors::Host::make(nullptr);
  actors::Host& host = *impl->host;
  TROUPE_ASSIGN_OR_RETURN(host.store, model::Store::open(impl->home));
  TROUPE_ASSIGN_OR_RETURN(host.link, actors::Link::open(transport));

  actors::DeviceHandle device;
  if (options.work) {
    DeviceOptions device_options;
    device_options.threads = options.threads;
    TROUPE_ASSIGN_OR_RETURN(device, actors::spawn_device(host.system(), device_options));
    host.track(device.actor);
  }
  const auto bulk =
      host.track(actors::spawn_bulk(host.system(), {host.link, host.store, host.bulk_bytes_in}));
  host.link->attach(actors::Room::kBulk, bulk);
  if (options.head) {
    actors::CoordinatorSetup coordinator;
    coordinator.link = host.link;
    coordinator.store = host.store;
    coordinator.bulk = bulk;
    TROUPE_RETURN_IF_ERROR(begin_journal(impl->home, host, &coordinator));
    const auto jobs_handle = coordinator.jobs;
    coordinator.admission = admission;
    coordinator.advertise = advertise;
    coordinator.works = options.work;
    if (options.keep_alive_s >= 0) coordinator.keep_alive_us = options.keep_alive_s * 1'000'000;
    coordinator.on_stop = [raw] { raw->ask_stop(Status::ok()); };
    const auto service =
        host.track(actors::spawn_coordinator(host.system(), std::move(coordinator)));
    host.link->attach(actors::Room::kCoordinator, service);
    caf::anon_send(jobs_handle, actors::service_atom::value, actors::service_actor(service));
  }
  const auto joined = std::make_shared<std::promise<Result<std::string>>>();
  actors::NodeSetup node;
  node.home = impl->home;
  node.name = options.name.empty() ? host_name() : options.name;
  node.advertise = advertise;
  node.head = head.key;
  node.head_endpoint = head.endpoint;
  node.token = head.token;
  node.member = head.member;
  node.link = host.link;
  node.store = host.store;
  node.bulk = bulk;
  node.device = device.actor;
  impl->tasks = host.track(actors::spawn_tasks(host.system(), {host.link, head.key}));
  host.link->attach(actors::Room::kTasks, impl->tasks);
  node.tasks = impl->tasks;
  node.threads = device.threads;
  node.isa = device.isa;
  node.memory_bytes =
      options.memory_bytes != 0 ? options.memory_bytes : offered_memory();
  raw->moved_us = node.moved_us;
  node.bulk_bytes_in = host.bulk_bytes_in;
  node.on_joined = [joined](Result<std::string> name) { joined->set_value(std::move(name)); };
  node.on_stop = [raw](const Status& why) { raw->ask_stop(why); };
  impl->node = host.track(actors::spawn_node(host.system(), std::move(node)));
  host.link->attach(actors::Room::kNode, impl->node);
  caf::anon_send(impl->node, actors::join_atom::value);
  auto future = joined->get_future();
  if (future.wait_for(kJoinPatience) != std::future_status::ready) {
    return Status(Code::kUnavailable, "no head answered at " + net::to_string(head.endpoint));
  }
  const Result<std::string> name = future.get();
  if (!name) return name.status();
  impl->name = *name;

  if (options.head) {
    impl->join_address =
        net::to_text(admission->join_token().token) + "@" + net::to_string(advertise);
    TROUPE_ASSIGN_OR_RETURN(const auto client_key, actors::client_key_path(options.listen.port));
    const net::Endpoint local{
        is_any_address(options.listen.host) ? "127.0.0.1" : options.listen.host,
        options.listen.port};
    TROUPE_RETURN_IF_ERROR(write_file_atomically(
        client_key,
        net::to_text(admission->local_token().token) + "@" + net::to_string(local) + "\n", 0600));
    impl->client_key = client_key;
  }
  const nlohmann::json run = {{"pid", ::getpid()},
                              {"role", options.head ? "head" : "node"},
                              {"name", impl->name},
                              {"address", net::to_string(advertise)},
                              {"head", net::to_string(head.endpoint)}};
  TROUPE_RETURN_IF_ERROR(write_file_atomically(run_file(impl->home), run.dump() + "\n", 0600));
  TROUPE_RETURN_IF_ERROR(
      write_file_atomically(pid_file(impl->home), std::to_string(::getpid()) + "\n", 0644));
  return Daemon(std::move(impl));
}

}  // namespace troupe
