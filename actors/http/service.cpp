#include <utility>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/service.h>

namespace troupe::http {

void forget_stream(Service& service, const std::string& id) {
  if (service.streams.erase(id) > 0) service.keeper->forget(id);
}

std::string why_not_ready(const Service& service) {
  if (service.loading) return "the server is loading its models";
  if (service.draining) return "the server is shutting down";
  return service.watch->trouble();
}

void run_in_pool(Service& service, const ExchangePtr& exchange,
                 std::function<std::function<void()>()> work) {
  // Whatever `work` holds must be destroyed on the HTTP thread, because it may be the last
  // reference to a connection.
  const bool taken = service.pool->submit([&service, exchange, work = std::move(work)]() mutable {
    std::function<void()> then = work();
    service.post([exchange = std::move(exchange), work = std::move(work), then = std::move(then)] {
      exchange->responder->release_body();
      then();
    });
  });
  if (!taken) {
    exchange->responder->respond(error_response(
        overloaded("the server has too many prompts to read; try again in a second", 1)));
  }
}

void answer_in_pool(Service& service, const ExchangePtr& exchange,
                    std::function<std::optional<ApiError>(Response*)> work) {
  run_in_pool(service, exchange, [exchange, work = std::move(work)]() -> std::function<void()> {
    auto response = std::make_shared<Response>();
    const std::optional<ApiError> error = work(response.get());
    exchange->request.body = std::string();
    if (error) *response = error_response(*error);
    return [exchange, response] { exchange->responder->respond(std::move(*response)); };
  });
}

}  // namespace troupe::http
