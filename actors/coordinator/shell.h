#pragma once

#include <algorithm>
#include <map>
#include <set>

#include <troupe/actors/coordinator/coordinator.h>
#include <troupe/actors/coordinator/session.h>
#include <troupe/actors/engine/engine.h>
#include <troupe/runtime/log.h>

// What the coordinator's files share: its state, and what each of them does for the others. Only
// actors/coordinator/coordinator.cpp and actors/coordinator/ include it; everything runs on the
// actor's thread.

namespace troupe::actors::coordinator {

// How the one who opened a model is answered: by a promise in this process, or by a frame.
using Reply = std::function<void(const ModelReady&)>;

struct Client {
  token_sink session;
  std::shared_ptr<RequestNames> names = std::make_shared<RequestNames>();
};

// Who opened a model and has not asked yet finds it loaded for so long, whatever --keep-alive says.
constexpr std::int64_t kOpenGraceUs = 5'000'000;

struct EngineEntry {
  engine_actor engine;
  std::shared_ptr<EngineCounters> counters;
  std::uint64_t epoch = 0;  // of the placement that it was told of
  std::size_t context_max = 0;
  std::uint64_t submitted = 0;   // requests sent to it
  std::uint64_t idle_after = 0;  // it said: nothing to do after so many
  std::uint64_t awaited = 0;     // opened, and no request has come of it yet
  std::int64_t used_us = 0;      // when it was last opened, asked, or had answered
  bool idle() const { return submitted == idle_after; }
  void opened(std::int64_t now_us) { ++awaited, used_us = now_us; }
  void asked(std::int64_t now_us) {
    ++submitted, used_us = now_us;
    if (awaited > 0) --awaited;
  }
  // How long it stays; nothing while it works or when it stays for ever.
  std::optional<std::int64_t> left_us(std::optional<std::int64_t> keep_alive_us,
                                      std::int64_t now_us) const {
    if (!keep_alive_us || !idle()) return std::nullopt;
    const std::int64_t keep = awaited > 0 ? std::max(*keep_alive_us, kOpenGraceUs) : *keep_alive_us;
    return std::max<std::int64_t>(0, used_us + keep - now_us);
  }
};

// An open that waits for the header of its model.
struct Opening;
// What is done when the header is here, or when it cannot be had, in the place of placing the
// model.
using Instead = std::function<void(const Status&, const Opening&)>;
struct Opening {
  OpenModel open;
  std::vector<model::LayerRange> ranges;
  std::vector<net::PublicKey> sources;
  std::vector<Reply> replies;
  Instead instead;
  bool measured = false;  // what its layers would cost has been asked for
};

// Nodes that have been asked what a model would cost them. One measurement at a time: they would
// slow each other.
struct Measurement {
  Measure order;
  bool begun = false;
  std::set<net::PublicKey> allowing, awaited;
  std::set<net::PublicKey> unasked;  // of those awaited: another one on their host is at it
  // Called once each, on the actor's thread, when all have answered or it has taken too long.
  struct Waiter {
    std::int64_t until_us = 0;
    std::function<void()> then;
  };
  std::vector<Waiter> waiters;
  std::int64_t until_us = 0;  // what is answered later counts no more
};

// When the copies of a deployment's layers are to be made; first its nodes let the others in.
struct CopiesDue {
  std::uint64_t epoch = 0;
  std::int64_t at_us = 0;
  bool allowed = false;
  bool asked = false;     // that is over, unless a node says that it could not
  unsigned failures = 0;  // rounds in which one could not
};

// A head that was started again: until the nodes that held its models are back, or for a while,
// nothing is placed.
struct Restoring {
  std::vector<std::pair<std::uint64_t, OpenModel>> models;  // by the id that they had
  std::set<net::PublicKey> nodes;                           // that are to come back
  std::int64_t until_us = 0;
  std::vector<std::function<void()>> held;  // opens that wait
};

struct Shell {
  std::unique_ptr<ClusterState> state;
  std::map<net::PublicKey, Client> clients;
  std::map<std::uint64_t, std::vector<Reply>> waiting;  // deployments on their way, by id
  std::map<std::uint64_t, EngineEntry> engines;         // by the deployment's id
  std::shared_ptr<ReplayCounters> replay_counters = std::make_shared<ReplayCounters>();
  std::map<std::uint64_t, Opening> openings;               // by a number of our own
  std::set<net::PublicKey> open_ways;                      // first stages that can be reached
  std::map<net::PublicKey, std::int64_t> lost_ways;        // since when; some are open again
  std::map<std::uint64_t, std::int64_t> wanted_ways;       // loaded epochs, to their first stage
  std::map<std::uint64_t, CopiesDue> copies_due;           // by the deployment's id
  std::map<std::uint64_t, std::int64_t> no_replica_until;  // by the eldest's id
  // Deployments with a source of weights that the loads under way do not know, by id.
  std::set<std::uint64_t> fresh_sources;
  std::set<net::PublicKey> local_clients;           // of the head's own user: they may manage keys
  std::map<net::PublicKey, std::int64_t> revoking;  // nodes whose frames are dropped from then on
  std::uint64_t next_opening = 1;
  std::optional<Restoring> restoring;
  // By model: of those that were ever placed, so that they need nobody who brings them again.
  std::map<std::string, model::Manifest> manifests;
  std::map<std::uint64_t, Measurement> measurements;  // by number
  std::uint64_t next_measurement = 1;
};
using Self = coordinator_actor::stateful_pointer<Shell>;
using Setup = std::shared_ptr<const CoordinatorSetup>;

template <class Message>
void tell(const Setup& setup, const net::PublicKey& node, MessageType type, const Message& message,
          std::uint64_t epoch = 0) {
  const Status sent = setup->link->send(node, type, message, epoch);
  if (!sent) log(LogLevel::kWarning, "cannot reach a node: " + sent.message());
}

// placement.cpp: models become deployments.

// Positions whose keys and values a placement counts on, where the model has more.
constexpr std::size_t kPlannedContext = 4096;
// As many as were asked for, or as usual (0), and never more than the model has.
inline std::size_t planned_context(const model::ModelConfig& config, std::uint64_t asked) {
  return std::min<std::size_t>(config.context_max, asked == 0 ? kPlannedContext : asked);
}

ModelReady refusal(const Status& why);
// Of the model of an opening whose header is here; errors: as the header has them.
Result<model::ModelConfig> config_of(const Setup& setup, const Opening& opening);
// What such an opening asks for, its memory for `context` positions (0: as usual).
//   Errors: kInvalidArgument (an encoder), and what the header's are.
Result<ModelAsk> ask_of(const Setup& setup, const Opening& opening, std::uint64_t context);

// Answers with a deployment of the model that is ready, or makes one; `from` has the file when the
// message has a manifest. `reply` is called once; or `instead`, when it is given.
void open_model(Self self, const Setup& setup, OpenModel open, const net::PublicKey& from,
                Reply reply, Instead instead = {});
PeerAddress address_of(Self self, const Setup& setup, const net::PublicKey& key);
// What an opening would become with keys and values of `context` positions (0: as it would be
// placed) on the nodes of these names (none: all), as a JSON object.
Result<std::string> plan_text(Self self, const Setup& setup, const Opening& opening,
                              std::uint64_t context, const std::vector<std::string>& nodes);
// The header that the opening `number` waited for is here, or why not.
void on_header(Self self, const Setup& setup, std::uint64_t number, const Status& status);
// Every node of the deployment is to let its peers in.
void begin_allowing(Self self, const Setup& setup, const Deployment& deployment);
// They have: they load.
void begin_loading(Self self, const Setup& setup, const Deployment& deployment);
// Starts the engine of a deployment whose stages are loaded and whose first stage can be reached.
void begin_serving(Self self, const Setup& setup, std::uint64_t epoch);
// Its requests and those who wait for it get `why`, its nodes let go.
void end_deployment(Self self, const Setup& setup, std::uint64_t id, const Status& why);
// Where one more answer takes least time, of a deployment and its replicas that serve; nullptr:
// none does.
Deployment* least_busy(Self self, const Deployment& eldest);
// Ends replicas that lie beside another one and have nothing to do any more.
void release_doubled(Self self, const Setup& setup);
// One more replica, when all that there are have enough to do and nodes are left that have nothing
// of the model.
void replicate_when_busy(Self self, const Setup& setup, const Deployment& eldest);
// What is due: every layer also on the disk of the nodes that would take it over.
void look_after_copies(Self self, const Setup& setup);
// A node could not copy layers of this model.
void copy_again(Self self, const std::string& model);

// engines.cpp: what an engine is given.

EnginePlacement engine_placement(Self self, const Deployment& deployment, std::size_t context_max);
// Errors: as the model's header has them (its tokenizer, its shape). A chat template that cannot be
// used is no error: who asks for a chat is told.
Result<EngineSetup> make_engine_setup(Self self, const Setup& setup, const Deployment& deployment);

// keeping.cpp: how long deployments stay.

// Its engine knows where its layers lie.
bool is_serving(Self self, const Deployment& deployment);
// Somebody asks it, waits for it, or has just been told that it is there.
bool in_use(Self self, std::uint64_t id);
// Those that have an engine and are not in use: they would make room.
std::set<std::uint64_t> unused(Self self);
// Ends the one of them that was used longest ago, but none of `except`; false when there is none.
bool make_room(Self self, const Setup& setup, const std::set<std::uint64_t>& except);
// Lets go of models that nobody has used for --keep-alive.
void release_unused(Self self, const Setup& setup);
// What `status` says of the engines.
std::map<std::uint64_t, DeploymentUse> uses_of(Self self, const Setup& setup);

// restore.cpp: what outlives this process.

// Before anything else: what an earlier run of this head had placed.
void begin_restoring(Self self, const Setup& setup);
// Places it when it is time.
void look_after_restoring(Self self, const Setup& setup);
// The deployment serves, or has ended.
void write_down(Self self, const Setup& setup, const Deployment& deployment);
void strike_out(Self self, const Setup& setup, std::uint64_t id);
// The sink that an engine gets for a request that can be resumed.
token_sink logged_sink(Self self, const Setup& setup, const Submit& request,
                       const token_sink& sink);
// measuring.cpp: what layers would cost, before they lie anywhere.

// Asks every node, unless all have answered lately; false: there is nothing to wait for. `then` is
// called once when all have answered, or `patience_us` is over. `alone`: a single worker, too.
bool measure_first(Self self, const Setup& setup, const OpenModel& open,
                   const model::ModelConfig& config, std::int64_t patience_us, bool alone,
                   std::function<void()> then);
// False: no measurement has that number.
bool on_measuring_allowed(Self self, const Setup& setup, const net::PublicKey& node,
                          std::uint64_t number);
void on_measured(Self self, const Setup& setup, const net::PublicKey& node,
                 const Measured& measured);
void look_after_measurements(Self self, const Setup& setup);
// `troupe plan`; `reply` is called once.
void plan_model(Self self, const Setup& setup, const PlanModel& asked, const net::PublicKey& from,
                std::function<void(const Managed&)> reply);

// recovery.cpp: deployments that lost a stage.

// Places it anew under a new epoch, with `grow` on all nodes; its requests wait and are replayed.
// `lost` says what was lost, `crashed` names the worker that died, if one did. When nobody can hold
// the layers for 10 s, its requests end with what was lost.
void recover(Self self, const Setup& setup, std::uint64_t id, const std::string& lost,
             const std::string& crashed, bool grow = false);
// A node is gone, `how` ends the sentence: its deployments are placed anew. Not dead: it left in
// peace.
void lose_node(Self self, const Setup& setup, const net::PublicKey& key, const char* how,
               bool died = true);
void on_stage_failed(Self self, const Setup& setup, const net::PublicKey& node,
                     const StageFailed& failed);
// What is due: deployments that wait, ways to first stages that stay closed.
void look_after_lost(Self self, const Setup& setup);

// members.cpp: newcomers, leases, nodes that leave.

void on_node_frame(Self self, const Setup& setup, const net::InFrame& frame);

// clients.cpp: what clients ask.

void on_client_frame(Self self, const Setup& setup, const net::InFrame& frame);
// The client's record; made, with its session, when it is new.
Client& client_of(Self self, const Setup& setup, const net::PublicKey& key);
void forget_client(Self self, const Setup& setup, const net::PublicKey& key);
void submit(Self self, const Setup& setup, const SubmitPtr& request, const token_sink& sink);
void cancel(Self self, std::uint64_t request);
void stop_cluster(Self self, const Setup& setup, bool everywhere);
std::string status_text(Self self, const Setup& setup);

// manage.cpp: models unloaded, keys made, listed and revoked.

// `own_user`: the asker is a client of the user who runs the head.
Managed manage(Self self, const Setup& setup, const Manage& ask, bool own_user);
void tell_revoked(const Setup& setup, const net::PublicKey& key);
void drop_revoked(Self self, const Setup& setup, std::int64_t now_us);

}  // namespace troupe::actors::coordinator
