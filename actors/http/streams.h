#pragma once

#include <cstdint>
#include <vector>

#include <troupe/actors/http/exchange.h>
#include <troupe/actors/http/stream_position.h>
#include <troupe/actors/journal/stream_file.h>

// Streams that can be taken up again, by the ids of their events: "chatcmpl-...:17". They are kept
// while they run and for ten minutes after that, but at most the latest 64 of each key. They are in
// a file, too, so that they outlive this process. Lives on the HTTP thread.

namespace troupe::http {

struct Service;

// Answers with the rest of the stream, or with 404 if there is none or it is another key's. Without
// a position, the rest is all of it.
void take_up_stream(Service& service, const ExchangePtr& exchange, const EventId& id);
// Forgets streams that are too old or too many.
void sweep_streams(Service& service, std::int64_t now_us);
// Takes over what an earlier process left in the file. Streams whose keys or models are gone are
// forgotten.
void restore_streams(Service& service, const std::vector<actors::StoredStream>& stored);

}  // namespace troupe::http
