#pragma once

// Names the arithmetic that makes results: two programs with the same number compute the same bits
// from the same weights, ids and sampling parameters. Whoever changes a bit of any result (a
// kernel, a format's products, a step of sampling) raises it. Servers tell it to their clients.

namespace troupe {

inline constexpr int kArithmeticVersion = 1;

}  // namespace troupe
