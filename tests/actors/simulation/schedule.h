#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>

#include "frame_watch.h"
#include "happened.h"
#include "hostile.h"
#include "stream.h"

// A schedule: a cluster, requests and faults, all drawn from one seed, and the checks of what must
// hold whatever happens: no token is lost, repeated or wrong; nothing of an old epoch is believed;
// no more steps are under way than the path has credits; every request ends, with its text or an
// error in words; the cluster serves again once the network is whole; nothing is left over.

namespace troupe::actors::simulation {

class Schedule {
 public:
  // With `hostile`, members that mean harm take part until the network is made whole.
  Schedule(Common& common, std::uint64_t seed, Happened& happened, bool hostile = false)
      : seed_(seed),
        random_(seed),
        happened_(happened),
        common_(common),
        nodes_(2 + draw(3)),
        quiet_(draw(8) == 0),
        head_works_(draw(6) == 0),
        real_fetch_(draw(24) == 0),
        short_of_memory_(draw(10) == 0),
        world_(common, network_options(), job_us(), real_fetch_),
        frames_(world_, head_works_, happened_) {
    if (hostile) hostile_ = std::make_unique<Hostile>(world_, frames_, happened_, seed + 2);
  }

  // Says what did not hold; empty if all held.
  std::string run() {
    constexpr Speculation kSpeculations[] = {Speculation::kOff, Speculation::kWhenItPays,
                                             Speculation::kAlways, Speculation::kAlways};
    world_.speculation = kSpeculations[draw(std::size(kSpeculations))];
    if (short_of_memory_) world_.memory_bytes = kModelBytes + draw(40'000);
    // A host behind a firewall: it dials, but nobody can dial it.
    if (!quiet_ && draw(5) == 0) world_.network.wall_in(1 + draw(nodes_));
    world_.start_head(head_works_, deaf_us());
    for (net::SimHost host = 1; host <= nodes_; ++host) world_.start_node(host, deaf_us());
    pass(400'000 + draw(600'000));
    if (hostile_) hostile_->enter();
    const std::size_t clients = 1 + draw(2);
    for (std::size_t i = 0; i < clients; ++i) world_.start_client(kFirstClient + i);
    std::size_t faults = quiet_ ? 0 : 1 + draw(5);
    std::size_t requests = (short_of_memory_ ? 4 : 1) + draw(6);
    pass(100'000);
    while (faults + requests > 0) {
      if (draw(faults + requests) < requests) {
        --requests;
        new_request(kFirstClient + draw(clients));
        attack();
        pass(draw(4) == 0 ? draw(1'500'000) : draw(80'000));
      } else {
        --faults;
        attack();
        fault();
        pass(draw(3) == 0 ? draw(3'000'000) : draw(250'000));
      }
    }
    make_whole();
    world_.run_until(world_.now_us() + 100'000'000, [this] { return all_settled(); });
    for (const StreamPtr& stream : streams_) {
      if (!stream->settled()) complain("request " + std::to_string(stream->name) + " never ended");
    }
    if (wrong().empty()) probe();
    if (wrong().empty()) look_for_leaks();
    end();
    return wrong();
  }

  std::string story() const { return story_.str(); }

 private:
  static constexpr net::SimHost kFirstClient = 20, kHasty = 29, kProbe = 30;
  // The memory that one node needs for all layers, and for keys and values of kContext positions.
  static constexpr std::uint64_t kModelBytes = 245'000;

  std::uint64_t draw(std::uint64_t below) { return random_() % below; }
  net::SimOptions network_options() {
    net::SimOptions options;
    options.seed = seed_ + 1;
    options.latency_us = 50 + static_cast<std::int64_t>(draw(2'000));
    options.jitter_us = static_cast<std::int64_t>(draw(4'000));
    if (quiet_) return options;
    const auto rate = [&](unsigned most) {
      return draw(2) == 0 ? 0u : static_cast<unsigned>(draw(most));
    };
    options.duplicate = rate(500);
    options.replay = rate(300);
    options.reorder = rate(30);
    options.damage = rate(6);
    return options;
  }
  std::int64_t job_us() { return 500 + static_cast<std::int64_t>(draw(20'000)); }

  void tell(const std::string& what) {
    story_ << "  " << (world_.now_us() - World::kBeginUs) / 1000 << " ms: " << what << "\n";
  }
  void complain(const std::string& what) {
    if (wrong_.empty()) wrong_ = what;
  }
  std::string wrong() const {
    if (!wrong_.empty()) return wrong_;
    for (const StreamPtr& stream : streams_) {
      if (!stream->wrong.empty()) return stream->wrong;
    }
    if (!frames_.wrong().empty()) return frames_.wrong();
    const net::SimFaults& faults = world_.network.faults();
    if (!world_.engine_trouble.empty()) return world_.engine_trouble;
    // No fault is a reason to give up: the head's key is there, and the client's is never revoked.
    if (!world_.refused_client.empty()) return "a client gave up: " + world_.refused_client;
    if (faults.damaged_taken != 0) return "a damaged frame was taken";
    if (faults.repeated_taken != 0) return "a frame was taken twice";
    return "";
  }

  // ---- time ----

  // Lets time pass, so that everything that is due within it happens.
  void pass(std::uint64_t us) {
    const std::int64_t until = world_.now_us() + static_cast<std::int64_t>(us);
    while (!later_.empty() && later_.begin()->first <= until) {
      world_.run_until(later_.begin()->first);
      const auto action = std::move(later_.begin()->second);
      later_.erase(later_.begin());
      action();
      bury();
    }
    world_.run_until(until);
    bury();
  }
  void later(std::uint64_t us, std::function<void()> action) {
    later_.emplace(world_.now_us() + static_cast<std::int64_t>(us), std::move(action));
  }
  // Removes the daemons that were told to end.
  void bury() {
    std::vector<net::SimHost> stopped;
    for (const auto& [host, process] : world_.processes) {
      if (process->stopped) stopped.push_back(host);
    }
    for (const net::SimHost host : stopped) {
      tell("h" + std::to_string(host) + " ended: " + world_.at(host).why);
      collect(host);
      if (!world_.kill(host)) complain("actors were left over when a daemon ended");
      if (host <= nodes_ && !revoked_.contains(host)) {
        later(500'000, [this, host] { revive(host); });
      }
    }
  }
  void revive(net::SimHost host) {
    if (world_.runs(host) || revoked_.contains(host)) return;
    tell("h" + std::to_string(host) + " starts");
    ++happened_.restarts;
    host == 0 ? world_.start_head(head_works_, deaf_us()) : world_.start_node(host, deaf_us());
  }
  // Draws how long a daemon's sockets are open before any of its rooms listens; mostly 0.
  std::int64_t deaf_us() {
    if (quiet_ || draw(3) != 0) return 0;
    ++happened_.deaf;
    return 1 + static_cast<std::int64_t>(draw(2'000'000));
  }

  // ---- requests ----

  StreamPtr make_stream(net::SimHost client) {
    auto stream = std::make_shared<Stream>();
    stream->client = client;
    stream->name = static_cast<int>(streams_.size()) + 1;
    stream->prompt.resize(1 + draw(draw(4) == 0 ? 200 : 20));
    for (model::TokenId& id : stream->prompt) id = static_cast<model::TokenId>(draw(kEnd));
    if (draw(3) != 0) {  // begins like other prompts, of this client and of others
      const std::uint64_t which = draw(2), length = 50 + draw(200);
      std::vector<model::TokenId> begin(length);
      for (std::uint64_t i = 0; i < length; ++i) {
        begin[i] = static_cast<model::TokenId>(mix(which, i) % kEnd);
      }
      stream->prompt.insert(stream->prompt.begin(), begin.begin(), begin.end());
    }
    stream->max_tokens = 1 + static_cast<std::uint32_t>(draw(60));
    stream->sampling.temperature = 0;
    if (short_of_memory_) {  // answers outgrow the memory that there was when they began
      stream->max_tokens = 60 + static_cast<std::uint32_t>(draw(130));
      stream->max_tokens = std::min(stream->max_tokens,
                                    static_cast<std::uint32_t>(kContext - stream->prompt.size()));
      stream->sampling.logit_bias = {{kEnd, -100.0f}};
    }
    if (draw(3) == 0) {
      stream->sampling.temperature = 0.8f;
      stream->sampling.seed = draw(1000);
    }
    if (draw(3) == 0) {
      stream->sampling.repeat_penalty = 1.3f;
      stream->sampling.presence_penalty = 0.4f;
    }
    // Answers of few words repeat themselves, so that drafts come true.
    if (draw(2) == 0) {
      for (model::TokenId id = 3; id < kEnd; ++id) stream->sampling.logit_bias.push_back({id, -60});
    }
    stream->traced = draw(4) == 0;
    stream->right = right_answer(stream->prompt, stream->max_tokens, stream->sampling);
    return stream;
  }
  void new_request(net::SimHost client) {
    if (world_.network.is_frozen(client)) return;
    if (world_.runs(client) && world_.at(client).refused) drop_client(client);
    if (!world_.runs(client)) world_.start_client(client);
    const StreamPtr stream = make_stream(client);
    if (seed_ % 3 == 1) {  // without a draw, which would make other schedules of all seeds
      stream->weight = 1 + static_cast<std::uint32_t>(stream->name % 4);
      stream->priority = static_cast<std::int32_t>(stream->name % 5) - 2;
    }
    streams_.push_back(stream);
    ++happened_.requests;
    ask(world_, world_.at(client), stream);
    tell("request " + std::to_string(stream->name) + " of h" + std::to_string(client));
  }
  bool all_settled() const {
    return std::all_of(streams_.begin(), streams_.end(),
                       [](const StreamPtr& stream) { return stream->settled(); });
  }
  void drop_client(net::SimHost client) {
    for (const StreamPtr& stream : streams_) {
      if (stream->client == client && !stream->over) stream->orphan = true;
    }
    if (!world_.kill(client)) complain("actors were left over when a client died");
  }

  // ---- faults ----

  net::SimHost some_node() { return 1 + draw(nodes_); }
  net::SimHost some_daemon() { return draw(nodes_ + 1); }
  void fault() {
    static constexpr void (Schedule::*kKinds[])() = {
        &Schedule::kill_node, &Schedule::kill_node,  &Schedule::kill_node, &Schedule::freeze,
        &Schedule::cut_link,  &Schedule::cut_link,   &Schedule::cut_link,  &Schedule::break_link,
        &Schedule::forge,     &Schedule::forge,      &Schedule::forge,     &Schedule::leave,
        &Schedule::kill_rare, &Schedule::break_link, &Schedule::freeze,    &Schedule::one_more};
    (this->*kKinds[draw(std::size(kKinds))])();
  }
  void attack() {
    if (hostile_) tell("a hostile member: " + hostile_->attack(nodes_));
  }
  void kill_node() {
    const net::SimHost host = some_node();
    if (!world_.runs(host)) return;
    tell("kill -9 of h" + std::to_string(host));
    ++happened_.kills;
    collect(host);
    if (!world_.kill(host)) complain("actors were left over when a node died");
    if (draw(4) != 0) {
      later(200'000 + draw(4'000'000), [this, host] { revive(host); });
    }
  }
  void kill_rare() {
    if (draw(2) == 0) {
      const net::SimHost client = kFirstClient + draw(2);
      if (!world_.runs(client)) return;
      tell("kill -9 of client h" + std::to_string(client));
      ++happened_.client_kills;
      return drop_client(client);
    }
    if (!world_.runs(0)) return;
    tell("kill -9 of the head");
    ++happened_.head_kills;
    collect(0);
    if (!world_.kill(0)) complain("actors were left over when the head died");
    later(300'000 + draw(3'000'000), [this] { revive(0); });
    // A command that begins now finds the key of the head that has just ended.
    if (draw(2) == 0 && !world_.runs(kHasty)) new_request(kHasty);
  }
  void freeze() {
    const net::SimHost host = draw(5) == 0 ? kFirstClient : some_daemon();
    if (!world_.runs(host) || world_.network.is_frozen(host)) return;
    const std::uint64_t us = 50'000 + draw(draw(2) == 0 ? 1'000'000 : 6'000'000);
    tell("SIGSTOP of h" + std::to_string(host) + " for " + std::to_string(us / 1000) + " ms");
    ++happened_.freezes;
    world_.network.freeze(host);
    later(us, [this, host] {
      tell("SIGCONT of h" + std::to_string(host));
      world_.network.thaw(host);
    });
  }
  void cut_link() {
    const net::SimHost a = some_daemon();
    const net::SimHost b = draw(8) == 0 ? kFirstClient : some_daemon();
    if (a == b) return;
    const bool one_way = draw(2) == 0;
    const std::uint64_t us = 100'000 + draw(draw(2) == 0 ? 1'500'000 : 12'000'000);
    tell("h" + std::to_string(a) + " does not reach h" + std::to_string(b) +
         (one_way ? "" : ", nor the other way") + " for " + std::to_string(us / 1000) + " ms");
    ++(one_way ? happened_.one_way_cuts : happened_.cuts);
    world_.network.cut(a, b);
    if (!one_way) world_.network.cut(b, a);
    later(us, [this, a, b, one_way] {
      tell("h" + std::to_string(a) + " and h" + std::to_string(b) + " hear each other again");
      world_.network.heal(a, b);
      if (!one_way) world_.network.heal(b, a);
    });
  }
  void break_link() {
    const net::SimHost a = some_daemon(), b = draw(8) == 0 ? kFirstClient : some_daemon();
    if (a == b) return;
    tell("connections of h" + std::to_string(a) + " and h" + std::to_string(b) + " break");
    ++happened_.breaks;
    world_.network.break_between(a, b);
  }
  void leave() {
    const net::SimHost host = some_node();
    if (!world_.runs(host) || world_.network.is_frozen(host)) return;
    tell("h" + std::to_string(host) + " leaves");
    ++happened_.leaves;
    caf::anon_send(world_.at(host).node, stop_atom::value, std::string("it was told to"));
    pass(50'000);
    collect(host);
    if (!world_.kill(host)) complain("actors were left over when a node left");
    later(1'000'000 + draw(2'000'000), [this, host] { revive(host); });
  }
  // Adds a node, or removes one for good.
  void one_more() {
    if (draw(3) != 0 || nodes_ - revoked_.size() < 2) {
      ++nodes_;
      tell("h" + std::to_string(nodes_) + " joins");
      ++happened_.joins;
      return world_.start_node(nodes_);
    }
    const net::SimHost host = some_node();
    if (revoked_.contains(host) || !world_.runs(0)) return;
    auto ask = std::make_shared<Manage>();
    ask->kind = static_cast<std::uint8_t>(ManageKind::kKeyRevoke);
    ask->subject = net::key_id(World::key_of(host));
    caf::anon_send(world_.at(0).coordinator, manage_atom::value, ManagePtr(ask));
    tell("the key of h" + std::to_string(host) + " is revoked");
    ++happened_.revocations;
    revoked_.insert(host);
  }
  // Lets a node that was left behind in an old epoch keep sending tokens that would be believed if
  // nobody checked the epoch: they belong to the newest step and the right position, but are wrong.
  void forge() {
    const net::SimHost host = some_node();
    const auto old = frames_.old_epoch();
    if (!world_.runs(host) || !old) return;
    const Step& newest = frames_.newest();
    const std::uint64_t newest_id = frames_.newest_id();
    StepDone lies;
    for (const StepSegment& segment : newest.segments) {
      const std::uint32_t position = segment.position + segment.count;
      for (model::TokenId id = 0; id < 3; ++id) {
        lies.tokens.push_back({segment.request, position + static_cast<std::uint32_t>(id), id, {}});
      }
    }
    Link& link = *world_.at(host).link;
    for (std::uint64_t step = newest_id < 3 ? 1 : newest_id - 2; step <= newest_id + 1; ++step) {
      const Status sent = link.send(world_.head_key(), MessageType::kStepDone, lies, *old, step);
      happened_.forged += sent.is_ok();
    }
    // The other nodes get rows that belong nowhere.
    Step rows = newest;
    rows.closed.clear();
    for (const StepSegment& segment : newest.segments) rows.closed.push_back(segment.request);
    for (net::SimHost other = 1; other <= nodes_; ++other) {
      if (other == host) continue;
      const Status sent =
          link.send(World::key_of(other), MessageType::kStep, rows, *old, newest_id + 1);
      happened_.forged += sent.is_ok();
    }
    tell("h" + std::to_string(host) + " says steps of an old epoch");
  }

  // ---- the end ----

  // Repairs everything that was broken, and brings every node back.
  void make_whole() {
    later_.clear();
    if (hostile_) {
      attack();
      pass(200'000);
      for (const net::SimHost host : {Hostile::kNode, Hostile::kClient}) collect(host);
      const std::string lasting = hostile_->leave();
      if (!lasting.empty()) complain(lasting);
    }
    tell("the network is whole");
    world_.network.heal_all();
    world_.network.open_walls();
    for (net::SimHost host = 0; host <= kProbe; ++host) world_.network.thaw(host);
    pass(1'000);
    revive(0);
    for (net::SimHost host = 1; host <= nodes_; ++host) revive(host);
    pass(2'000'000);
    revive(0);
    for (net::SimHost host = 1; host <= nodes_; ++host) revive(host);
  }
  // Checks that the cluster serves a new client.
  void probe() {
    std::string errors;
    for (int tries = 0; tries < 3; ++tries) {
      for (net::SimHost host = 1; host <= nodes_; ++host) revive(host);
      if (world_.runs(kProbe)) drop_client(kProbe);
      world_.start_client(kProbe);
      const StreamPtr stream = make_stream(kProbe);
      ask(world_, world_.at(kProbe), stream);
      world_.run_until(world_.now_us() + 70'000'000, [&] { return stream->over; });
      if (!stream->wrong.empty()) return complain("afterwards, " + stream->wrong);
      if (stream->complete) return;
      errors += " [" + (stream->over ? stream->error : "no end") + "]";
      pass(3'000'000);
    }
    complain("the cluster serves nobody any more:" + errors);
  }
  void look_for_leaks() {
    // A node that lost its head keeps what it has until it finds one again: that takes 3 s of a try
    // that hangs, and the pause before the next.
    for (int i = 0; i < 50 && alive().sequences != 0; ++i) pass(200'000);
    if (alive().sequences != 0) {
      return complain(std::to_string(alive().sequences) + " sequences are left over");
    }
    auto ask = std::make_shared<Manage>();
    ask->kind = static_cast<std::uint8_t>(ManageKind::kUnload);
    ask->subject = "model:" + common_.file.manifest.model;
    ask->force = true;
    caf::anon_send(world_.at(0).coordinator, manage_atom::value, ManagePtr(ask));
    for (int i = 0; i < 50 && alive().stages != 0; ++i) pass(200'000);
    if (alive().stages != 0) complain(std::to_string(alive().stages) + " stages are left over");
  }
  void collect(net::SimHost host) {
    if (!world_.runs(host) || !world_.at(host).link) return;
    const LinkCounters counters = world_.at(host).link->counters();
    happened_.stale_frames += counters.stale_frames;
    happened_.strange_frames += counters.strange_frames;
    happened_.foreign_orders += counters.foreign_orders;
    happened_.wrong_role_frames += counters.wrong_role_frames;
    happened_.hasty_frames += counters.hasty_frames;
    happened_.rejected_checksum +=
        counters.transport.rejected_checksum + counters.transport.rejected_header;
    happened_.rejected_sequence += counters.transport.rejected_sequence;
    happened_.rejected_revoked += counters.transport.rejected_revoked;
  }
  void end() {
    std::vector<net::SimHost> hosts;
    for (const auto& [host, process] : world_.processes) hosts.push_back(host);
    for (const net::SimHost host : hosts) {
      collect(host);
      if (!world_.kill(host)) complain("actors of h" + std::to_string(host) + " were left over");
    }
    happened_.network += world_.network.faults();
    for (const auto& [engine, counters] : world_.block_counters) {
      happened_.shared += counters.found;
      happened_.preempted += counters.preemptions;
    }
    for (const auto& [engine, counters] : world_.draft_counters) {
      happened_.drafted += counters.drafted;
      happened_.accepted += counters.accepted;
    }
    happened_.replacements += frames_.epochs() > 1 ? frames_.epochs() - 1 : 0;
    for (const StreamPtr& stream : streams_) {
      happened_.complete += stream->complete;
      happened_.orphans += stream->orphan;
      happened_.errors += stream->over && !stream->complete;
      happened_.tokens += stream->tokens;
      if (!stream->over || stream->complete) continue;
      tell("error: " + stream->error);
      happened_.quarantined += stream->error.find("crashed in a row") != std::string::npos;
    }
    happened_.fetched += real_fetch_;
    happened_.stale_keys += world_.stale_keys;
  }

  const std::uint64_t seed_;
  std::mt19937_64 random_;
  Happened& happened_;
  Common& common_;
  std::size_t nodes_;
  const bool quiet_, head_works_, real_fetch_, short_of_memory_;
  World world_;
  FrameWatch frames_;
  std::unique_ptr<Hostile> hostile_;
  std::multimap<std::int64_t, std::function<void()>> later_;
  std::vector<StreamPtr> streams_;
  std::set<net::SimHost> revoked_;
  std::string wrong_;
  std::ostringstream story_;
};

}  // namespace troupe::actors::simulation
