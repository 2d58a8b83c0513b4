#include <cerrno>
#include <cstring>
#include <future>

#include <sys/stat.h>
#include <unistd.h>

#include <troupe/actors/bulk/bulk.h>
#include <troupe/actors/coordinator/admission.h>
#include <troupe/actors/coordinator/coordinator.h>
#include <troupe/actors/facade/client.h>
#include <troupe/actors/facade/process.h>
#include <troupe/actors/jobs/jobs_actor.h>
#include <troupe/actors/jobs/task_actor.h>
#include <troupe/actors/node/node.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/machine/process_memory.h>

namespace troupe::actors {

std::shared_ptr<Host> Host::make(caf::actor_system* system) {
  std::shared_ptr<Host> host(new Host);
  if (system == nullptr) {
    host->config_ = std::make_unique<caf::actor_system_config>();
    // `sharing` uses no CPU while idle; nothing blocks or computes in these threads.
    host->config_->set("scheduler.policy", caf::atom("sharing"));
    host->config_->set("scheduler.max-threads", std::size_t{2});
    host->own_ = std::make_unique<caf::actor_system>(*host->config_);
    system = host->own_.get();
  }
  host->system_ = system;
  return host;
}

Result<std::shared_ptr<Host>> Host::open(const std::string& home, caf::actor_system* system) {
  const std::string folder = resolve_home(home);
  // A model that lies elsewhere needs no home: what does says so when it is asked for (Store).
  static_cast<void>(prepare_home(folder));
  auto host = make(system);
  TROUPE_ASSIGN_OR_RETURN(host->store, model::Store::open(folder));
  return host;
}

Host::~Host() { close(); }

void Host::close() {
  {
    caf::scoped_actor self(*system_);
    for (const caf::strong_actor_ptr& actor : tracked_) {
      self->send_exit(caf::actor_cast<caf::actor>(actor), caf::exit_reason::user_shutdown);
    }
    for (const caf::strong_actor_ptr& actor : tracked_)
      self->wait_for(caf::actor_cast<caf::actor>(actor));
  }
  tracked_.clear();
  if (link) link->close();
}

Status prepare_home(const std::string& home) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(home).parent_path(), error);
  if (::mkdir(home.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status(Code::kPermissionDenied, "cannot make the home folder " + home + ": " +
                                               std::strerror(errno) +
                                               "; choose another with --home or TROUPE_HOME");
  }
  return Status::ok();
}

