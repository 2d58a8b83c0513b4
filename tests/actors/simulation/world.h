#pragma once

#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <troupe/actors/bulk/bulk.h>
#include <troupe/actors/coordinator/admission.h>
#include <troupe/actors/coordinator/coordinator.h>
#include <troupe/actors/engine/engine_state.h>
#include <troupe/actors/facade/client.h>
#include <troupe/actors/node/node.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/net/sim/sim_network.h>

#include "model.h"
#include "process.h"

// A simulated cluster: processes (process.h) with the real actors of a head, a node or a client
// over the real Link, and the time and the network that they share. Three things are not real: the
// transport (runtime/net/sim/sim_network.h says which parts of it are), the device's thread (jobs
// take virtual time and run here) and the transformer (model.h). All of it is one thread; which
// actor runs next is drawn from the seed.

namespace troupe::actors::simulation {

// What all schedules share: files, and objects that are slow to make.
struct Common {
  explicit Common(const std::filesystem::path& in) : folder(in), file(in) {
    head_identity = net::key_pair_from_seed({7});
    auto made =
        Admission::load_or_make(store_folder(0), head_identity.public_key, std::time(nullptr));
    TROUPE_CHECK(made.is_ok(), made.message());
    admission = std::make_unique<Admission>(std::move(*made));
    device = *Device::create({1, false, std::nullopt});
    config.set("scheduler.policy", caf::atom("testing"));
  }
  std::filesystem::path store_folder(net::SimHost host) const {
    const auto path = folder / ("home-" + std::to_string(host));
    std::filesystem::create_directories(path);
    return path;
  }
  // Returns a store that has the whole model, as a file on the same machine.
  std::shared_ptr<model::Store> store(net::SimHost host) {
    auto& store = stores[host];
    if (!store) {
      store = *model::Store::open(store_folder(host));
      store->adopt(file.manifest, file.path);
    }
    return store;
  }
  const std::filesystem::path folder;
  ModelFile file;
  net::KeyPair head_identity;
  std::unique_ptr<Admission> admission;
  std::unique_ptr<Device> device;
  caf::actor_system_config config;
  std::map<net::SimHost, std::shared_ptr<model::Store>> stores;
};

class World {
 public:
  World(Common& common, const net::SimOptions& network_options, std::int64_t job_us,
        bool real_fetch)
      : common_(common),
        random_(network_options.seed * 77 + 5),
        job_us_(job_us),
        real_fetch_(real_fetch),
        clock_(kBeginUs),
        network(network_options, kBeginUs),
        admission(std::make_shared<Admission>(*common.admission)) {}
  ~World() {
    deaf_.clear();  // it holds actors
    for (auto& [host, process] : processes) (void)process->end();
    processes.clear();
    std::error_code ignored;
    if (real_fetch_) std::filesystem::remove_all(common_.folder / "fetched", ignored);
  }

  static constexpr std::int64_t kBeginUs = 1'000'000'000;
  static constexpr std::uint16_t kPort = 7700;
  std::int64_t now_us() const { return now_us_; }
  std::uint64_t draw(std::uint64_t below) { return random_() % below; }

  bool runs(net::SimHost host) const { return processes.contains(host); }
  Process& at(net::SimHost host) { return *processes.at(host); }
  // Ends the process like kill -9. False if its actors could not end because they hold each other.
  bool kill(net::SimHost host) {
    const auto found = processes.extract(host);
    if (found.empty()) return true;
    network.thaw(host);
    deaf_.erase(host);
    return found.mapped()->end();
  }

