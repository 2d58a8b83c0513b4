#pragma once

#include <cstdint>
#include <string>

// Ids and seeds that nobody can guess. Any thread.

namespace troupe::http {

// Returns 32 hexadecimal digits of 128 random bits.
std::string random_id();
// Returns a seed that every JSON reader keeps exactly: below 2^53.
std::uint64_t random_seed();

}  // namespace troupe::http
