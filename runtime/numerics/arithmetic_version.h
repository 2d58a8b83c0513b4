#pragma once

#include <cstdint>

// The version of Troupe's arithmetic. Two processes of one version compute the same bits from the
// same weights, tokens, parameters and seed, on any machine; two versions may not. Therefore the
// nodes of a cluster share one version, and an answer is continued only under the version that
// began it. Processes of different releases may share a version.
//
// It covers whatever a result's bits depend on: the order of every sum and the kernels, the
// formats' packed arithmetic, norms, rotations, exp and its relatives, how keys, values and hidden
// states are rounded, sampling and its random draws, and how prompts become token ids and answers
// end. It does not cover speed, placement, messages or files (runtime/wire/frame.h has the version
// of the protocol).
//
// Raise it in the change that lets any bit of any result differ, however rarely, even if only one
// weight format or one family is affected. A change needs no new version if every recorded hash
// stays the same and the kernels still equal the unchanged tests/runtime/kernels/reference.cpp.
//
//   1  float products and attention scores are one chain over all columns or channels
//   2  they are cut at kernels::kSumColumns (kernels.h)
//   3  Q2_K, Q3_K, IQ4_XS and MXFP4 are multiplied as they are, no longer as Q8_0

namespace troupe {

constexpr std::uint32_t kArithmeticVersion = 3;

}  // namespace troupe
