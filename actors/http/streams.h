#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <troupe/actors/http/exchange.h>

// Streams that can be taken up again, by the ids of their events: "chatcmpl-...:17". They are kept
// while they run, and ten minutes after that; of each key the latest 64. Lives on the HTTP thread.

namespace troupe::http {

struct Service;

// The id of a stream, and the number of the last event that the client has.
struct EventId {
  std::string stream;
  std::uint64_t number = 0;
};
// False if `text` is no event's id.
bool read_event_id(std::string_view text, EventId* id);

// Answers with the rest of the stream, or with 404 if there is none or it is another key's.
void take_up_stream(Service& service, const ExchangePtr& exchange, const EventId& id);
// Forgets streams that are too old or too many.
void sweep_streams(Service& service, std::int64_t now_us);

}  // namespace troupe::http
