#pragma once

#include <memory>

#include <troupe/actors/actors.h>
#include <troupe/actors/bulk/fetch_plan.h>
#include <troupe/actors/link.h>
#include <troupe/actors/messages/bulk.h>
#include <troupe/model/store/store.h>

// Weights by content hash. Serves blobs of the store and parts of exported model files, chunk by
// chunk, to its head and to the peers to which the head grants them (fetch_rights.h). Fetches what
// a stage lacks from all sources at once, with a window of chunks for each; if a source fails (it
// is lost, stalls, lacks the blob or sends a wrong one), another is asked. Fetches take turns if
// they are slow. Background fetches wait for all others and let them pass. Detached: it blocks on
// files. `bytes_in` counts the bytes of all fetches but those in the background.

namespace troupe::actors {

struct BulkSetup {
  std::shared_ptr<Link> link;
  std::shared_ptr<model::Store> store;
  std::shared_ptr<std::atomic<std::uint64_t>> bytes_in;
  bool detached = true;  // false in tests that schedule every actor themselves
  // False in a client, which serves the files that it opened and nothing else of its store.
  bool serves_store = true;
};
bulk_actor spawn_bulk(caf::actor_system& system, BulkSetup setup);

}  // namespace troupe::actors
