#pragma once

#include <cstdint>
#include <span>
#include <string_view>

// The first values of a matrix that is trained from nothing. Pure.

namespace troupe::model {

// Draws `values`, whose mean is 0 and whose deviation is `deviation`. Each depends on the seed, the
// tensor's name and the value's place alone.
void draw_first_values(std::uint64_t seed, std::string_view name, double deviation,
                       std::span<float> values);

}  // namespace troupe::model
