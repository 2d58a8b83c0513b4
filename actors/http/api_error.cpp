#include <algorithm>
#include <cmath>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/json_text.h>

namespace troupe::http {

ApiError bad_request(std::string message, std::string param, std::string code) {
  ApiError error;
  error.message = std::move(message);
  error.param = std::move(param);
  error.code = std::move(code);
  return error;
}

ApiError overloaded(std::string message, double retry_after_s) {
  ApiError error;
  error.status = 503;
  error.message = std::move(message);
  error.type = "server_error";
  error.code = "overloaded";
  error.retry_after_s = retry_after_s;
  return error;
}

ApiError api_error(const Status& status) {
  ApiError error;
  error.message = status.message();
  error.code = std::string(code_name(status.code()));
  switch (status.code()) {
    case Code::kInvalidArgument:
    case Code::kBadData:
    case Code::kFailedPrecondition:
      break;
    case Code::kNotFound:
      error.status = 404;
      break;
    case Code::kPermissionDenied:
      error.status = 403;
      break;
    case Code::kResourceExhausted:
    case Code::kUnavailable:
    case Code::kCancelled:
      error.status = 503;
      error.type = "server_error";
      error.retry_after_s = 1;
      break;
    case Code::kDeadlineExceeded:
      error.status = 504;
      error.type = "server_error";
      break;
    default:
      error.status = 500;
      error.type = "server_error";
  }
  return error;
}

std::string error_json(const ApiError& error) {
  std::string out = "{\"error\":{\"message\":";
  append_json_string(error.message, &out);
  out += ",\"type\":";
  append_json_string(error.type, &out);
  out += ",\"param\":";
  append_json_string_or_null(error.param, &out);
  out += ",\"code\":";
  append_json_string_or_null(error.code, &out);
  out += "}}";
  return out;
}

Response error_response(const ApiError& error) {
  Response response;
  response.status = error.status;
  response.body = error_json(error);
  if (error.retry_after_s) {
    // Retry-After has whole seconds: a client that obeys it must not come too early.
    const double seconds = std::max(0.0, *error.retry_after_s);
    response.headers.push_back(
        {"Retry-After", std::to_string(static_cast<long long>(std::ceil(seconds)))});
    response.headers.push_back(
        {"retry-after-ms", std::to_string(static_cast<long long>(std::ceil(seconds * 1000)))});
  }
  if (error.status == 401) response.headers.push_back({"WWW-Authenticate", "Bearer"});
  return response;
}

}  // namespace troupe::http
