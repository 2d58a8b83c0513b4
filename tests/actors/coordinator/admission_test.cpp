#include <algorithm>
#include <filesystem>

#include <catch2/catch.hpp>
#include <stdlib.h>
#include <sys/stat.h>

#include <troupe/actors/coordinator/admission.h>
#include <troupe/runtime/file.h>
#include <troupe/tests/actors/temporary_home.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

net::PublicKey via(const TokenRecord& record) {
  return net::enrolment_key_pair(record.token.value()).public_key;
}

}  // namespace

TEST_CASE("admission: a cluster is made once and found again, its file is private") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key;
  auto first = Admission::load_or_make(home.path, head, 1000);
  REQUIRE(first);
  const net::PublicKey node = net::make_key_pair().public_key;
  REQUIRE(first->enrol(via(first->join_token()), node, {}, net::Role::kNode, 1000).is_ok());
  struct stat info {};
  REQUIRE(::stat((home.path / "head.json").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  auto again = Admission::load_or_make(home.path, head, 1001);
  REQUIRE(again);
  CHECK(again->cluster() == first->cluster());
  CHECK(again->cluster_name() == first->cluster_name());
  // Each start makes a join token; the previous one lets nodes in until its hour is over.
  CHECK(again->join_token().id != first->join_token().id);
  REQUIRE(again->tokens().size() == 2);
  CHECK(again->tokens()[1].id == first->join_token().id);
  CHECK_FALSE(again->tokens()[1].token.has_value());
  CHECK(again
            ->enrol(via(first->join_token()), net::make_key_pair().public_key, {}, net::Role::kNode,
                    1002)
            .is_ok());
  CHECK(again->members().size() == 2);
  CHECK(again->members()[0].key == node);
  CHECK(again->members()[0].token == first->join_token().id);
  // The local clients' token lives as long as the process.
  CHECK(again->local_token().id != first->local_token().id);
  auto later = Admission::load_or_make(home.path, head, 1001 + 3601);
  REQUIRE(later);
  CHECK(later->tokens().size() == 1);
  // The file has no secret: nobody who reads it can join.
  const auto kept = read_file(home.path / "head.json", 1 << 20);
  REQUIRE(kept);
  const std::string secret = net::to_text(*later->join_token().token);
  CHECK(kept->find(secret) == std::string::npos);
  CHECK(kept->find("trp-") == std::string::npos);
  CHECK(kept->find(net::to_z85(later->join_token().key)) != std::string::npos);
  // If the head has another key, the tokens of the old key end.
  auto rotated = Admission::load_or_make(home.path, net::make_key_pair().public_key, 1001 + 3602);
  REQUIRE(rotated);
  CHECK(rotated->tokens().size() == 1);
}

TEST_CASE("admission: tokens expire, count their uses and keep to their roles") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key;
  auto admission = Admission::load_or_make(home.path, head, 0);
  REQUIRE(admission);
  const net::PublicKey join = via(admission->join_token());
  const net::PublicKey local = via(admission->local_token());
  const auto fresh = [] { return net::make_key_pair().public_key; };
  const auto node_by = [&](const net::PublicKey& door, const net::PublicKey& key, int now = 1) {
    return admission->enrol(door, key, {}, net::Role::kNode, now);
  };
  const auto client_by = [&](const net::PublicKey& door, const net::PublicKey& identity) {
    return admission->enrol(door, fresh(), identity, net::Role::kClient, 1);
  };
  CHECK(node_by(local, fresh()).code() == Code::kPermissionDenied);
  // Clients of the head's own user are admins, and leave no trace.
  REQUIRE(client_by(local, fresh()));
  CHECK(*client_by(local, fresh()) == net::Role::kAdmin);
  CHECK(admission->members().empty());
  CHECK(admission->enrol(join, fresh(), {}, net::Role::kHead, 1).code() == Code::kPermissionDenied);
  CHECK(admission->enrol(join, fresh(), fresh(), net::Role::kAdmin, 1).code() ==
        Code::kPermissionDenied);
  CHECK(node_by(fresh(), fresh()).code() == Code::kPermissionDenied);
  // The join token is for nodes.
  CHECK(client_by(join, fresh()).code() == Code::kPermissionDenied);
  const std::uint32_t uses = admission->join_token().uses_left;
  const net::PublicKey node = fresh();
  CHECK(node_by(join, node).is_ok());
  CHECK(node_by(join, node).is_ok());  // the same key again does not count as a use
  CHECK(admission->join_token().uses_left == uses - 1);
  CHECK(admission->end_tokens(1).empty());
  for (std::uint32_t i = 1; i < uses; ++i) REQUIRE(node_by(join, fresh()).is_ok());
  const auto used_up = node_by(join, fresh());
  CHECK(used_up.code() == Code::kPermissionDenied);
  CHECK(used_up.message().find("used up") != std::string::npos);
  CHECK(node_by(join, fresh(), 3601).message().find("expired") != std::string::npos);
  // The token leaves the list of keys that may connect, once.
  CHECK(admission->end_tokens(10) == std::vector<net::PublicKey>{join});
  CHECK(admission->end_tokens(11).empty());
}

