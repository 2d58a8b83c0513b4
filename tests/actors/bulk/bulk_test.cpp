#include <chrono>
#include <future>

#include <catch2/catch.hpp>

#include <troupe/actors/bulk/bulk.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/wire/codec.h>
#include <troupe/tests/actors/temporary_home.h>

using namespace troupe;
using namespace troupe::actors;
using namespace std::chrono_literals;

namespace {

// Starts a fetch of blobs that are not here from sources that never answer, or a fetch of no blobs.
std::future<Status> fetch(const bulk_actor& bulk, std::vector<model::BlobRef> blobs) {
  const auto ended = std::make_shared<std::promise<Status>>();
  const auto request = std::make_shared<FetchRequest>();
  request->sources.push_back(net::PublicKey{7});
  request->blobs = std::move(blobs);
  request->done = [ended](Status status, std::uint64_t) { ended->set_value(std::move(status)); };
  caf::anon_send(bulk, FetchPtr(request));
  return ended->get_future();
}

}  // namespace

TEST_CASE("bulk: a source that sends nothing does not hold up what others load") {
  const TemporaryHome home;
  caf::actor_system_config config;
  caf::actor_system system(config);
  const auto link = Link::loopback();
  const auto bulk = spawn_bulk(system, {link, *model::Store::open(home.path),
                                        std::make_shared<std::atomic<std::uint64_t>>(0)});
  auto first = fetch(bulk, {{std::string(64, 'a'), 1000}});
  auto second = fetch(bulk, {{std::string(64, 'b'), 1000}});
  auto honest = fetch(bulk, {});
  REQUIRE(honest.wait_for(6s) == std::future_status::ready);
  CHECK(honest.get().is_ok());
  CHECK(first.wait_for(0s) == std::future_status::timeout);
  // Each fetch still has its own time limit.
  CHECK(first.get().code() == Code::kDeadlineExceeded);
  CHECK(second.get().code() == Code::kDeadlineExceeded);
  caf::anon_send_exit(bulk, caf::exit_reason::user_shutdown);
  link->close();
}

namespace {

// Asks for blobs as a peer that is not the head does, and notes the type of each answer.
struct Asking {
  explicit Asking(bool serves_store) {
    const auto listening = [](link_user::pointer, Asking* me) -> link_user::behavior_type {
      return {[me](const FramePtr& frame) {
                me->answer.set_value(static_cast<MessageType>(frame->header.type));
              },
              [](const PeerEventPtr&) {}};
    };
    answers = system.spawn(listening, this);
    link->attach(Room::kBulk, answers);
    BulkSetup setup{link, *model::Store::open(home.path),
                    std::make_shared<std::atomic<std::uint64_t>>(0)};
    setup.serves_store = serves_store;
    store = setup.store;
    bulk = spawn_bulk(system, std::move(setup));
  }
  ~Asking() {
    caf::anon_send_exit(bulk, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(answers, caf::exit_reason::user_shutdown);
    link->close();
  }
  std::string keep(const std::string& text) {
    const auto bytes = std::as_bytes(std::span<const char>(text));
    const std::string sha256 = sha256_hex(bytes);
    auto writer = store->begin_blob({sha256, text.size()});
    REQUIRE(writer);
    REQUIRE((*writer)->append(bytes).is_ok());
    REQUIRE((*writer)->commit().is_ok());
    return sha256;
  }
  // Asks for a blob. The answers go to this process, whose head is another.
  std::future<MessageType> begin(const std::string& sha256) {
    answer = {};
    net::InFrame frame;
    frame.peer = link->self();
    frame.role = net::Role::kNode;
    frame.channel = net::Channel::kBulk;
    frame.header.type = static_cast<std::uint16_t>(MessageType::kFetchBlob);
    frame.body = wire::encode(FetchBlob{sha256, 0, 4});
    auto told = answer.get_future();
    caf::anon_send(bulk, std::make_shared<const net::InFrame>(std::move(frame)));
    return told;
  }
  MessageType ask(const std::string& sha256) {
    auto told = begin(sha256);
    REQUIRE(told.wait_for(20s) == std::future_status::ready);
    return told.get();
  }
  void grant(const std::string& model, std::vector<model::BlobRef> parts,
             std::vector<net::PublicKey> peers) {
    caf::anon_send(bulk, std::make_shared<const FetchGrant>(
                             FetchGrant{model, std::move(parts), std::move(peers)}));
  }

  TemporaryHome home;
  caf::actor_system_config config;
  caf::actor_system system{config};
  std::shared_ptr<Link> link = Link::loopback();
  std::shared_ptr<model::Store> store;
  link_user answers;
  bulk_actor bulk;
  std::promise<MessageType> answer;
};

}  // namespace

TEST_CASE("bulk: a node gets parts of its own deployments, and another's look absent") {
  Asking asking(true);
  const net::PublicKey me = asking.link->self(), other{5};
  const std::string mine = asking.keep("mine"), others = asking.keep("others");
  // A head may fetch everything. Here the process is its own head.
  CHECK(asking.ask(others) == MessageType::kBlobChunk);
  asking.link->set_head(other);
  // (Our own key counts as another's from here on.)
  asking.grant("m", {{mine, 4}}, {me});
  asking.grant("n", {{others, 4}}, {other});
  CHECK(asking.ask(mine) == MessageType::kBlobChunk);
  CHECK(asking.ask(others) == MessageType::kBlobMissing);
  CHECK(asking.ask(std::string(64, 'a')) == MessageType::kBlobMissing);
  asking.grant("m", {}, {});
  CHECK(asking.ask(mine) == MessageType::kBlobMissing);
  asking.grant("m", {{mine, 4}}, {me});
  caf::anon_send(asking.bulk, halt_atom::value);
  CHECK(asking.ask(mine) == MessageType::kBlobMissing);
}

TEST_CASE("bulk: an ask that comes before its right is answered when the right comes") {
  Asking asking(true);
  const std::string mine = asking.keep("mine");
  asking.link->set_head(net::PublicKey{5});
  auto told = asking.begin(mine);
  asking.grant("m", {{mine, 4}}, {asking.link->self()});
  REQUIRE(told.wait_for(20s) == std::future_status::ready);
  CHECK(told.get() == MessageType::kBlobChunk);
}

TEST_CASE("bulk: a client serves what it opened, and nothing else of its store") {
  Asking asking(false);
  const std::string kept = asking.keep("kept");
  CHECK(asking.ask(kept) == MessageType::kBlobMissing);
}
