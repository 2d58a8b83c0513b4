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
// The last huge page that a chunk, or a buffer of its own, touches is resident as a whole: 1 MiB is
// lost on average, so both are large: what of a chunk was never touched is address space only.
// Matrices of 17 MiB with huge pages of their own took a tenth more memory than the file.
constexpr std::size_t kChunkBytes = 128 * kHugePage;
constexpr std::size_t kLargestPiece = 32 * kHugePage;  // larger buffers are chunks of their own

std::size_t rounded(std::size_t bytes, std::size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

// Address space aligned for huge pages; resident only where touched.
std::byte* map_chunk(std::size_t bytes) {
  void* memory = std::aligned_alloc(kHugePage, rounded(bytes, kHugePage));
  if (memory != nullptr)
    madvise(memory, rounded(bytes, kHugePage), MADV_HUGEPAGE);  // a refusal costs speed only
  return static_cast<std::byte*>(memory);
}

// A piece that is back keeps no memory but its first and last, shared huge pages.
void drop_pages(std::byte* piece, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(piece);
  const std::size_t skipped = rounded(begin, kHugePage) - begin;
  if (bytes < skipped + kHugePage) return;
  madvise(piece + skipped, (bytes - skipped) / kHugePage * kHugePage, MADV_DONTNEED);
}

struct Chunk {
  std::size_t used = 0;                         // bytes handed out from the front
  std::size_t live = 0;                         // pieces that are not back
  std::multimap<std::size_t, std::byte*> free;  // pieces that are back, by bytes
};

class Arena {
 public:
  std::byte* allocate(std::size_t bytes) {
    const std::scoped_lock lock(mutex_);
    for (auto& [begin, chunk] : chunks_) {  // KV pages come and go and have one size
      if (const auto piece = chunk.free.find(bytes); piece != chunk.free.end()) {
        std::byte* out = piece->second;
        chunk.free.erase(piece);
        ++chunk.live;
        return out;
      }
    }
    // The fullest chunk with room: small pieces fill what large ones left.
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

// One for the process, as malloc is; never destroyed, since buffers may outlive any static.
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
