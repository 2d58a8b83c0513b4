#include <catch2/catch.hpp>

#include <troupe/actors/messages/enrolment.h>
#include <troupe/actors/messages/rights.h>

using namespace troupe;
using namespace troupe::actors;
using net::Role;

// What a role may ask, for itself ("own") and for others. There is a row for each kind of question:
// a kind that is not here fails, and one without a decision in rights.cpp does not compile.

namespace {

constexpr Role kRoles[] = {Role::kHead,   Role::kNode,     Role::kEnrol, Role::kClient,
                           Role::kServer, Role::kOperator, Role::kAdmin};

// There is a letter for each role, in that order: '-' for nothing, 'o' for its own, 'a' for all.
std::string letters(auto kind) {
  std::string all;
  for (const Role role : kRoles) {
    const Reach reach = reach_of(kind, role);
    all += reach == Reach::kNothing ? '-' : reach == Reach::kOwn ? 'o' : 'a';
    const Asker asker{"me", role};
    CHECK(reaches(reach, asker, "me") == (reach != Reach::kNothing));
    CHECK(reaches(reach, asker, "other") == (reach == Reach::kAll));
    CHECK(reaches(reach, asker, "") == (reach == Reach::kAll));
  }
  return all;
}

}  // namespace

TEST_CASE("rights: every ask by every role, own and other's") {
  const std::pair<JobAskKind, const char*> kJobs[] = {
      {JobAskKind::kSubmit, "---oooo"}, {JobAskKind::kList, "---ooaa"},
      {JobAskKind::kShow, "---ooaa"},   {JobAskKind::kLines, "---ooaa"},
      {JobAskKind::kOutput, "---ooaa"}, {JobAskKind::kResult, "---ooaa"},
      {JobAskKind::kCancel, "---ooaa"}, {JobAskKind::kStream, "---ooaa"}};
  std::size_t number = 0;
  for (const auto& [kind, expected] : kJobs) {
    CHECK(static_cast<std::size_t>(kind) == ++number);
    CHECK(letters(kind) == expected);
  }
  CHECK(letters(static_cast<JobAskKind>(++number)) == "-------");
  const std::pair<ManageKind, const char*> kManage[] = {
      {ManageKind::kUnload, "-----aa"},  {ManageKind::kKeyNew, "------a"},
      {ManageKind::kKeyList, "------a"}, {ManageKind::kKeyRevoke, "------a"},
      {ManageKind::kStop, "-----aa"},    {ManageKind::kDrain, "-----aa"},
      {ManageKind::kEvents, "-----aa"},  {ManageKind::kKeyApprove, "------a"}};
  number = 0;
  for (const auto& [kind, expected] : kManage) {
    CHECK(static_cast<std::size_t>(kind) == ++number);
    CHECK(letters(kind) == expected);
  }
  CHECK(letters(static_cast<ManageKind>(++number)) == "-------");
}

TEST_CASE("rights: what one client may say, all may") {
  for (const MessageRow& each : message_rows()) {
    const auto may = [&](Role role) { return (each.senders & role_bit(role)) != 0; };
    for (const Role role : {Role::kServer, Role::kOperator, Role::kAdmin}) {
      CHECK(may(role) == may(Role::kClient));
    }
  }
}

TEST_CASE(
    "enrolment: the newcomer proves its keys, for one door of one cluster, from one process") {
  const net::KeyPair head = net::make_key_pair(), key = net::make_key_pair(),
                     identity = net::make_key_pair(), thief = net::make_key_pair();
  const EnrolmentPlace place{7, thief.public_key, 99};
  const Enrol enrol = make_enrol(place, head.public_key, key, identity, Role::kClient, "client");
  CHECK(check_enrol(place, head, enrol).is_ok());
  CHECK_FALSE(check_enrol({8, place.door, 99}, head, enrol).is_ok());
  CHECK_FALSE(check_enrol({7, key.public_key, 99}, head, enrol).is_ok());
  CHECK_FALSE(check_enrol({7, place.door, 98}, head, enrol).is_ok());
  Enrol other = enrol;
  other.role = static_cast<std::uint8_t>(Role::kNode);
  CHECK_FALSE(check_enrol(place, head, other).is_ok());
  // A process that knows only the public half of a key cannot enrol it.
  const net::KeyPair claimed{identity.public_key, thief.secret_key};
  CHECK_FALSE(
      check_enrol(place, head, make_enrol(place, head.public_key, key, claimed, Role::kClient, "x"))
          .is_ok());
  CHECK_FALSE(check_enrol(place, head,
                          make_enrol(place, head.public_key, claimed, identity, Role::kNode, "x"))
                  .is_ok());
}
