#include <charconv>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/routes.h>
#include <troupe/actors/http/service.h>
#include <troupe/actors/http/streams.h>

namespace troupe::http {

// The events after the one that `from` or Last-Event-ID names; all of them without either.
void get_stream(Service& service, const ExchangePtr& exchange) {
  const Request& request = exchange->request;
  if (request.method == "HEAD") {
    return exchange->responder->respond({200, "text/event-stream; charset=utf-8", "", {}});
  }
  EventId id;
  id.stream = std::string(path_id(*exchange->route, request.path));
  const std::string from = request.parameter("from");
  const auto read = std::from_chars(from.data(), from.data() + from.size(), id.number);
  bool good = from.empty() || (read.ec == std::errc() && read.ptr == from.data() + from.size());
  const std::string_view last = request.header("Last-Event-ID");
  if (from.empty() && !last.empty()) {
    EventId named;
    good = read_event_id(last, &named) && named.stream == id.stream;
    id.number = named.number;
  }
  if (!good) {
    return exchange->responder->respond(error_response(
        bad_request("from and Last-Event-ID must name an event of the stream, such as 17 and ID:17",
                    "from", "invalid_value")));
  }
  take_up_stream(service, exchange, id);
}

}  // namespace troupe::http
