#include <algorithm>
#include <charconv>
#include <map>
#include <vector>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/generation.h>
#include <troupe/actors/http/service.h>
#include <troupe/actors/http/streams.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

constexpr std::int64_t kKeptUs = 600'000'000;
constexpr std::size_t kKeptOfKey = 64;

}  // namespace

bool read_event_id(std::string_view text, EventId* id) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data() + colon + 1, end, id->number);
  id->stream = std::string(text.substr(0, colon));
  return read.ec == std::errc() && read.ptr == end;
}

void take_up_stream(Service& service, const ExchangePtr& exchange, const EventId& id) {
  const auto found = service.streams.find(id.stream);
  // Whether a stream of somebody else exists is nobody's business.
  if (found == service.streams.end() || found->second->key() != exchange->key) {
    ApiError error = bad_request("there is no stream " + in_quotes(id.stream) +
                                     " to take up: it is too old, or was never yours",
                                 "", "stream_not_found");
    error.status = 404;
    return exchange->responder->respond(error_response(error));
  }
  const std::shared_ptr<Generation> stream = found->second;
  stream->take_up(exchange, id.number);
}

void sweep_streams(Service& service, std::int64_t now_us) {
  std::map<std::string, std::vector<std::int64_t>> rests;  // of each key, when its streams ended
  std::erase_if(service.streams, [&](const auto& entry) {
    const std::int64_t since = entry.second->rests_since_us();
    return since != 0 && now_us - since > kKeptUs;
  });
  for (const auto& [id, stream] : service.streams) {
    if (stream->rests_since_us() != 0) rests[stream->key()].push_back(stream->rests_since_us());
  }
  for (auto& [key, times] : rests) {
    if (times.size() <= kKeptOfKey) continue;
    std::nth_element(times.begin(), times.end() - kKeptOfKey, times.end());
    const std::int64_t oldest = times[times.size() - kKeptOfKey];
    std::erase_if(service.streams, [&](const auto& entry) {
      const std::int64_t since = entry.second->rests_since_us();
      return entry.second->key() == key && since != 0 && since < oldest;
    });
  }
}

}  // namespace troupe::http
