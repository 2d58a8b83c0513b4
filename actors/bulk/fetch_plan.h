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

// The order of one fetch from several sources at once: which blob a source is to send, which chunk
// it is asked for next, what a chunk that arrives belongs to. A blob comes from one source at a
// time; what a source fails at is asked of another. Pure.
class FetchPlan {
 public:
  static constexpr std::uint32_t kChunkBytes = 256u << 10;
  static constexpr std::size_t kWindow = 16;  // chunks asked of a source and not here yet
  using Source = net::PublicKey;

  explicit FetchPlan(std::size_t window = kWindow) : window_(window) {}

  // Blobs may repeat; each is fetched once.
  void add(const model::BlobRef& blob);
  // The next blob for a source whose window has room: one that nobody sends, and that this source
  // is not known to lack. begin() follows.
  std::optional<model::BlobRef> claim(const Source& source);
  // The first `have` bytes of a claimed blob are here. True: that is all of it; done() or lacks()
  // follows.
  bool begin(const std::string& sha256, std::uint64_t have);
  struct Ask {
    std::string sha256;
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
  };
  // The next chunk of what the source has claimed, while its window has room.
  std::optional<Ask> next(const Source& source);
  // True when this is a chunk that is due from the source. Chunks may overtake each other: two
  // nodes that fetch from each other have two connections, and answers may change from one to the
  // other.
  bool expects(const Source& source, const std::string& sha256, std::uint64_t offset,
               std::size_t bytes) const;
  // A chunk that was due arrived. True: its blob is complete; done() or lacks() follows.
  bool on_chunk(const Source& source, const std::string& sha256, std::uint64_t offset);
  // The blob is in the store.
  void done(const std::string& sha256);
  // The source does not have this blob, or not as it should be: others are asked for it.
  void lacks(const Source& source, const std::string& sha256);
  // The source is gone: what it was to send is free for others. The blobs that it was sending.
  std::vector<std::string> lose(const Source& source);

  bool complete() const { return items_.empty(); }
  // Chunks are due from it.
  bool busy(const Source& source) const;
  // The blob, when the source has claimed it; nullptr otherwise.
  const model::BlobRef* claimed(const Source& source, const std::string& sha256) const;
  // There is a blob that each of `sources` lacks.
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
  std::map<std::string, Item> items_;  // that are not here yet
  std::vector<std::string> order_;     // as added
  struct Way {
    std::vector<Ask> under_way;
    std::deque<std::string> claimed;  // not asked for to their ends
  };
  std::map<Source, Way> ways_;
};

}  // namespace troupe::actors