TEST_CASE("admission: a client is enrolled once, with the role of its token, and can be revoked") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key;
  auto admission = Admission::load_or_make(home.path, head, 0);
  REQUIRE(admission);
  const auto fresh = [] { return net::make_key_pair().public_key; };
  const net::PublicKey me = fresh();
  const auto enter = [&](const net::PublicKey& door, const net::PublicKey& identity) {
    return admission->enrol(door, fresh(), identity, net::Role::kClient, 1);
  };
  const auto made = admission->make_token({net::Role::kOperator, 1, 60}, 0);
  REQUIRE(made);
  CHECK(enter(me, me).code() == Code::kPermissionDenied);  // nobody knows the identity yet
  REQUIRE(enter(made->key, me));
  CHECK(*enter(made->key, me) == net::Role::kOperator);  // no use more
  CHECK(enter(made->key, fresh()).message().find("used up") != std::string::npos);
  // From now on its identity lets it enrol, even after a restart and without the token.
  admission = Admission::load_or_make(home.path, head, 1000);
  REQUIRE(admission);
  REQUIRE(enter(me, me));
  CHECK(*enter(me, me) == net::Role::kOperator);
  CHECK(enter(me, fresh()).code() == Code::kPermissionDenied);  // for itself alone
  const auto allowed = admission->allowed();
  CHECK(std::count(allowed.begin(), allowed.end(),
                   std::pair<net::PublicKey, net::Role>(me, net::Role::kEnrol)) == 1);
  CHECK(admission->revoke("").code() == Code::kInvalidArgument);  // a client has no name
  REQUIRE(enter(me, me));
  const auto revoked = admission->revoke(net::key_id(me));
  REQUIRE(revoked);
  CHECK(revoked->member == net::Role::kOperator);
  CHECK(enter(me, me).message().find("revoked") != std::string::npos);
}

TEST_CASE("admission: a key that is known keeps its role") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key;
  auto admission = Admission::load_or_make(home.path, head, 0);
  REQUIRE(admission);
  const auto fresh = [] { return net::make_key_pair().public_key; };
  const net::PublicKey join = admission->join_token().key, node = fresh(), client = fresh();
  const auto user = admission->make_token({net::Role::kClient, 9, 0}, 0);
  const auto operators = admission->make_token({net::Role::kOperator, 9, 0}, 0);
  REQUIRE((user && operators));
  REQUIRE(admission->enrol(join, node, {}, net::Role::kNode, 1));
  REQUIRE(admission->enrol(user->key, fresh(), client, net::Role::kClient, 1));
  // Try a node's key as a client's connection or identity, a client's key as a node, the head's
  // key, and a token's.
  for (const net::PublicKey& taken : {node, client, head, join, user->key}) {
    for (const net::PublicKey& door : {user->key, admission->local_token().key}) {
      CHECK(admission->enrol(door, taken, fresh(), net::Role::kClient, 1).code() ==
            Code::kPermissionDenied);
    }
    if (taken != node) CHECK_FALSE(admission->enrol(join, taken, {}, net::Role::kNode, 1).is_ok());
    CHECK_FALSE(admission->enrol(operators->key, fresh(), taken, net::Role::kClient, 1).is_ok());
  }
  CHECK(admission->members().size() == 2);
}

TEST_CASE("admission: a broken file is named") {
  TemporaryHome home;
  REQUIRE(write_file_atomically(home.path / "head.json", "{\"cluster\": \"x\"}", 0600).is_ok());
  const auto broken = Admission::load_or_make(home.path, {}, 0);
  REQUIRE_FALSE(broken.is_ok());
  CHECK(broken.message().find("head.json") != std::string::npos);
  CHECK(broken.message().find("cluster") != std::string::npos);
}

