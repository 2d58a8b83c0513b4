#include <catch2/catch.hpp>

#include <troupe/actors/link.h>
#include <troupe/actors/messages/rights.h>
#include <troupe/runtime/net/sim/sim_network.h>
#include <troupe/tests/actors/messages/wire_tables.h>

// Tests for every message, every ask and every role that docs/wire.md, the tables in the code and
// the link agree. matrix_others_test.cpp tests what concerns another's things.

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;
using net::Role;

TEST_CASE("matrix: the documented rights are those of the tables, for every message and ask") {
  Table table = table_of("message", "channel");
  CHECK(table.size() == message_rows().size());
  for (const MessageRow& row : message_rows()) {
    INFO(row.name);
    REQUIRE(table.contains(row.name));
    CHECK(table[row.name]["channel"] == net::channel_name(row.channel));
    for (const Role role : kRoles) {
      CHECK(table[row.name][net::role_name(role)] == cell_of(row, role));
    }
    CHECK(table[row.name]["what is its own"].empty() ==
          (row.scope == Scope::kAsk || row.scope == Scope::kShared));
  }
  check_asks<JobAskKind>("job ask", job_asks());
  check_asks<ManageKind>("manage", manage_asks());
}

// ---- what the link decides -------------------------------------------------------------------

namespace {

// A process with a peer of each role, and a second head and node ("another's").
struct Listener {
  Listener() : network({}, 0) {
    net::TransportOptions options;
    options.identity.public_key = {1};
    options.cluster = 77;
    options.incarnation = 5;
    options.listen = net::Endpoint{"h0", 7700};
    for (std::size_t i = 0; i < std::size(kWho); ++i) {
      options.allowed.emplace_back(key_of(i), kWho[i]);
    }
    link = *Link::open(options,
                       [&](const net::TransportOptions& with,
                           net::Handlers handlers) -> Result<std::unique_ptr<net::Transport>> {
                         return network.open(0, with, std::move(handlers));
                       });
    link->set_head(key_of(0));
    for (std::size_t i = 0; i < std::size(kWho); ++i) {
      net::TransportOptions own;
      own.identity.public_key = key_of(i);
      own.cluster = 77;
      own.incarnation = 10 + i;
      transports.push_back(network.open(static_cast<net::SimHost>(1 + i), own, {}));
      for (int channel = 0; channel < net::kChannels; ++channel) {
        transports[i]->dial({1}, *options.listen, static_cast<net::Channel>(channel));
      }
    }
    network.advance(now += 100'000);
  }
  static net::PublicKey key_of(std::size_t i) { return {static_cast<std::uint8_t>(10 + i)}; }
  // Returns whether the frame passed the link. (No actor is attached except for steps: what passes
  // is counted as unknown.)
  bool passes(std::size_t who, const MessageRow& row) {
    const auto passed = [this] {
      const LinkCounters counters = link->counters();
      return counters.unknown_frames + taken;
    };
    const std::uint64_t before = passed();
    net::OutFrame frame;
    frame.header.type = static_cast<std::uint16_t>(row.type);
    frame.header.epoch = 3;
    REQUIRE(transports[who]->send({1}, row.channel, std::move(frame)).is_ok());
    network.advance(now += 10'000);
    return passed() != before;
  }

  static constexpr Role kWho[] = {Role::kHead,   Role::kNode,   Role::kEnrol,
                                  Role::kClient, Role::kServer, Role::kOperator,
                                  Role::kAdmin,  Role::kHead,   Role::kNode};
  net::SimNetwork network;
  std::int64_t now = 0;
  std::shared_ptr<Link> link;
  std::vector<std::unique_ptr<net::Transport>> transports;
  std::atomic<std::uint64_t> taken{0};
};

}  // namespace

TEST_CASE("matrix: the link hears each message from the roles of the document, and no others") {
  Table table = table_of("message", "channel");
  Listener listener;
  for (const MessageRow& row : message_rows()) {
    for (std::size_t who = 0; who < std::size(kRoles); ++who) {
      if (row.scope == Scope::kPath) continue;  // below
      INFO(row.name << " of the role " << net::role_name(kRoles[who]));
      REQUIRE(listener.passes(who, row) == (table[row.name][net::role_name(kRoles[who])] != "-"));
    }
    // Nobody but its own head gives this process orders, not even a peer of that role.
    if (row.scope == Scope::kOrder) CHECK_FALSE(listener.passes(7, row));
  }
  CHECK(listener.link->counters().foreign_orders > 15);
}

TEST_CASE("matrix: steps, results and failures count from the peer that has the place alone") {
  Table table = table_of("message", "channel");
  caf::actor_system_config config;
  caf::actor_system system(config);
  for (const MessageRow& row : message_rows()) {
    if (row.scope != Scope::kPath) continue;
    Listener listener;
    const FrameTaker taker = [&](const FramePtr&) { ++listener.taken; };
    listener.link->attach_worker(3, Listener::key_of(1), taker);
    const auto sink =
        system.spawn([](int) -> frame_sink::behavior_type { return {[](const FramePtr&) {}}; }, 0);
    listener.link->attach_engine(3, {Listener::key_of(1), {Listener::key_of(1)}}, sink);
    for (std::size_t who = 0; who < std::size(Listener::kWho); ++who) {
      INFO(row.name << " of peer " << who);
      const LinkCounters before = listener.link->counters();
      (void)listener.passes(who, row);
      const LinkCounters after = listener.link->counters();
      const bool may = table[row.name][net::role_name(Listener::kWho[who])] != "-";
      CHECK((after.wrong_role_frames == before.wrong_role_frames) == may);
      CHECK((after.strange_frames != before.strange_frames) == (may && who != 1));
    }
    listener.link->close();
  }
}
