#include <algorithm>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/generation_room.h>
#include <troupe/runtime/clock.h>

namespace troupe::http {

bool has_room(Service& service, const Exchange& exchange, std::size_t choices) {
  const ServeLimits& limits = service.options.limits;
  if (service.draining) {
    exchange.responder->respond(
        error_response(overloaded("the server is shutting down; ask another one", 5)));
    return false;
  }
  if (choices > std::min(limits.answers, limits.answers_per_key)) {
    exchange.responder->respond(error_response(
        bad_request("the request asks for more answers than the server computes at once", "n",
                    "invalid_value")));
    return false;
  }
  // A place is free when an answer has ended.
  const double wait_s = std::clamp(service.between_answers_s, 1.0, 60.0);
  if (service.answers.size() + choices > limits.answers) {
    exchange.responder->respond(error_response(
        overloaded("the server computes as many answers as it may; try again later", wait_s)));
    return false;
  }
  if (service.answers_of_key[exchange.key] + choices > limits.answers_per_key) {
    ApiError error = overloaded("this key has as many answers under way as it may", wait_s);
    error.status = 429;
    error.type = "requests";
    error.code = "rate_limit_exceeded";
    exchange.responder->respond(error_response(error));
    return false;
  }
  return true;
}

// The usual time between the ends of two answers, of which the last ones count most.
void note_end(Service& service) {
  const std::int64_t now_us = monotonic_us();
  if (service.answer_ended_us != 0) {
    const double took_s = static_cast<double>(now_us - service.answer_ended_us) * 1e-6;
    service.between_answers_s += 0.1 * (took_s - service.between_answers_s);
  }
  service.answer_ended_us = now_us;
}

}  // namespace troupe::http
