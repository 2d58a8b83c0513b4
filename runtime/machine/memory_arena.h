#pragma once

#include <cstddef>

// Memory for weights and KV pages: pieces of large chunks that ask for huge pages. A weight stream
// that misses the TLB every 4 KiB runs at a third of the memory's speed, or less inside a virtual
// machine, and the matrices of small models are smaller than a huge page. Called only by
// AlignedBuffer. Any thread.

namespace troupe {

// Returns 64-byte aligned, uninitialised memory, or nullptr if there is none.
std::byte* arena_allocate(std::size_t bytes);
// Gives a piece of `bytes` back. A huge page returns to the system when all pieces on it were given
// back, however small they are.
void arena_free(std::byte* piece, std::size_t bytes);

}  // namespace troupe
