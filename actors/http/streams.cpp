#include <algorithm>
#include <map>
#include <vector>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/generation.h>
#include <troupe/actors/http/service.h>
#include <troupe/actors/http/stored_stream.h>
#include <troupe/actors/http/streams.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

constexpr std::size_t kKeptOfKey = 64;

// Restores what an earlier process knew about a stream, or says why it is of no use any more.
Status restore_stream(Service& service, const actors::StoredStream& stored, std::int64_t now_ms) {
  const std::string key = stored.owner.substr(0, stored.owner.find(' '));
  if (stored.owner != service.owner_of(key)) {
    return Status(Code::kPermissionDenied, "its key was removed");
  }
  AnswerHead head;
  auto prepared = std::make_shared<PreparedAsk>();
  TROUPE_RETURN_IF_ERROR(decode_ask(stored.request, service.models, &head, prepared.get()));
  std::vector<AnswerEvent> said;
  for (const std::string& news : stored.news) {
    TROUPE_ASSIGN_OR_RETURN(const std::vector<AnswerEvent> events, decode_events(news));
    said.insert(said.end(), events.begin(), events.end());
  }
  // A stream that was being computed when the process ended rests from now on.
  const std::int64_t rested_ms = stored.rested_ms == 0 ? now_ms : stored.rested_ms;
  if (stored.rested_ms == 0) service.keeper->rest(stored.id, rested_ms);
  const std::int64_t rested_us =
      monotonic_us() - std::max<std::int64_t>(0, now_ms - rested_ms) * 1000;
  Generation::restore(service, std::move(head), std::move(prepared), key, said, rested_us);
  return Status::ok();
}

}  // namespace

void take_up_stream(Service& service, const ExchangePtr& exchange, const EventId& id) {
  const auto found = service.streams.find(id.stream);
  // The answer does not reveal whether somebody else has such a stream.
  if (found == service.streams.end() || found->second->key() != exchange->key) {
    ApiError error = bad_request("there is no stream " + in_quotes(id.stream) +
                                     " to take up: it is too old, or was never yours",
                                 "", "stream_not_found");
    error.status = 404;
    return exchange->responder->respond(error_response(error));
  }
  const std::shared_ptr<Generation> stream = found->second;
  StreamPosition position = id.position;
  if (position.empty() || position == StreamPosition{0}) position.assign(stream->choices(), 0);
  if (position.size() != stream->choices()) {
    return exchange->responder->respond(error_response(
        bad_request("an event of this stream has " + std::to_string(stream->choices()) +
                        " numbers, one for each choice; repeat the id of the last event as it came",
                    "from", "invalid_value")));
  }
  stream->take_up(exchange, position);
}

void restore_streams(Service& service, const std::vector<actors::StoredStream>& stored) {
  const std::int64_t now_ms = unix_now_ms();
  std::size_t count = 0;
  for (const actors::StoredStream& stream : stored) {
    const Status restored = restore_stream(service, stream, now_ms);
    if (restored) {
      ++count;
    } else {
      log(LogLevel::kInfo, "a stream cannot be taken up any more: " + restored.message());
      service.keeper->forget(stream.id);
    }
  }
  if (count > 0) {
    log(LogLevel::kInfo,
        std::to_string(count) + " streams from before the start can be taken up again");
  }
  sweep_streams(service, monotonic_us());
}

void sweep_streams(Service& service, std::int64_t now_us) {
  const std::int64_t kept_us = std::int64_t{service.options.limits.stream_rest_ms} * 1000;
  std::map<std::string, std::vector<std::pair<std::int64_t, std::string>>> rests;  // of each key
  std::vector<std::string> over;
  for (const auto& [id, stream] : service.streams) {
    const std::int64_t since = stream->rests_since_us();
    if (since == 0) continue;
    if (now_us - since >= kept_us) {
      over.push_back(id);
    } else {
      rests[stream->key()].emplace_back(since, id);
    }
  }
  for (auto& [key, streams] : rests) {
    if (streams.size() <= kKeptOfKey) continue;
    std::sort(streams.begin(), streams.end());
    for (std::size_t i = 0; i + kKeptOfKey < streams.size(); ++i) over.push_back(streams[i].second);
  }
  for (const std::string& id : over) forget_stream(service, id);
}

}  // namespace troupe::http
