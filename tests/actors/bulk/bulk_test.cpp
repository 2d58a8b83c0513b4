#include <chrono>
#include <future>

#include <catch2/catch.hpp>

#include <troupe/actors/bulk/bulk.h>
#include <troupe/tests/actors/temporary_home.h>

using namespace troupe;
using namespace troupe::actors;
using namespace std::chrono_literals;

namespace {

// A fetch of blobs that are not here from sources that never answer, or a fetch of no blobs.
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
