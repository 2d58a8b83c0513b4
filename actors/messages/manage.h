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
  std::uint8_t kind = 0;         // ManageKind
  std::string subject;           // model:HEX, sha256:HEX or name of a model; id or name of a key
                                 // or newcomer;
                                 // name of a node
  bool force = false;            // for kUnload: even if requests are running; kStop: every daemon;
                                 // kDrain: the node gets layers again
  std::uint8_t role = 0;         // for kKeyNew: net::Role of the processes that the token lets in,
  std::uint32_t uses = 0;        // how often,
  std::uint64_t lifetime_s = 0;  // and for how long; 0 means forever
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
