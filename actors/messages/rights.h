#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <troupe/actors/messages/jobs.h>
#include <troupe/actors/messages/manage.h>
#include <troupe/runtime/net/keys.h>

// What each role of a client may ask for. Every kind of question has one decision, and a new kind
// does not compile without one. types.cpp says which roles may send a message at all. docs/wire.md
// has both as tables, which a test reads. Pure.
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

// The asks that there are, as docs/wire.md names them.
struct AskName {
  std::uint8_t kind = 0;
  const char* name = nullptr;
};
std::span<const AskName> job_asks();
std::span<const AskName> manage_asks();

// The process that asks.
struct Asker {
  std::string owner;  // the identity as Z85; "" is this process itself
  net::Role role = net::Role::kAdmin;
};
// True if the asker may see or change something of this owner.
inline bool reaches(Reach reach, const Asker& asker, const std::string& owner) {
  return reach == Reach::kAll || (reach == Reach::kOwn && asker.owner == owner);
}

}  // namespace troupe::actors
