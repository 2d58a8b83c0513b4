#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <troupe/actors/actors.h>
#include <troupe/actors/link.h>
#include <troupe/actors/messages/bulk.h>
#include <troupe/model/store.h>

// Weights by content hash. Serves blobs of the store and parts of exported model files, chunk by
// chunk, to whoever may ask; fetches what a stage lacks, from one source at a time, with a window
// of chunks under way, and goes on with the next source when one is lost. Detached: it blocks on
// files. `bytes_in` counts what was fetched.

namespace troupe::actors {

struct BulkSetup {
  std::shared_ptr<Link> link;
  std::shared_ptr<model::Store> store;
  std::shared_ptr<std::atomic<std::uint64_t>> bytes_in;
};
bulk_actor spawn_bulk(caf::actor_system& system, BulkSetup setup);

// The order of one fetch: which chunk is asked for next, what a chunk that arrives belongs to.
// Pure.
class FetchPlan {
 public:
  static constexpr std::uint32_t kChunkBytes = 256u << 10;
  static constexpr std::size_t kWindow = 16;  // chunks asked for and not here yet

  // Blobs may repeat; each is fetched once. `have` of a blob: bytes that an earlier try left.
  void add(const model::BlobRef& blob, std::uint64_t have);
  struct Ask {
    std::string sha256;
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
  };
  // The next chunk to ask for while the window has room.
  std::optional<Ask> next();
  struct Got {
    bool blob_complete = false, all_complete = false;
  };
  // A chunk arrived. kBadData unless it is the oldest one under way, at full length.
  Result<Got> on_chunk(const std::string& sha256, std::uint64_t offset, std::size_t bytes);
  // True when this is the chunk that on_chunk awaits.
  bool expects(const std::string& sha256, std::uint64_t offset, std::size_t bytes) const;
  // The source is lost: what was under way will be asked for again.
  void restart();
  bool complete() const { return blobs_.empty(); }
  const model::BlobRef& current() const { return blobs_.front().blob; }

 private:
  struct Item {
    model::BlobRef blob;
    std::uint64_t received = 0, asked = 0;
  };
  std::deque<Item> blobs_;     // the front one is being received
  std::size_t ask_index_ = 0;  // the blob that is being asked for
  std::deque<Ask> under_way_;
  std::set<std::string> known_;
};

}  // namespace troupe::actors
