#include <catch2/catch.hpp>

#include <troupe/tools/troupe/daemon/device_nodes.h>

namespace troupe::tools {
namespace {

using Names = std::vector<std::string>;

TEST_CASE("device nodes: beside a CPU or a head, each GPU is a node") {
  const auto both = share_devices("cuda:0,cpu,cuda:2", false);
  REQUIRE(both);
  CHECK(both->works);
  CHECK(both->own == "cpu");
  CHECK(both->nodes == Names{"cuda:0", "cuda:2"});
  const auto head = share_devices("cuda:1", true);
  REQUIRE(head);
  CHECK(!head->works);
  CHECK(head->nodes == Names{"cuda:1"});
  const auto plain = share_devices("cpu", true);
  REQUIRE(plain);
  CHECK(plain->works);
  CHECK(plain->own == "cpu");
  CHECK(plain->nodes.empty());
}

TEST_CASE("device nodes: a node that was given GPUs alone computes on the first one itself") {
  const auto shares = share_devices("cuda:1,cuda:0", false);
  REQUIRE(shares);
  CHECK(shares->works);
  CHECK(shares->own == "cuda:1");
  CHECK(shares->nodes == Names{"cuda:0"});
}

TEST_CASE("device nodes: what cannot be is refused by name") {
  CHECK(share_devices("cuda:0,cuda:0", true).message() == "it names cuda:0 twice");
  for (const char* list : {"cpu,", ",cuda:0", "cpu,,cuda:0"}) {
    INFO(list);
    CHECK(share_devices(list, true).message() == "it has an empty name between commas");
  }
  for (const char* list : {"gpu", "cuda:", "cuda:-1", "cuda:0;cpu", "cuda:0,tpu"}) {
    INFO(list);
    CHECK(share_devices(list, false).code() == Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace troupe::tools
