#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include <sys/mman.h>

#include <troupe/runtime/machine/memory_arena.h>

namespace troupe {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
// The last huge page that a chunk, or a buffer of its own, touches is resident as a whole, which
// wastes 1 MiB on average. Chunks and such buffers are therefore large; the part of a chunk that
// was never touched is only address space. When matrices of 17 MiB had huge pages of their own,
// they took a tenth more memory than the file.
constexpr std::size_t kChunkBytes = 128 * kHugePage;
constexpr std::size_t kLargestPiece = 32 * kHugePage;  // larger buffers are chunks of their own

std::size_t rounded(std::size_t bytes, std::size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

// Address space that is aligned for huge pages, and resident only where it was touched.
std::byte* map_chunk(std::size_t bytes) {
  void* memory = std::aligned_alloc(kHugePage, rounded(bytes, kHugePage));
  // A refusal only costs speed.
  if (memory != nullptr) madvise(memory, rounded(bytes, kHugePage), MADV_HUGEPAGE);
  return static_cast<std::byte*>(memory);
}

// Gives the whole huge pages between the two addresses back to the system.
void drop_pages(std::byte* from, std::byte* to) {
  const auto begin = rounded(reinterpret_cast<std::uintptr_t>(from), kHugePage);
  const auto end = reinterpret_cast<std::uintptr_t>(to) / kHugePage * kHugePage;
  if (begin < end)
    madvise(from + (begin - reinterpret_cast<std::uintptr_t>(from)), end - begin, MADV_DONTNEED);
}

// Pieces are handed out from the front, and from the gaps that other pieces left. Adjacent gaps are
// joined.
class Chunk {
 public:
  explicit Chunk(std::byte* begin) : begin_(begin) {}

  std::size_t used() const { return used_; }
  bool is_empty() const { return live_ == 0; }
  bool has_room(std::size_t bytes) const { return used_ + bytes <= kChunkBytes; }

  std::byte* take_front(std::size_t bytes) {
    std::byte* out = begin_ + used_;
    used_ += bytes;
    ++live_;
    return out;
  }

  // Returns the smallest gap that is large enough, or nullptr. KV pages are given back and taken
  // again, and have one size.
  std::byte* take_gap(std::size_t bytes) {
    const auto gap = by_size_.lower_bound({bytes, nullptr});
    if (gap == by_size_.end()) return nullptr;
    const auto [size, out] = *gap;
    remove_gap(out, size);
    if (size > bytes) add_gap(out + bytes, size - bytes);
    ++live_;
    return out;
  }

  void give_back(std::byte* piece, std::size_t bytes) {
    --live_;
    std::byte *from = piece, *to = piece + bytes;
    const auto next = gaps_.upper_bound(piece);
    if (next != gaps_.begin()) {
      const auto before = *std::prev(next);
      if (before.first + before.second == piece) {
        from = before.first;
        remove_gap(before.first, before.second);
      }
    }
    if (const auto after = gaps_.find(to); after != gaps_.end()) {
      to += after->second;
      remove_gap(after->first, after->second);
    }
    // The memory after the last piece was never touched, or was dropped before.
    const bool last = to == begin_ + used_;
    if (last) {
      used_ = static_cast<std::size_t>(from - begin_);
      to = begin_ + kChunkBytes;
    } else {
      add_gap(from, static_cast<std::size_t>(to - from));
    }
    // Only pages that this piece touched can have become free now.
    const auto piece_begin = reinterpret_cast<std::uintptr_t>(piece);
    std::byte* const page = piece - piece_begin % kHugePage;
    std::byte* const end = page + rounded(piece_begin % kHugePage + bytes, kHugePage);
    drop_pages(std::max(from, page), std::min(to, end));
  }

 private:
  void add_gap(std::byte* at, std::size_t bytes) {
    gaps_.emplace(at, bytes);
    by_size_.emplace(bytes, at);
  }
  void remove_gap(std::byte* at, std::size_t bytes) {
    gaps_.erase(at);
    by_size_.erase({bytes, at});
  }

  std::byte* begin_;
  std::size_t used_ = 0;                                  // bytes up to the last piece's end
  std::size_t live_ = 0;                                  // pieces that were not given back
  std::map<std::byte*, std::size_t> gaps_;                // by address
  std::set<std::pair<std::size_t, std::byte*>> by_size_;  // the same
};

class Arena {
 public:
  std::byte* allocate(std::size_t bytes) {
    const std::scoped_lock lock(mutex_);
    for (auto& [begin, chunk] : chunks_)
      if (std::byte* const gap = chunk.take_gap(bytes)) return gap;
    // Takes the fullest chunk with room, so that small pieces fill what large ones left.
    auto best = chunks_.end();
    for (auto chunk = chunks_.begin(); chunk != chunks_.end(); ++chunk) {
      if (!chunk->second.has_room(bytes)) continue;
      if (best == chunks_.end() || chunk->second.used() > best->second.used()) best = chunk;
    }
    if (best == chunks_.end()) {
      std::byte* begin = map_chunk(kChunkBytes);
      if (begin == nullptr) return nullptr;
      best = chunks_.emplace(begin, Chunk(begin)).first;
    }
    return best->second.take_front(bytes);
  }

  void release(std::byte* piece, std::size_t bytes) {
    const std::scoped_lock lock(mutex_);
    const auto chunk = std::prev(chunks_.upper_bound(piece));
    chunk->second.give_back(piece, bytes);
    if (!chunk->second.is_empty()) return;
    std::free(chunk->first);
    chunks_.erase(chunk);
  }

 private:
  std::mutex mutex_;
  std::map<std::byte*, Chunk> chunks_;  // by address
};

// Returns the arena. There is one for the process, as with malloc. It is never destroyed, because
// buffers may outlive any static object.
Arena& arena() {
  static Arena* const instance = new Arena;
  return *instance;
}

}  // namespace

std::byte* arena_allocate(std::size_t bytes) {
  if (bytes == 0) bytes = 64;
  if (bytes > kLargestPiece) return map_chunk(bytes);
  return arena().allocate(rounded(bytes, 64));
}

void arena_free(std::byte* piece, std::size_t bytes) {
  if (bytes == 0) bytes = 64;
  if (bytes > kLargestPiece) return std::free(piece);
  arena().release(piece, rounded(bytes, 64));
}

}  // namespace troupe