TEST_CASE("admission: tokens are made, counted down, kept and revoked") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key;
  auto admission = Admission::load_or_make(home.path, head, 0);
  REQUIRE(admission);
  const auto fresh = [] { return net::make_key_pair().public_key; };
  const auto made = admission->make_token({net::Role::kNode, 2, 60}, 10);
  REQUIRE(made);
  CHECK(made->id == net::key_id(via(*made)));
  CHECK(made->id.size() == 8);
  CHECK(admission->enrol(made->key, fresh(), fresh(), net::Role::kClient, 11).code() ==
        Code::kPermissionDenied);
  CHECK(admission->enrol(made->key, fresh(), {}, net::Role::kNode, 11).is_ok());
  {  // A restart of the head forgets nothing.
    auto again = Admission::load_or_make(home.path, head, 12);
    REQUIRE(again);
    // They are the head's new join token, the previous one, and this one.
    REQUIRE(again->tokens().size() == 3);
    CHECK(again->tokens()[2].id == made->id);
    CHECK(again->tokens()[2].uses_left == 1);
    CHECK(again->tokens()[2].role == net::Role::kNode);
  }
  CHECK(admission->enrol(made->key, fresh(), {}, net::Role::kNode, 71).message().find("expired") !=
        std::string::npos);
  CHECK(admission->enrol(made->key, fresh(), {}, net::Role::kNode, 70).is_ok());
  CHECK(admission->enrol(made->key, fresh(), {}, net::Role::kNode, 70).message().find("used up") !=
        std::string::npos);
  CHECK(admission->make_token({net::Role::kHead, 1, 60}, 10).code() == Code::kInvalidArgument);
  CHECK(admission->make_token({net::Role::kNode, 0, 60}, 10).code() == Code::kInvalidArgument);
  const auto another = admission->make_token({net::Role::kNode, 5, 0}, 100);
  REQUIRE(another);
  CHECK(another->expires_unix_s == 0);
  const auto revoked = admission->revoke(another->id);
  REQUIRE(revoked);
  CHECK(revoked->key == another->key);
  CHECK_FALSE(revoked->member);
  CHECK(admission->enrol(another->key, fresh(), {}, net::Role::kNode, 101).code() ==
        Code::kPermissionDenied);
  CHECK(admission->revoke(another->id).code() == Code::kNotFound);
  // The join token can be revoked, too; the next start prints a new one.
  const TokenRecord join = admission->join_token();
  REQUIRE(admission->revoke(join.id));
  CHECK(admission->enrol(join.key, fresh(), {}, net::Role::kNode, 101).code() ==
        Code::kPermissionDenied);
  auto later = Admission::load_or_make(home.path, head, 102);
  REQUIRE(later);
  CHECK(later->join_token().id != join.id);
}

TEST_CASE("admission: a revoked node is out for good, also after a restart") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key;
  auto admission = Admission::load_or_make(home.path, head, 0);
  REQUIRE(admission);
  const net::PublicKey join = admission->join_token().key;
  const net::PublicKey a = net::make_key_pair().public_key, b = net::make_key_pair().public_key;
  REQUIRE(admission->enrol(join, a, {}, net::Role::kNode, 1).is_ok());
  REQUIRE(admission->enrol(join, b, {}, net::Role::kNode, 1).is_ok());
  REQUIRE(admission->rename(a, "box").is_ok());
  REQUIRE(admission->rename(b, "box").is_ok());
  const auto both = admission->revoke("box");
  REQUIRE(both.code() == Code::kInvalidArgument);
  CHECK(both.message().find(net::key_id(a)) != std::string::npos);
  const auto revoked = admission->revoke(net::key_id(a));
  REQUIRE(revoked);
  CHECK(revoked->member == net::Role::kNode);
  CHECK(revoked->key == a);
  CHECK(revoked->text.find(admission->join_token().id) != std::string::npos);
  CHECK(admission->is_revoked(a));
  CHECK_FALSE(admission->is_revoked(b));
  for (int restart = 0; restart < 2; ++restart) {
    CHECK(admission->enrol(join, a, {}, net::Role::kNode, 2).message().find("revoked") !=
          std::string::npos);
    const auto allowed = admission->allowed();
    const auto is_in = [&](const net::PublicKey& key) {
      return std::any_of(allowed.begin(), allowed.end(),
                         [&](const auto& entry) { return entry.first == key; });
    };
    CHECK_FALSE(is_in(a));
    CHECK(is_in(b));
    CHECK(is_in(join));
    admission = Admission::load_or_make(home.path, head, 3);
    REQUIRE(admission);
  }
  CHECK(admission->revoke("box"));  // the one node that is left with this name
}