  // Starts the head. Its sockets are open for `deaf_us` before its rooms listen. (A daemon
  // attaches its rooms first; the protocol does not rely on it.)
  void start_head(bool works, std::int64_t deaf_us = 0) {
    Process& process = make(0);
    const HearLater later(*this, 0, deaf_us);
    // The key of the user's own programs lies in its file once the head is ready; until then, the
    // file has the key of the process before.
    admission->renew_local_token(std::time(nullptr));
    later.run([this] { local_key_ = admission->local_token().token; });
    // Whatever the head recorded before it died counts: its members may come back.
    net::TransportOptions options = transport_options(0, common_.head_identity);
    options.cluster = admission->cluster();
    options.allowed = admission->allowed();
    process.link = open(0, options);
    const auto store = common_.store(0);
    process.bulk = process.track(spawn_bulk(*process.system, {process.link, store, bytes_, false}));
    later.attach(Room::kBulk, process.bulk);
    CoordinatorSetup setup;
    setup.link = process.link;
    setup.store = store;
    setup.bulk = process.bulk;
    setup.admission = admission;
    setup.advertise = endpoint(0);
    setup.works = works;
    setup.measures = false;  // computing layers costs nothing here
    setup.speculation = speculation;
    setup.first_epoch = static_cast<std::uint64_t>(now_us_);
    setup.watch_engine = [this](const EngineState& engine) {
      const Status holds = engine.check();
      if (!holds && engine_trouble.empty()) engine_trouble = holds.message();
      block_counters[&engine] = engine.block_counters();
      draft_counters[&engine] = engine.draft_counters();
    };
    process.coordinator = process.track(spawn_coordinator(*process.system, std::move(setup)));
    later.attach(Room::kCoordinator, process.coordinator);
    start_node_actor(process, 0, store, works, later);
  }

  void start_node(net::SimHost host, std::int64_t deaf_us = 0,
                  std::uint32_t arithmetic = kArithmeticVersion) {
    Process& process = make(host);
    const HearLater later(*this, host, deaf_us);
    net::TransportOptions options = transport_options(host, identity_of(host));
    options.cluster = admission->cluster();
    options.allowed = {{common_.head_identity.public_key, net::Role::kHead}};
    process.link = open(host, options);
    const auto store = real_fetch_ ? fetching_store(host) : common_.store(host);
    process.bulk = process.track(spawn_bulk(*process.system, {process.link, store, bytes_, false}));
    later.attach(Room::kBulk, process.bulk);
    start_node_actor(process, host, store, true, later, arithmetic);
  }

  void start_client(net::SimHost host) {
    Process& process = make(host);
    process.search.emplace(now_us_);
    look_for_key(host);
  }

  // Lets everything happen until `until_us`, or until `over`, which is called from time to time,
  // returns true.
  void run_until(std::int64_t until_us, const std::function<bool()>& over = nullptr) {
    int rounds = 0;
    for (;;) {
      run_jobs();
      if (over && ++rounds % 16 == 0 && over()) return;
      std::int64_t next = until_us;
      next = std::min(next, network.next_us().value_or(until_us));
      for (const auto& [host, due] : deaf_) next = std::min(next, due.first);
      for (const auto& [host, process] : processes) {
        if (network.is_frozen(host)) continue;
        next = std::min(next, process->next_us().value_or(until_us));
        if (process->search) next = std::min(next, process->search->looks_at_us.value_or(until_us));
      }
      now_us_ = std::max(now_us_, next);
      clock_.set(now_us_);
      network.advance(now_us_);
      for (const auto& [host, process] : processes) {
        if (network.is_frozen(host)) continue;
        process->advance(now_us_);
        const auto looks = process->search ? process->search->looks_at_us : std::nullopt;
        if (looks && *looks <= now_us_) look_for_key(host);
      }
      std::erase_if(deaf_, [&](const auto& entry) {
        if (now_us_ < entry.second.first) return false;
        entry.second.second();
        return true;
      });
      if (now_us_ >= until_us) break;
    }
    run_jobs();
  }

  static net::Endpoint endpoint(net::SimHost host) { return {"h" + std::to_string(host), kPort}; }
  Common& common() { return common_; }
  net::PublicKey head_key() const { return common_.head_identity.public_key; }
  // Returns a host's key pair, with which the host proves when it enrols that its key is its own.
  static net::KeyPair identity_of(net::SimHost host) {
    static std::map<net::SimHost, net::KeyPair> made;
    const auto found = made.find(host);
    if (found != made.end()) return found->second;
    std::array<std::uint8_t, 32> seed{};
    for (std::size_t i = 0; i < seed.size(); ++i) {
      seed[i] = static_cast<std::uint8_t>(mix(host + 1, i) >> 13);
    }
    return made.emplace(host, net::key_pair_from_seed(seed)).first->second;
  }
  static net::PublicKey key_of(net::SimHost host) { return identity_of(host).public_key; }

