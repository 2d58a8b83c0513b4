#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/runtime/status.h>

// Turns a message into bytes and back. The functions are declared here and defined in codec.h,
// whose templates take seconds to compile for each message. So each message is compiled in one
// file, by TROUPE_MESSAGE (codec.h); if a message is compiled nowhere, programs that use it do not
// link. Pure.

namespace troupe::wire {

// Returns the bytes of a message.
template <class T>
std::vector<std::byte> encode(const T& message);

// Errors: kBadData (truncated, a count too large, a bool that is neither 0 nor 1, nested too
// deeply, bytes left over).
template <class T>
Result<T> decode(std::span<const std::byte> bytes);

}  // namespace troupe::wire
