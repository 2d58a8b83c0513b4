#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <catch2/catch.hpp>

#include <troupe/actors/bulk/fetch_plan.h>
#include <troupe/actors/bulk/fetch_rights.h>
#include <troupe/actors/coordinator/key_admin.h>
#include <troupe/actors/coordinator/measuring.h>
#include <troupe/actors/coordinator/members.h>
#include <troupe/actors/coordinator/recovery.h>
#include <troupe/actors/jobs/jobs_actor.h>
#include <troupe/actors/messages/enrolment.h>
#include <troupe/actors/messages/rights.h>
#include <troupe/tests/actors/cluster_state/cluster.h>
#include <troupe/tests/actors/messages/wire_tables.h>

// Tests that a process treats messages and asks about another's things as docs/wire.md says.

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::coordinator;
using namespace troupe::actors::test;
using net::Role;

namespace {

// A head with the nodes 1 and 2 (which are "we" and "another") and a deployment on 2 alone.
struct Head : HeadState {
  Head() {
    auto made = std::make_shared<CoordinatorSetup>();
    made->link = Link::loopback();
    setup = made;
    owners = std::make_shared<Owners>();
    cluster = ClusterState(100);
    REQUIRE(cluster.join(key(1), hello_with("we", 12), true, 9, 0));
    REQUIRE(cluster.join(key(2), hello_with("another", 12), true, 9, 0));
    deployment = *place_model(cluster, spec(10, {{0, 10}}, layers_of_a_mib(10)));
    auto& stages = cluster.deployments.at(deployment).stages;
    REQUIRE(stages.size() == 1);
    stages[0].node = key(2);
  }
  Deployment& its() { return cluster.deployments.at(deployment); }
  template <class Message>
  void hears(const Message& message) {
    on_node_frame(*this, frame_from(key(1), Role::kNode, message));
  }
  std::uint64_t deployment = 0;
};

// The jobs of a head whose only worker is its own process: what is sent to it stays here.
struct Jobs {
  explicit Jobs(std::shared_ptr<Journal> with) : journal(std::move(with)) {
    const auto listening = [](link_user::pointer, Jobs* me) -> link_user::behavior_type {
      return {[me](const FramePtr& frame) {
                std::lock_guard lock(me->mutex);
                me->heard.push_back(frame);
                me->arrived.notify_all();
              },
              [](const PeerEventPtr&) {}};
    };
    replies = system.spawn(listening, this);
    link->attach(Room::kClient, replies);
    link->attach(Room::kTasks, replies);
    jobs = spawn_jobs(system, {journal, link});
  }
  ~Jobs() {
    caf::anon_send_exit(jobs, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(replies, caf::exit_reason::user_shutdown);
    link->close();
  }
  template <class Message>
  void hears(const net::PublicKey& peer, Role role, const Message& message) {
    caf::anon_send(jobs, std::make_shared<const net::InFrame>(frame_from(peer, role, message)));
  }
  template <class Message>
  Message next() {
    std::unique_lock lock(mutex);
    REQUIRE(arrived.wait_for(lock, std::chrono::seconds(20), [this] { return !heard.empty(); }));
    const FramePtr frame = heard.front();
    heard.pop_front();
    const auto message = wire::decode<Message>(std::span<const std::byte>(frame->body));
    REQUIRE(message);
    return *message;
  }
  // Asks as a client of this role, whose identity is our own key.
  JobReply ask(Role role, JobAskKind kind, const std::string& id) {
    JobAsk ask;
    ask.kind = static_cast<std::uint8_t>(kind);
    ask.id = id;
    ask.job_kind = "upper";
    ask.spec = "{}";
    ask.shards = 1;
    ask.inputs = {"x"};
    hears(link->self(), role, ask);
    return next<JobReply>();
  }

  caf::actor_system_config config;
  caf::actor_system system{config};
  std::shared_ptr<Link> link = Link::loopback();
  std::shared_ptr<Journal> journal;
  link_user replies;
  jobs_actor jobs;
  std::mutex mutex;
  std::condition_variable arrived;
  std::deque<FramePtr> heard;
};

// Returns whether a node ends, or takes away, what another one was given.
bool another_ends_a_task() {
  Jobs jobs(std::move(*Journal::in_memory()));
  REQUIRE(jobs.journal->receive({"job", "", "upper", "{}", 1, 0, {"x"}}, 1).is_ok());
  const auto serving = [](int) -> service_actor::behavior_type {
    return {[](open_atom, const OpenPtr&) { return ReadyPtr(); },
            [](submit_atom, const SubmitPtr&, const token_sink&) {},
            [](cancel_atom, std::uint64_t) {},
            [](status_atom) { return std::string(); },
            [](manage_atom, const ManagePtr&) { return ManagedPtr(); },
            [](job_atom, const JobAskPtr&) { return JobReplyPtr(); },
            [](plan_atom, const PlanPtr&) { return ManagedPtr(); }};
  };
  const auto service = jobs.system.spawn(serving, 0);
  // The job was there before the actor, which goes on with the job.
  caf::anon_send(jobs.jobs, service_atom::value, service);
  jobs.hears(jobs.link->self(), Role::kNode, JobKinds{{"upper"}});
  const auto order = jobs.next<JobTaskOrder>();
  jobs.hears(key(9), Role::kNode, JobKinds{{}});
  jobs.hears(key(9), Role::kNode, JobTaskDone{order.attempt, {}, "forged"});
  jobs.hears(key(9), Role::kNode,
             JobTaskDone{order.attempt, Status(Code::kInternal, "forged"), ""});
  jobs.hears(jobs.link->self(), Role::kNode, JobTaskDone{order.attempt, {}, "right"});
  std::string output;
  for (int i = 0; i < 2'000 && output.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto written = jobs.journal->output(1, 0);
    if (written) output = *written;
  }
  return output != "right";
}

// Returns whether a message of ours about another's things changed them. The switch has no default:
// a message of the scopes below needs a trial before this compiles.
bool reaches_another(const MessageRow& row) {
  switch (row.type) {
    case MessageType::kEnrol: {
      // A key of which only the public half is known.
      const net::KeyPair head = net::make_key_pair(), own = net::make_key_pair(),
                         theirs = net::make_key_pair();
      const EnrolmentPlace place{7, own.public_key, 99};
      const net::KeyPair claimed{theirs.public_key, own.secret_key};
      const Enrol enrol =
          make_enrol(place, head.public_key, claimed, claimed, Role::kNode, "another");
      return check_enrol(place, head, enrol).is_ok();
    }
    case MessageType::kHello: {
      // We claim the name of another node, in the hope that its orders come to us.
      Head head;
      REQUIRE(head.cluster.join(key(3), hello_with("another", 12), true, 10, 1));
      const NodeRecord* named = head.cluster.members.find_named("another");
      return named == nullptr || named->key != key(2);
    }
    case MessageType::kHeartbeat: {
      Head head;
      Heartbeat beat;
      beat.troubles = {"a trouble"};
      beat.epochs = {head.its().epoch};
      head.hears(beat);
      REQUIRE(!head.cluster.members.find(key(1))->troubles.empty());
      return !head.cluster.members.find(key(2))->troubles.empty() ||
             head.cluster.members.find(key(2))->heard_us != 0;
    }
    case MessageType::kLeave: {
      Head head;
      head.hears(Leave{"bye"});
      REQUIRE(!head.cluster.members.is_alive(key(1)));
      return !head.cluster.members.is_alive(key(2));
    }
    case MessageType::kPeersAllowed: {
      Head head;
      head.hears(PeersAllowed{head.its().epoch});
      return head.its().life != DeploymentLife::kAllowing || head.its().stages[0].allowed;
    }
    case MessageType::kStageLoaded: {
      Head head;
      head.its().life = DeploymentLife::kLoading;
      head.hears(StageLoaded{head.its().epoch, 7, 7});
      return head.its().life != DeploymentLife::kLoading || head.its().stages[0].loaded;
    }
    case MessageType::kStageFailed: {
      for (const auto blame : {StageFailed::kStage, StageFailed::kNext, StageFailed::kNobody}) {
        Head head;
        head.its().life = DeploymentLife::kReady;
        const std::uint64_t epoch = head.its().epoch;
        head.hears(StageFailed{epoch, Status(Code::kInternal, "no"), blame});
        if (head.its().epoch != epoch || head.its().life != DeploymentLife::kReady) return true;
      }
      return false;
    }
    case MessageType::kPrefetched: {
      Head head;
      head.hears(Prefetched{"m", 0, 10, 5, 0});
      REQUIRE(head.cluster.members.find(key(1))->copied_bytes == 5);
      return head.cluster.members.find(key(2))->copied_bytes != 0;
    }
    case MessageType::kMeasured: {
      // A measurement awaits the other node, so we can neither end it nor report a cost.
      Head head;
      Measurement& measurement = head.measurements[4];
      measurement.begun = true;
      measurement.awaited = {key(2)};
      head.hears(Measured{4, {}, {{9, 1, 2, 3, 4}, {8, 5, 6, 7, 8}, 9, 10, 11, 0.5, 2, 3}, {}});
      const bool costs = head.cluster.costs.measured_since("", key(1), 0);
      return costs || !head.measurements.contains(4) ||
             !head.measurements[4].awaited.contains(key(2));
    }
    case MessageType::kBlobChunk:
    case MessageType::kBlobMissing: {
      FetchPlan plan;
      plan.add({std::string(64, 'a'), 100});
      const auto blob = plan.claim(key(2));
      REQUIRE(blob);
      REQUIRE_FALSE(plan.begin(blob->sha256, 0));
      const auto ask = plan.next(key(2));
      REQUIRE(ask);
      REQUIRE(plan.expects(key(2), ask->sha256, 0, 100));
      REQUIRE(plan.claimed(key(2), ask->sha256) != nullptr);
      return plan.expects(key(1), ask->sha256, 0, 100) ||
             plan.claimed(key(1), ask->sha256) != nullptr;
    }
    case MessageType::kFetchBlob: {
      FetchRights rights;
      rights.grant({"m", {{"part", 10}}, {key(2)}});
      rights.grant({"n", {{"ours", 10}}, {key(1)}});
      REQUIRE(rights.may(key(2), "part"));
      REQUIRE(rights.may(key(1), "ours"));
      return rights.may(key(1), "part");
    }
    case MessageType::kSubmit: {
      // The id of our stream is another's already: what was kept of that answer stays, and ours is
      // not kept.
      const auto journal = std::move(*Journal::in_memory());
      REQUIRE(journal->save_stream({"id", "another", "o", "s", {1, 2}}, 1).is_ok());
      const Status taken = journal->save_stream({"id", "we", "o", "x", {}}, 2);
      (void)journal->add_tokens("id", "we", 2, {3});
      (void)journal->forget_stream("id", "we");
      const auto kept = journal->stream("id");
      return taken.is_ok() || !kept || kept->owner != "another" || kept->submit != "s" ||
             kept->tokens.size() != 2;
    }
    case MessageType::kCancel: {
      RequestNames ours, theirs;
      const std::uint64_t number = theirs.add(5);
      return ours.ours(5) != 0 || ours.ours(number) != 0;
    }
    case MessageType::kJobKinds:
    case MessageType::kJobTaskDone:
      return another_ends_a_task();
    // A probe is answered where it came from; an answer counts for the connection that is being
    // measured (node/measure.cpp). Only nodes that the head has told about a serving client ask
    // that client.
    case MessageType::kProbe:
    case MessageType::kProbeAnswer:
    case MessageType::kServing:
    // The link decides about these, above.
    case MessageType::kEnrolled:
    case MessageType::kWelcome:
    case MessageType::kRefused:
    case MessageType::kHeartbeatAck:
    case MessageType::kStopDaemon:
    case MessageType::kAllowPeers:
    case MessageType::kServePeers:
    case MessageType::kLoadStage:
    case MessageType::kUnloadStage:
    case MessageType::kForgetPeers:
    case MessageType::kPrefetch:
    case MessageType::kMeasure:
    case MessageType::kStep:
    case MessageType::kStepDone:
    case MessageType::kStepFailed:
    case MessageType::kModelReady:
    case MessageType::kTokens:
    case MessageType::kFinished:
    case MessageType::kStatusReply:
    case MessageType::kManaged:
    case MessageType::kJobReply:
    case MessageType::kJobTask:
    // The asks, below.
    case MessageType::kManage:
    case MessageType::kJobAsk:
    // Everybody's.
    case MessageType::kOpenModel:
    case MessageType::kStatusQuery:
    case MessageType::kPlanModel:
      return false;
  }
  return true;
}

}  // namespace

TEST_CASE("matrix: what is said of another's things changes nothing") {
  for (const MessageRow& row : message_rows()) {
    INFO(row.name);
    CHECK_FALSE(reaches_another(row));
  }
}

TEST_CASE("matrix: every job ask by every role, about its own job and about another's") {
  Table table = table_of("job ask");
  for (const Role role : kRoles) {
    if (!net::is_client(role)) continue;  // the link drops what others ask, as tested above
    for (const AskName& ask : job_asks()) {
      const auto kind = static_cast<JobAskKind>(ask.kind);
      INFO(ask.name << " of the role " << net::role_name(role));
      Jobs head(std::move(*Journal::in_memory()));
      Journal& journal = *head.journal;
      const std::string own = net::to_z85(head.link->self());
      for (const auto& [id, owner] : {std::pair<std::string, std::string>{"own", own},
                                      std::pair<std::string, std::string>{"other", "another"}}) {
        REQUIRE(journal.receive({id, owner, "upper", "{}", 1, 0, {"x"}}, 1).is_ok());
        const auto job = journal.job(id);
        REQUIRE(job);
        // Another's job that is over has an output; a running one can be cancelled.
        if (kind == JobAskKind::kOutput) {
          REQUIRE(journal.finish_shard(job->number, 0, "y", "line", true, 2).is_ok());
        }
        if (kind == JobAskKind::kResult) {
          REQUIRE(journal.merge(job->number, 0, 1, "y", true, 2).is_ok());
        }
        const auto bytes = [](const auto& message) {
          const auto encoded = wire::encode(message);
          return std::string(reinterpret_cast<const char*>(encoded.data()), encoded.size());
        };
        REQUIRE(
            journal.save_stream({id, owner, bytes(OpenModel{}), bytes(Submit{}), {}}, 1).is_ok());
      }
      const std::string cell = table[ask.name][net::role_name(role)];
      const JobReply mine = head.ask(role, kind, "own");
      CHECK(mine.outcome.is_ok() == (cell != "-"));
      const JobReply others = head.ask(role, kind, "other");
      if (kind == JobAskKind::kList) {
        CHECK((others.outcome.text.find("\"other\"") != std::string::npos) == (cell == "all"));
        continue;
      }
      CHECK(others.outcome.is_ok() == (cell == "all"));
      if (cell == "all") continue;
      // A submitter must learn that the id is taken; for every other ask the job looks absent.
      CHECK(others.outcome.status().code() ==
            (kind == JobAskKind::kSubmit ? Code::kAlreadyExists : Code::kNotFound));
      CHECK(others.data.empty());
      if (kind == JobAskKind::kCancel) CHECK(journal.job("other")->life == JobLife::kRunning);
    }
  }
}

TEST_CASE("matrix: every management verb by every role") {
  Table table = table_of("manage");
  for (const Role role : kRoles) {
    for (const AskName& ask : manage_asks()) {
      INFO(ask.name << " of the role " << net::role_name(role));
      Head head;
      Manage message;
      message.kind = ask.kind;
      message.subject = "nobody";
      const Managed answer = manage(head, message, {key(5), role, "address"});
      const bool denied = answer.outcome.status().code() == Code::kPermissionDenied;
      CHECK(denied == (table[ask.name][net::role_name(role)] == "-"));
    }
  }
}