 private:
  // Attaches the rooms of a process when it begins to listen: all of them at once, since what one
  // of them dials concerns the others.
  class HearLater {
   public:
    HearLater(World& world, net::SimHost host, std::int64_t deaf_us)
        : world_(world), host_(host), deaf_us_(deaf_us) {}
    template <class Handle>
    void attach(Room room, const Handle& handle) const {
      run([link = world_.at(host_).link, room, handle] { link->attach(room, handle); });
    }
    void run(std::function<void()> action) const {
      if (deaf_us_ == 0) return action();
      world_.deaf_.emplace(host_, std::pair(world_.now_us() + deaf_us_, std::move(action)));
    }

   private:
    World& world_;
    const net::SimHost host_;
    const std::int64_t deaf_us_;
  };
  net::TransportOptions transport_options(net::SimHost host, const net::KeyPair& identity) {
    net::TransportOptions options;
    options.identity = identity;
    options.incarnation = ++incarnations_;
    options.listen = endpoint(host);
    return options;
  }
  Process& make(net::SimHost host) {
    TROUPE_CHECK(!runs(host), "a host runs one process");
    return *(processes[host] = std::make_unique<Process>(common_.config, now_us_));
  }
  std::shared_ptr<Link> open(net::SimHost host, const net::TransportOptions& options) {
    auto link = Link::open(options,
                           [&](const net::TransportOptions& with,
                               net::Handlers handlers) -> Result<std::unique_ptr<net::Transport>> {
                             return network.open(host, with, std::move(handlers));
                           });
    return *link;
  }
  // Goes on with a client's search for the key of the head's own user.
  void look_for_key(net::SimHost host) {
    ClientSearch& search = *at(host).search;
    search.looks_at_us.reset();
    const auto found = local_key_ ? Result<net::Token>(*local_key_)
                                  : Result<net::Token>(Status(Code::kUnavailable, "no key"));
    switch (search.decider.next(found, now_us_)) {
      case KeySearch::Next::kTry:
        return connect(host, *found);
      case KeySearch::Next::kLookAgain:
        search.looks_at_us = now_us_ + 100'000;
        return;
      case KeySearch::Next::kGiveUp:
        at(host).refused = true;
        if (now_us_ < search.until_us) gave_up("too soon: " + search.refusal);
    }
  }
  void connect(net::SimHost host, const net::Token& token) {
    Process& process = at(host);
    if (process.link) {  // the connection with the key that was refused
      process.link->close();
      caf::anon_send_exit(process.client, caf::exit_reason::user_shutdown);
      caf::anon_send_exit(process.bulk, caf::exit_reason::user_shutdown);
    }
    const net::KeyPair identity = identity_of(host + 1000 * ++clients_);
    net::TransportOptions options = transport_options(host, identity);
    options.listen.reset();
    options.cluster = admission->cluster();
    process.link = open(host, options);
    process.bulk = process.track(
        spawn_bulk(*process.system, {process.link, common_.store(host), bytes_, false}));
    process.link->attach(Room::kBulk, process.bulk);
    process.search->tried = token;
    ClientSetup setup;
    setup.link = process.link;
    setup.token = token;
    setup.identity = identity;
    setup.head = endpoint(0);
    setup.bulk = process.bulk;
    setup.on_connected = [this, &process](const Result<std::string>& name) {
      if (name) {
        process.connected = true;
        return;
      }
      ClientSearch& search = *process.search;
      search.refusal = name.status().message();
      const bool stale = name.code() == Code::kPermissionDenied &&
                         search.tried.seed != admission->local_token().token->seed;
      process.refused = !stale;
      if (!stale) return gave_up(search.refusal);
      ++stale_keys;
      search.decider.refuse(search.tried);
      search.looks_at_us = now_us_;
    };
    process.client = process.track(spawn_client(*process.system, std::move(setup)));
    process.link->attach(Room::kClient, process.client);
    caf::anon_send(process.client, join_atom::value);
  }
  void gave_up(const std::string& why) {
    if (refused_client.empty()) refused_client = why;
  }
  std::shared_ptr<model::Store> fetching_store(net::SimHost host) {
    const auto path = common_.folder / "fetched" / std::to_string(host);
    std::filesystem::create_directories(path);
    return *model::Store::open(path);
  }
  void start_node_actor(Process& process, net::SimHost host,
                        const std::shared_ptr<model::Store>& store, bool works,
                        const HearLater& later, std::uint32_t arithmetic = kArithmeticVersion) {
    NodeSetup setup;
    setup.home = common_.store_folder(host);
    setup.name = host == 0 ? "head" : "n" + std::to_string(host);
    setup.advertise = endpoint(host);
    setup.head = head_key();
    setup.head_endpoint = endpoint(0);
    setup.link = process.link;
    setup.store = store;
    setup.bulk = process.bulk;
    if (host != 0) setup.token = admission->join_token().token;
    setup.member = host != 0 && members_.contains(host);
    if (works) {
      process.device = process.track(
          process.system->spawn(sim_device_behavior, common_.device.get(), random_(), job_us_));
      setup.device = process.device;
    }
    setup.load = SimStage::load;
    setup.threads = 1 + static_cast<int>(host % 3);
    setup.memory_bytes = memory_bytes;
    setup.arithmetic = arithmetic;
    setup.bulk_bytes_in = bytes_;
    setup.on_joined = [this, host](const Result<std::string>& name) {
      if (name) members_.insert(host);
    };
    setup.on_stop = [&process](const Status& why) {
      process.stopped = true;
      process.why = why.message();
    };
    process.node = process.track(spawn_node(*process.system, std::move(setup)));
    // Answers of the peers that the node dials go to the node.
    later.run([link = process.link, node = process.node] {
      link->attach(Room::kNode, node);
      caf::anon_send(node, join_atom::value);
    });
  }
  void run_jobs() {
    std::vector<Process*> ready;
    for (;;) {
      ready.clear();
      for (const auto& [host, process] : processes) {
        if (process->scheduler->has_job() && !network.is_frozen(host)) {
          ready.push_back(process.get());
        }
      }
      if (ready.empty()) return;
      auto& scheduler = *ready[draw(ready.size())]->scheduler;
      // Any actor that has mail may run next.
      const std::size_t turn = draw(scheduler.jobs.size());
      if (turn != 0) std::swap(scheduler.jobs.front(), scheduler.jobs[turn]);
      scheduler.run_once();
    }
  }

