#pragma once

#include <troupe/runtime/kernels/kernels.h>

// The targets' tables, and what they share. For the files of this folder only; everyone else asks
// kernels::table.

namespace troupe::kernels {

const Kernels& scalar_table();  // plain C++ with std::fma, no special compiler flags
#if defined(__x86_64__)
const Kernels& avx2_table();  // AVX2, FMA, F16C
#endif

// Query vectors (rows x heads of a key head) that one attention tile holds.
constexpr std::size_t kAttentionTile = 6;
// Channels are padded to whole 16-lane vectors in the scratch of attention.
constexpr std::size_t padded_to_lanes(std::size_t count) { return (count + 15) / 16 * 16; }

}  // namespace troupe::kernels
