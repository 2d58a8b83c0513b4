#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <troupe/actors/http/message.h>
#include <troupe/runtime/status.h>

// What is wrong with a request, in the shape that OpenAI's clients read. Pure.

namespace troupe::http {

struct ApiError {
  int status = 400;
  std::string message;  // a sentence for a person: what is wrong, and what to do
  std::string type = "invalid_request_error";
  std::string param;  // the field that is wrong; "" becomes null in JSON
  std::string code;   // "" becomes null in JSON
  std::optional<double> retry_after_s;
};

// Makes the error for a request that is wrong itself; `param` names the field.
ApiError bad_request(std::string message, std::string param = {}, std::string code = {});
// Makes the error for what the server cannot do now: 503, or 429 if the asker is the cause.
ApiError overloaded(std::string message, double retry_after_s);
// Returns what a failure of the cluster or the model means to an HTTP client.
ApiError api_error(const Status& status);

// {"error":{...}}
std::string error_json(const ApiError& error);
Response error_response(const ApiError& error);

}  // namespace troupe::http