  Common& common_;
  std::mt19937_64 random_;
  const std::int64_t job_us_;
  const bool real_fetch_;
  std::int64_t now_us_ = kBeginUs;
  std::uint64_t incarnations_ = 100, clients_ = 0;
  std::set<net::SimHost> members_;
  // The file with the key of the user's own programs, as the last head that was ready left it.
  std::optional<net::Token> local_key_;
  // The time at which the rooms of a host begin to listen, and how.
  std::multimap<net::SimHost, std::pair<std::int64_t, std::function<void()>>> deaf_;
  std::shared_ptr<std::atomic<std::uint64_t>> bytes_ =
      std::make_shared<std::atomic<std::uint64_t>>(0);
  VirtualClock clock_;

 public:
  std::uint64_t memory_bytes = 1u << 30;  // of each node that starts
  std::string refused_client;             // why the first client gave up before it was welcomed
  std::size_t stale_keys = 0;             // clients that tried the key of a head that had ended
  std::string engine_trouble;             // the first broken invariant of a block table
  std::map<const EngineState*, BlockCounters> block_counters;
  std::map<const EngineState*, DraftCounters> draft_counters;
  Speculation speculation = Speculation::kWhenItPays;
  net::SimNetwork network;
  std::shared_ptr<Admission> admission;
  std::map<net::SimHost, std::unique_ptr<Process>> processes;
};

}  // namespace troupe::actors::simulation
