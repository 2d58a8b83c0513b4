#include <charconv>

#include <troupe/actors/http/generation_ask.h>
#include <troupe/actors/http/stream_position.h>

namespace troupe::http {

bool read_position(std::string_view text, StreamPosition* position) {
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  position->clear();
  for (;;) {
    const auto read = std::from_chars(at, end, position->emplace_back());
    if (read.ec != std::errc() || position->size() > kChoicesMax) return false;
    if (read.ptr == end) return true;
    if (*read.ptr != '.') return false;
    at = read.ptr + 1;
  }
}

bool read_event_id(std::string_view text, EventId* id) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  id->stream = std::string(text.substr(0, colon));
  return read_position(text.substr(colon + 1), &id->position);
}

}  // namespace troupe::http
