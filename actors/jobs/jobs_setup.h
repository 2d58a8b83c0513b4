#pragma once

#include <memory>

#include <troupe/actors/cluster_state/owners.h>
#include <troupe/actors/journal/journal.h>
#include <troupe/actors/link.h>

// What the head's jobs actor is given when it starts.

namespace troupe::actors {

struct JobsSetup {
  std::shared_ptr<Journal> journal;
  std::shared_ptr<Link> link;
  std::shared_ptr<const Owners> owners;  // the identities of clients; null: every key is its own
  bool detached = true;                  // false in tests with a scheduler of their own
};

}  // namespace troupe::actors
