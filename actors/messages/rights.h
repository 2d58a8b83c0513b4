#pragma once

#include <cstdint>
#include <string>

#include <troupe/actors/messages/jobs.h>
#include <troupe/actors/messages/manage.h>
#include <troupe/runtime/net/keys.h>

// What a client's role may ask for, one decision for each ask: a new ask does not compile before
// it has one. Which roles may send a message at all stands in types.cpp. Pure.
//
//   user      models, answers and jobs: its own
//   server    a user whose requests are other people's (`troupe serve`)
//   operator  everybody's jobs and models, the nodes, and the cluster's end
//   admin     an operator who also manages keys; clients of the user who runs the head are admins

namespace troupe::actors {

enum class Reach : std::uint8_t {
  kNothing,
  kOwn,  // what the same identity made
  kAll,
};
Reach reach_of(JobAskKind kind, net::Role role);
Reach reach_of(ManageKind kind, net::Role role);

// The process that asks.
struct Asker {
  std::string owner;  // the identity as Z85; "" is this process itself
  net::Role role = net::Role::kAdmin;
};
// Whether the asker may see or change a thing of this owner.
inline bool reaches(Reach reach, const Asker& asker, const std::string& owner) {
  return reach == Reach::kAll || (reach == Reach::kOwn && asker.owner == owner);
}

}  // namespace troupe::actors
