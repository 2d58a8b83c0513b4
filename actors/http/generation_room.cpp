#include <algorithm>
#include <functional>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/generation_room.h>
#include <troupe/runtime/clock.h>

namespace troupe::http {

namespace {

// The fraction of all places that is kept for clients that come back when they were told to.
constexpr std::size_t kKeptPart = 8;

}  // namespace

std::uint64_t name_of_request(const std::string& key, const PreparedAsk& prepared) {
  std::uint64_t hash = std::hash<std::string>()(key);
  const auto mix = [&hash](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3; };
  for (const auto& prompt : prepared.prompts) {
    mix(prompt.size());
    for (const model::TokenId id : prompt) mix(static_cast<std::uint32_t>(id));
  }
  mix(prepared.ask.n);
  mix(*prepared.ask.max_tokens);
  return hash;
}

bool has_room(Service& service, const Exchange& exchange, std::size_t choices, std::uint64_t who) {
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
  const std::int64_t now_us = monotonic_us();
  const bool back = service.promises.comes_back(who, now_us);
  const std::size_t kept =
      back ? 0 : std::min(limits.answers / kKeptPart, service.promises.kept(now_us));
  if (service.answers.size() + choices > limits.answers - kept) {
    const double wait_s = service.promises.promise_s(who, back, service.between_answers_s, now_us);
    ApiError error =
        overloaded("the server is computing as many answers as it may; try again later", wait_s);
    error.status = 429;
    error.type = "requests";
    exchange.responder->respond(error_response(error));
    return false;
  }
  const double wait_s = std::clamp(service.between_answers_s, 1.0, 60.0);
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

// Updates the usual time between the ends of two answers; the latest count most.
void note_end(Service& service) {
  const std::int64_t now_us = monotonic_us();
  if (service.answer_ended_us != 0) {
    const double took_s = static_cast<double>(now_us - service.answer_ended_us) * 1e-6;
    service.between_answers_s += 0.1 * (took_s - service.between_answers_s);
  }
  service.answer_ended_us = now_us;
}

}  // namespace troupe::http
