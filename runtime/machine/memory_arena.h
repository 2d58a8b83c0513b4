#pragma once

#include <cstddef>

// Memory of weights and KV pages: pieces of large chunks that ask for huge pages. A weight stream
// that misses the TLB every 4 KiB runs at a third of the memory's speed, more so inside a virtual
// machine, and the matrices of small models are smaller than a huge page. Called by AlignedBuffer
// only; any thread.

namespace troupe {

// 64-byte aligned, uninitialised; nullptr when there is no memory.
std::byte* arena_allocate(std::size_t bytes);
// Gives a piece of `bytes` back; a chunk whose pieces are all back returns to the system.
void arena_free(std::byte* piece, std::size_t bytes);

}  // namespace troupe
