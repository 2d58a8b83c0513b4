#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/runtime/status.h>

// A message's bytes, and the message that bytes hold. The functions are declared here and defined
// in codec.h, whose templates take seconds to compile for each message. They are compiled once, in
// actors/messages/codecs_*.cpp: a message that is missing there does not link.

namespace troupe::wire {

// Returns the bytes of a message.
template <class T>
std::vector<std::byte> encode(const T& message);

// Errors: kBadData (truncated, a count too large, a bool that is neither 0 nor 1, nested too
// deeply, bytes left over).
template <class T>
Result<T> decode(std::span<const std::byte> bytes);

}  // namespace troupe::wire
