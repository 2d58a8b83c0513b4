#pragma once

#include <memory>

#include <troupe/actors/cluster_state/owners.h>
#include <troupe/actors/journal/journal.h>
#include <troupe/actors/link.h>

// What the head's jobs are given when they start.

namespace troupe::actors {

struct JobsSetup {
  std::shared_ptr<Journal> journal;
  std::shared_ptr<Link> link;
  std::shared_ptr<const Owners> owners;  // of clients' connections; null: every key is its own
  bool detached = true;                  // false in tests with a scheduler of their own
};

}  // namespace troupe::actors
