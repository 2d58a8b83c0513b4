#include <filesystem>

#include <catch2/catch.hpp>
#include <stdlib.h>
#include <sys/stat.h>

#include <troupe/actors/admission.h>
#include <troupe/runtime/file.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

struct TemporaryHome {
  std::filesystem::path path;
  TemporaryHome() {
    char name[] = "/tmp/troupe-admission-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TemporaryHome() { std::filesystem::remove_all(path); }
};

net::PublicKey via(const TokenRecord& record) {
  return net::enrolment_key_pair(record.token).public_key;
}

}  // namespace

TEST_CASE("admission: a cluster is made once and found again, its file is private") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key;
  auto first = Admission::load_or_make(home.path, head, 1000);
  REQUIRE(first);
  const net::PublicKey node = net::make_key_pair().public_key;
  REQUIRE(first->enrol(via(first->join_token()), node, net::Role::kNode, 1000).is_ok());
  struct stat info {};
  REQUIRE(::stat((home.path / "head.json").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  auto again = Admission::load_or_make(home.path, head, 1001);
  REQUIRE(again);
  CHECK(again->cluster() == first->cluster());
  CHECK(again->cluster_name() == first->cluster_name());
  CHECK(again->join_token().token.seed == first->join_token().token.seed);
  CHECK(again->nodes() == std::vector<net::PublicKey>{node});
  // The local clients' token lives as long as the process.
  CHECK(again->local_token().token.seed != first->local_token().token.seed);
  // A token that is about to expire is replaced.
  auto later = Admission::load_or_make(home.path, head, 1000 + 23 * 3600 + 1);
  REQUIRE(later);
  CHECK(later->join_token().token.seed != first->join_token().token.seed);
}

TEST_CASE("admission: tokens expire, count their uses and keep to their roles") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key;
  auto admission = Admission::load_or_make(home.path, head, 0);
  REQUIRE(admission);
  const net::PublicKey join = via(admission->join_token());
  const net::PublicKey local = via(admission->local_token());
  const auto fresh = [] { return net::make_key_pair().public_key; };
  CHECK(admission->enrol(local, fresh(), net::Role::kNode, 1).code() == Code::kPermissionDenied);
  CHECK(admission->enrol(local, fresh(), net::Role::kClient, 1).is_ok());
  CHECK(admission->enrol(join, fresh(), net::Role::kHead, 1).code() == Code::kPermissionDenied);
  CHECK(admission->enrol(fresh(), fresh(), net::Role::kNode, 1).code() == Code::kPermissionDenied);
  const std::uint32_t uses = admission->join_token().uses_left;
  const net::PublicKey node = fresh();
  CHECK(admission->enrol(join, node, net::Role::kNode, 1).is_ok());
  CHECK(admission->enrol(join, node, net::Role::kNode, 1).is_ok());  // the same again is no use
  CHECK(admission->join_token().uses_left == uses - 1);
  for (std::uint32_t i = 1; i < uses; ++i) {
    REQUIRE(admission->enrol(join, fresh(), net::Role::kClient, 1).is_ok());
  }
  const Status used_up = admission->enrol(join, fresh(), net::Role::kNode, 1);
  CHECK(used_up.code() == Code::kPermissionDenied);
  CHECK(used_up.message().find("used up") != std::string::npos);
  const Status expired = admission->enrol(join, fresh(), net::Role::kNode, 25 * 3600);
  CHECK(expired.message().find("expired") != std::string::npos);
}

TEST_CASE("admission: a broken file is named, a membership is remembered") {
  TemporaryHome home;
  REQUIRE(write_file_atomically(home.path / "head.json", "{\"cluster\": \"x\"}", 0600).is_ok());
  const auto broken = Admission::load_or_make(home.path, {}, 0);
  REQUIRE_FALSE(broken.is_ok());
  CHECK(broken.message().find("head.json") != std::string::npos);
  CHECK(broken.message().find("cluster") != std::string::npos);
  auto none = load_membership(home.path);
  REQUIRE(none);
  CHECK_FALSE(none->has_value());
  Membership member{5, "calm-opera", net::make_key_pair().public_key, "10.0.0.1", 7700};
  REQUIRE(save_membership(home.path, member).is_ok());
  auto found = load_membership(home.path);
  REQUIRE(found);
  REQUIRE(found->has_value());
  CHECK((*found)->head == member.head);
  CHECK((*found)->head_port == 7700);
}
