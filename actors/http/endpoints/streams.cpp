#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/routes.h>
#include <troupe/actors/http/service.h>
#include <troupe/actors/http/stream_position.h>
#include <troupe/actors/http/streams.h>

namespace troupe::http {

// Answers with the events after the one that `from` or Last-Event-ID names; with all events if
// neither is given.
void get_stream(Service& service, const ExchangePtr& exchange) {
  const Request& request = exchange->request;
  if (request.method == "HEAD") {
    return exchange->responder->respond({200, "text/event-stream; charset=utf-8", "", {}});
  }
  EventId id;
  id.stream = std::string(path_id(*exchange->route, request.path));
  const std::string from = request.parameter("from");
  bool good = from.empty() || read_position(from, &id.position);
  const std::string_view last = request.header("Last-Event-ID");
  if (from.empty() && !last.empty()) {
    EventId named;
    good = read_event_id(last, &named) && named.stream == id.stream;
    id.position = named.position;
  }
  if (!good) {
    return exchange->responder->respond(error_response(
        bad_request("from and Last-Event-ID must name an event of the stream, such as 17 and ID:17",
                    "from", "invalid_value")));
  }
  take_up_stream(service, exchange, id);
}

}  // namespace troupe::http
