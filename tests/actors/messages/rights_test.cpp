#include <catch2/catch.hpp>

#include <troupe/actors/messages/enrolment.h>
#include <troupe/actors/messages/rights.h>

using namespace troupe;
using namespace troupe::actors;
using net::Role;

// matrix_test.cpp walks every message and every ask.

TEST_CASE("rights: one's own is what the same identity made, and the head's own user has none") {
  const Asker me{"me", Role::kClient};
  for (const Reach reach : {Reach::kNothing, Reach::kOwn, Reach::kAll}) {
    CHECK(reaches(reach, me, "me") == (reach != Reach::kNothing));
    CHECK(reaches(reach, me, "other") == (reach == Reach::kAll));
    CHECK(reaches(reach, me, "") == (reach == Reach::kAll));
  }
}

TEST_CASE("rights: an ask of a later release reaches nothing") {
  for (const Role role : {Role::kClient, Role::kServer, Role::kOperator, Role::kAdmin}) {
    CHECK(reach_of(static_cast<JobAskKind>(job_asks().back().kind + 1), role) == Reach::kNothing);
    CHECK(reach_of(static_cast<ManageKind>(manage_asks().back().kind + 1), role) ==
          Reach::kNothing);
  }
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