namespace {

Result<service_actor> start_local(Host& host, const LocalOptions& options, task_actor* tasks) {
  host.link = Link::loopback();
  DeviceOptions device_options;
  device_options.threads = options.threads;
  TROUPE_ASSIGN_OR_RETURN(const DeviceHandle device, spawn_device(host.system(), device_options));
  host.track(device.actor);
  const auto bulk =
      host.track(spawn_bulk(host.system(), {host.link, host.store, host.bulk_bytes_in}));
  CoordinatorSetup coordinator;
  coordinator.link = host.link;
  coordinator.store = host.store;
  coordinator.bulk = bulk;
  TROUPE_ASSIGN_OR_RETURN(auto journal, Journal::in_memory());
  JobsSetup jobs;
  jobs.journal = std::move(journal);
  jobs.link = host.link;
  coordinator.jobs = host.track(spawn_jobs(host.system(), std::move(jobs)));
  const jobs_actor jobs_handle = coordinator.jobs;
  coordinator.role = "local";
  const auto service = host.track(spawn_coordinator(host.system(), std::move(coordinator)));
  const auto joined = std::make_shared<std::promise<Result<std::string>>>();
  NodeSetup node;
  node.name = "local";
  node.head = host.link->self();
  node.link = host.link;
  node.store = host.store;
  node.bulk = bulk;
  node.device = device.actor;
  *tasks = host.track(spawn_tasks(host.system(), {host.link, host.link->self()}));
  host.link->attach(Room::kTasks, *tasks);
  node.tasks = *tasks;
  node.threads = device.threads;
  node.isa = device.isa;
  node.memory_bytes = offered_memory();
  node.bulk_bytes_in = host.bulk_bytes_in;
  node.on_joined = [joined](Result<std::string> name) { joined->set_value(std::move(name)); };
  node.on_stop = [](const Status&) {};
  const auto node_handle = host.track(spawn_node(host.system(), std::move(node)));
  host.link->attach(Room::kBulk, bulk);
  host.link->attach(Room::kCoordinator, service);
  host.link->attach(Room::kJobs, jobs_handle);
  caf::anon_send(jobs_handle, service_atom::value, service_actor(service));
  host.link->attach(Room::kNode, node_handle);
  caf::anon_send(node_handle, join_atom::value);
  const Result<std::string> name = joined->get_future().get();
  if (!name) return name.status();
  return service_actor(service);
}

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

Result<service_actor> start_client(Host& host, const ConnectOptions& options,
                                   std::string* description, bulk_actor* bulk) {
  ClientSetup client;
  TROUPE_RETURN_IF_ERROR(find_token(options.cluster, &client.token, &client.head));
  net::TransportOptions transport;
  // A key for this one connection: two programs of one user are two peers.
  transport.identity = net::make_key_pair();
  transport.cluster = client.token.cluster;
  transport.incarnation = net::random_u64();
  TROUPE_ASSIGN_OR_RETURN(host.link, Link::open(transport));
  *bulk = host.track(spawn_bulk(host.system(), {host.link, host.store, host.bulk_bytes_in}));
  host.link->attach(Room::kBulk, *bulk);
  client.link = host.link;
  client.bulk = *bulk;
  const auto connected = std::make_shared<std::promise<Result<std::string>>>();
  client.on_connected = [connected](Result<std::string> name) {
    connected->set_value(std::move(name));
  };
  const net::Endpoint endpoint = client.head;
  // Attached before it dials: the actor's first act needs its events.
  const auto handle = host.track(spawn_client(host.system(), std::move(client)));
  host.link->attach(Room::kClient, handle);
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

Result<Cluster> make_local_cluster(const LocalOptions& options, caf::actor_system* system) {
  auto impl = std::make_unique<Cluster::Impl>();
  TROUPE_ASSIGN_OR_RETURN(impl->host, Host::open(options.home, system));
  TROUPE_ASSIGN_OR_RETURN(impl->service, start_local(*impl->host, options, &impl->tasks));
  impl->description = "this process";
  return Cluster(std::move(impl));
}

Result<Cluster> make_client_cluster(const ConnectOptions& options, caf::actor_system* system) {
  auto impl = std::make_unique<Cluster::Impl>();
  TROUPE_ASSIGN_OR_RETURN(impl->host, Host::open(options.home, system));
  TROUPE_ASSIGN_OR_RETURN(impl->service,
                          start_client(*impl->host, options, &impl->description, &impl->bulk));
  impl->local = false;
  impl->options = options;
  return Cluster(std::move(impl));
}

Result<OpenModel> describe_model(model::Store& store, const std::string& model,
                                 const std::vector<model::LayerRange>& layers, std::uint8_t kv_code,
                                 const bulk_actor& bulk) {
  if (model.empty()) {
    return Status(Code::kInvalidArgument,
                  "the request names no model; give a name, a path or "
                  "sha256:HEX");
  }
  OpenModel open;
  open.kv = kv_code;
  const auto path = store.resolve(model);
  if (path) {
    TROUPE_ASSIGN_OR_RETURN(open.manifest, store.manifest(*path));
    open.has_manifest = true;
    open.model = open.manifest.model;
    store.adopt(open.manifest, *path);
    if (bulk) {
      caf::anon_send(
          bulk, std::make_shared<const ExportedFile>(ExportedFile{path->string(), open.manifest}));
    }
  } else if (model.rfind("sha256:", 0) == 0) {
    open.model = model.substr(7);  // the cluster may have it
  } else {
    return path.status();
  }
  set_layer_ranges(layers, &open);
  return open;
}

}  // namespace troupe::actors
