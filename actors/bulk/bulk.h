#pragma once

#include <memory>

#include <troupe/actors/actors.h>
#include <troupe/actors/bulk/fetch_plan.h>
#include <troupe/actors/link.h>
#include <troupe/actors/messages/bulk.h>
#include <troupe/model/store/store.h>

// Weights by content hash. Serves blobs of the store and parts of exported model files, chunk by
// chunk, to whoever may ask; fetches what a stage lacks, from all sources at once, each with a
// window of chunks under way; what one fails at (it is lost, stalls, lacks the blob or sends a
// wrong one) is asked of another. Fetches in the background wait for all others, and let them pass.
// Detached: it blocks on files. `bytes_in` counts what was fetched while somebody waited.

namespace troupe::actors {

struct BulkSetup {
  std::shared_ptr<Link> link;
  std::shared_ptr<model::Store> store;
  std::shared_ptr<std::atomic<std::uint64_t>> bytes_in;
  bool detached = true;  // false in tests that schedule every actor themselves
};
bulk_actor spawn_bulk(caf::actor_system& system, BulkSetup setup);

}  // namespace troupe::actors
