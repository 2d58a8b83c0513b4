#include <string>
#include <utility>

#include <troupe/runtime/machine/aligned_buffer.h>
#include <troupe/runtime/machine/memory_arena.h>
#include <troupe/runtime/status.h>

namespace troupe {

AlignedBuffer::AlignedBuffer(std::size_t bytes)
    : data_(arena_allocate(bytes), Free{bytes, nullptr}) {
  TROUPE_CHECK(data_ != nullptr, "no memory for a buffer of " + std::to_string(bytes) + " bytes");
}

AlignedBuffer::AlignedBuffer(std::byte* memory, std::size_t bytes, Release release)
    : data_(memory, Free{bytes, std::move(release)}) {}

void AlignedBuffer::Free::operator()(std::byte* p) const {
  release != nullptr ? release(p) : arena_free(p, bytes);
}

}  // namespace troupe
