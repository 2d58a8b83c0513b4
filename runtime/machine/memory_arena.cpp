#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <vector>

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

// A piece that was given back keeps only its first and last huge page, which it shares with others.
void drop_pages(std::byte* piece, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(piece);
  const std::size_t skipped = rounded(begin, kHugePage) - begin;
  if (bytes < skipped + kHugePage) return;
  madvise(piece + skipped, (bytes - skipped) / kHugePage * kHugePage, MADV_DONTNEED);
}

struct Chunk {
  std::size_t used = 0;                         // bytes handed out from the front
  std::size_t live = 0;                         // pieces that were not given back
  std::multimap<std::size_t, std::byte*> free;  // pieces that were given back, by size
};

class Arena {
 public:
  std::byte* allocate(std::size_t bytes) {
    const std::scoped_lock lock(mutex_);
    for (auto& [begin, chunk] :
         chunks_) {  // KV pages are given back and taken again, and have one size
      if (const auto piece = chunk.free.find(bytes); piece != chunk.free.end()) {
        std::byte* out = piece->second;
        chunk.free.erase(piece);
        ++chunk.live;
        return out;
      }
    }
    // Takes the fullest chunk with room, so that small pieces fill what large ones left.
    auto best = chunks_.end();
    for (auto chunk = chunks_.begin(); chunk != chunks_.end(); ++chunk) {
      if (chunk->second.used + bytes > kChunkBytes) continue;
      if (best == chunks_.end() || chunk->second.used > best->second.used) best = chunk;
    }
    if (best == chunks_.end()) {
      std::byte* begin = map_chunk(kChunkBytes);
      if (begin == nullptr) return nullptr;
      best = chunks_.emplace(begin, Chunk{}).first;
    }
    std::byte* out = best->first + best->second.used;
    best->second.used += bytes;
    ++best->second.live;
    return out;
  }

  void release(std::byte* piece, std::size_t bytes) {
    const std::scoped_lock lock(mutex_);
    const auto chunk = std::prev(chunks_.upper_bound(piece));
    if (--chunk->second.live == 0) {
      std::free(chunk->first);
      chunks_.erase(chunk);
    } else {
      drop_pages(piece, bytes);
      chunk->second.free.emplace(bytes, piece);
    }
  }

 private:
  std::mutex mutex_;
  std::map<std::byte*, Chunk> chunks_;  // by address
};

// There is one for the process, as with malloc. It is never destroyed, since buffers may outlive
// any static object.
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
