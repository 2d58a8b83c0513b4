#pragma once

#include <cstdint>
#include <string>

#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/types.h>

// Client to head: administer the cluster, as far as the client's role reaches (rights.h).

namespace troupe::actors {

enum class ManageKind : std::uint8_t {
  kUnload = 1,
  kKeyNew = 2,
  kKeyList = 3,
  kKeyRevoke = 4,
  kStop = 5,
  kDrain = 6,
  kEvents = 7,
  kKeyApprove = 8
};

struct Manage {
  static constexpr MessageType kType = MessageType::kManage;
  std::uint64_t request = 0;
  std::uint8_t kind = 0;  // ManageKind
  // A model (model:HEX, sha256:HEX or its name), a key or newcomer (its id or name), or a node (its
  // name).
  std::string subject;
  // For kUnload: also if requests are running. For kStop: ends every daemon. For kDrain: the node
  // gets layers again.
  bool force = false;
  // For kKeyNew: the net::Role of the processes that the token lets in, how often it does so, and
  // for how long (0: forever).
  std::uint8_t role = 0;
  std::uint32_t uses = 0;
  std::uint64_t lifetime_s = 0;
  template <class A>
  void serialize(A& a) {
    a(request, kind, subject, force, role, uses, lifetime_s);
  }
};
struct Managed {
  static constexpr MessageType kType = MessageType::kManaged;
  std::uint64_t request = 0;
  Outcome outcome;  // on success its text is a JSON object
  template <class A>
  void serialize(A& a) {
    a(request, outcome);
  }
};

}  // namespace troupe::actors
