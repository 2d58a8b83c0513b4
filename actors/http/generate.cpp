#include <memory>
#include <utility>

#include <troupe/actors/http/generate.h>
#include <troupe/actors/http/generation.h>
#include <troupe/actors/http/prepare.h>
#include <troupe/actors/http/streams.h>

namespace troupe::http {

void generate(Service& service, const ExchangePtr& exchange, AskKind kind) {
  // A client that lost its stream asks again, and says what it has.
  EventId last;
  const std::string_view event = exchange->request.header("Last-Event-ID");
  if (!event.empty() && read_event_id(event, &last)) {
    return take_up_stream(service, exchange, last);
  }
  run_in_pool(service, exchange, [&service, exchange, kind]() -> std::function<void()> {
    auto prepared = std::make_shared<PreparedAsk>();
    auto error = prepare(service.models, kind, exchange->request.body, prepared.get());
    exchange->request.body = std::string();
    if (error) {
      return [exchange, error = std::move(*error)] {
        exchange->responder->respond(error_response(error));
      };
    }
    return [&service, exchange, prepared] { Generation::begin(service, exchange, prepared); };
  });
}

}  // namespace troupe::http
