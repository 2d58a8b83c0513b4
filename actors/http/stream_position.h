#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// How far a client has got in a stream, as the ids of events say. Pure.

namespace troupe::http {

// The number of events of each choice that a client has. The events of one choice always come in
// the same order, while those of different choices may overtake each other.
using StreamPosition = std::vector<std::uint64_t>;

// Reads "17", or "5.7.6" for three choices. Returns false if `text` is not a position.
bool read_position(std::string_view text, StreamPosition* position);

struct EventId {
  std::string stream;
  StreamPosition position;  // with this event
};
// Reads "chatcmpl-...:17". Returns false if `text` is not an event's id.
bool read_event_id(std::string_view text, EventId* id);

}  // namespace troupe::http