TEST_CASE("admission: which process of a node is being drained outlives the head") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key;
  auto admission = Admission::load_or_make(home.path, head, 0);
  REQUIRE(admission);
  const net::PublicKey node = net::make_key_pair().public_key;
  REQUIRE(admission->enrol(admission->join_token().key, node, {}, net::Role::kNode, 1).is_ok());
  CHECK_FALSE(admission->is_drained(node, 7));
  const std::uint64_t process = 0xfedcba9876543210;  // all 64 bits are kept
  REQUIRE(admission->set_drained(node, process).is_ok());
  REQUIRE(admission->set_drained(head, 5).is_ok());  // not a member: ignored
  admission = Admission::load_or_make(home.path, head, 2);
  REQUIRE(admission);
  CHECK(admission->is_drained(node, process));
  CHECK_FALSE(admission->is_drained(node, process + 1));  // the node was started anew
  CHECK_FALSE(admission->is_drained(node, 0));
  CHECK_FALSE(admission->is_drained(head, 5));
  REQUIRE(admission->set_drained(node, 0).is_ok());
  CHECK_FALSE(admission->is_drained(node, process));
}

TEST_CASE("admission: what cannot be saved has not happened") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key;
  auto admission = Admission::load_or_make(home.path, head, 0);
  REQUIRE(admission);
  const net::PublicKey node = net::make_key_pair().public_key;
  const net::PublicKey other = net::make_key_pair().public_key;
  const net::PublicKey door = admission->join_token().key;
  REQUIRE(admission->enrol(door, node, {}, net::Role::kNode, 1).is_ok());
  const std::uint32_t uses = admission->join_token().uses_left;
  std::filesystem::remove_all(home.path);
  for (int i = 0; i < 2; ++i) {  // asking again does not help
    CHECK_FALSE(admission->enrol(door, other, {}, net::Role::kNode, 1).is_ok());
    CHECK_FALSE(admission->set_drained(node, 7).is_ok());
    CHECK_FALSE(admission->rename(node, "box").is_ok());
    CHECK_FALSE(admission->revoke(net::key_id(node)).is_ok());
    CHECK_FALSE(admission->make_token({}, 1).is_ok());
  }
  CHECK(admission->join_token().uses_left == uses);
  CHECK(admission->tokens().size() == 1);
  CHECK(admission->members().size() == 1);
  CHECK(admission->members()[0].name.empty());
  CHECK_FALSE(admission->is_drained(node, 7));
  CHECK_FALSE(admission->is_revoked(node));
  std::filesystem::create_directories(home.path);
  CHECK(admission->revoke(net::key_id(node)).is_ok());
  CHECK(admission->is_revoked(node));
}

TEST_CASE("admission: what an earlier release wrote is read") {
  TemporaryHome home;
  const net::PublicKey head = net::make_key_pair().public_key,
                       node = net::make_key_pair().public_key;
  const net::Token token{7, head, {}};
  REQUIRE(write_file_atomically(home.path / "head.json",
                                "{\"cluster\": 7, \"name\": \"calm-opera\", \"token\": \"" +
                                    net::to_text(token) +
                                    "\", \"token_expires\": 90000, \"token_uses_left\": 5, "
                                    "\"nodes\": [\"" +
                                    net::to_z85(node) + "\"]}",
                                0600)
              .is_ok());
  auto admission = Admission::load_or_make(home.path, head, 1);
  INFO(admission.message());
  REQUIRE(admission);
  REQUIRE(admission->members().size() == 1);
  CHECK(admission->members()[0].key == node);
  REQUIRE(admission->tokens().size() == 2);
  CHECK(admission->tokens()[1].uses_left == 5);
  CHECK(admission->tokens()[1].key == net::enrolment_key_pair(token).public_key);
}

