#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <troupe/model/store/manifest.h>
#include <troupe/runtime/net/keys.h>

namespace troupe::actors {

// The order of one fetch from several sources at once: which blob a source should send, which chunk
// it is asked for next, and what an arriving chunk belongs to. A blob comes from one source at a
// time; if that source fails, another is asked. Pure.
class FetchPlan {
 public:
  static constexpr std::uint32_t kChunkBytes = 256u << 10;
  static constexpr std::size_t kWindow = 16;  // chunks due from one source at a time
  using Source = net::PublicKey;

  explicit FetchPlan(std::size_t window = kWindow) : window_(window) {}

  // Adds a blob to fetch. Blobs may repeat; each is fetched once.
  void add(const model::BlobRef& blob);
  // Assigns the next blob to a source whose window has room: a blob that no source is sending and
  // that this source is not known to lack. Call begin() next.
  std::optional<model::BlobRef> claim(const Source& source);
  // Says that the first `have` bytes of a claimed blob are here. Returns true if that is the whole
  // blob; call done() or lacks() next.
  bool begin(const std::string& sha256, std::uint64_t have);
  struct Ask {
    std::string sha256;
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
  };
  // Returns the next chunk to ask for, of the blobs that the source has claimed, if its window has
  // room.
  std::optional<Ask> next(const Source& source);
  // True if this chunk is due from the source. Chunks may overtake each other: two nodes that fetch
  // from each other have two connections, and answers may switch from one to the other.
  bool expects(const Source& source, const std::string& sha256, std::uint64_t offset,
               std::size_t bytes) const;
  // Says that a chunk that was due has arrived. Returns true if its blob is complete; call done()
  // or lacks() next.
  bool on_chunk(const Source& source, const std::string& sha256, std::uint64_t offset);
  // Says that the blob is in the store.
  void done(const std::string& sha256);
  // Says that the source lacks this blob or sent a wrong one: others are asked for it.
  void lacks(const Source& source, const std::string& sha256);
  // Says that the source is gone. Returns the blobs that it was sending, which other sources may
  // now claim.
  std::vector<std::string> lose(const Source& source);

  bool complete() const { return items_.empty(); }
  // True if chunks are due from the source.
  bool busy(const Source& source) const;
  // Returns the blob if the source has claimed it, else nullptr.
  const model::BlobRef* claimed(const Source& source, const std::string& sha256) const;
  // True if there is a blob that each of `sources` lacks.
  bool hopeless(std::span<const Source> sources) const;

 private:
  struct Item {
    model::BlobRef blob;
    std::optional<Source> source;
    std::uint64_t received = 0, asked = 0;
    std::set<Source> lacking;
  };
  void release(Item& item);
  static std::vector<Ask>::const_iterator find_ask(const std::vector<Ask>& asks,
                                                   const std::string& sha256, std::uint64_t offset);
  std::size_t window_;
  std::map<std::string, Item> items_;  // blobs that are not here yet
  std::vector<std::string> order_;     // in the order in which they were added
  struct Connection {
    std::vector<Ask> under_way;
    std::deque<std::string> claimed;  // blobs with chunks that were not asked for yet
  };
  std::map<Source, Connection> connections_;
};

}  // namespace troupe::actors