TEST_CASE("admission: a newcomer waits until it is approved, if the head was asked to") {
  TemporaryHome home;
  auto admission = Admission::load_or_make(home.path, net::make_key_pair().public_key, 0);
  REQUIRE(admission);
  const auto early = net::make_key_pair().public_key, late = net::make_key_pair().public_key;
  const net::PublicKey join = via(admission->join_token());
  REQUIRE(admission->enrol(join, early, {}, net::Role::kNode, 1, "early"));
  admission->ask_approval();
  const auto come = [&](const net::PublicKey& key, const std::string& name) {
    return admission->enrol(join, key, {}, net::Role::kNode, 2, name);
  };
  CHECK(come(early, "early"));  // the node is a member
  const auto uses = admission->join_token().uses_left;
  const auto refused = come(late, "late");
  CHECK(refused.code() == Code::kPermissionDenied);
  CHECK(refused.message().find("key approve " + net::key_id(late)) != std::string::npos);
  CHECK(come(late, "late").code() == Code::kPermissionDenied);
  REQUIRE(admission->waiting().size() == 1);
  CHECK(admission->join_token().uses_left == uses);
  CHECK(admission->approve("nobody").code() == Code::kNotFound);
  CHECK(admission->approve("").code() == Code::kNotFound);
  CHECK(come(net::make_key_pair().public_key, "late").code() == Code::kPermissionDenied);
  CHECK(admission->approve("late").code() == Code::kInvalidArgument);
  REQUIRE(admission->approve(net::key_id(late)));
  CHECK(come(late, "late"));
  CHECK(admission->join_token().uses_left == uses - 1);
  CHECK(admission->waiting().size() == 1);
  CHECK(come(late, "late"));  // now the node is a member
  // Clients of the head's own user do not wait.
  CHECK(admission->enrol(via(admission->local_token()), net::make_key_pair().public_key,
                         net::make_key_pair().public_key, net::Role::kClient, 3));
  // Newcomers in great number push out others that wait, and nothing else.
  for (std::size_t i = 0; i < 2 * Admission::kWaitingMax; ++i) {
    CHECK_FALSE(come(net::make_key_pair().public_key, "many"));
  }
  CHECK(admission->waiting().size() == Admission::kWaitingMax);
}

TEST_CASE("admission: an approval outlives the head's process, and is used once") {
  TemporaryHome home;
  const auto head = net::make_key_pair().public_key, other = net::make_key_pair().public_key;
  const auto node = net::make_key_pair().public_key, client = net::make_key_pair().public_key;
  const auto start = [&] {
    auto admission = Admission::load_or_make(home.path, head, 0);
    REQUIRE(admission);
    admission->ask_approval();
    return std::move(*admission);
  };
  net::PublicKey join{}, users{};
  const auto come = [&](Admission& admission, const net::PublicKey& key, const std::string& name) {
    return admission.enrol(join, key, key, net::Role::kNode, 2, name).code();
  };
  {
    Admission admission = start();
    join = via(admission.join_token());
    users = via(*admission.make_token({net::Role::kOperator, 1, 0}, 0));
    CHECK(come(admission, node, "node") == Code::kPermissionDenied);
    CHECK(come(admission, other, "other") == Code::kPermissionDenied);
    CHECK(
        admission.enrol(users, net::make_key_pair().public_key, client, net::Role::kClient, 2, "c")
            .code() == Code::kPermissionDenied);
    REQUIRE(admission.approve("node"));
    REQUIRE(admission.approve("c"));
    // Approved newcomers are not pushed out by others that ask.
    for (std::size_t i = 0; i < 2 * Admission::kWaitingMax; ++i) {
      CHECK(come(admission, net::make_key_pair().public_key, "many") == Code::kPermissionDenied);
    }
    CHECK(admission.waiting().size() == Admission::kWaitingMax);
  }
  {
    Admission admission = start();
    REQUIRE(admission.waiting().size() == 2);
    CHECK(admission.waiting()[0].approved);
    CHECK(admission.waiting()[1].role == net::Role::kOperator);
    CHECK(come(admission, other, "other") == Code::kPermissionDenied);
    CHECK(come(admission, node, "node") == Code::kOk);
    const auto entered =
        admission.enrol(users, net::make_key_pair().public_key, client, net::Role::kClient, 2, "c");
    REQUIRE(entered);
    CHECK(*entered == net::Role::kOperator);
  }
  Admission admission = start();
  CHECK(admission.waiting().empty());
  CHECK(come(admission, node, "node") == Code::kOk);  // the node is a member
}
