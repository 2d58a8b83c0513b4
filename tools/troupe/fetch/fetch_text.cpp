#include <troupe/tools/troupe/fetch/fetch.h>
#include <troupe/tools/troupe/fetch/http.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

constexpr long kTotalSecondsMax = 300;  // however slowly the bytes come

struct Text {
  std::string text;
  std::size_t bytes_max = 0;
};

std::size_t on_text(char* data, std::size_t, std::size_t bytes, void* context) {
  auto* text = static_cast<Text*>(context);
  if (bytes > text->bytes_max - text->text.size()) return 0;  // ends the transfer
  text->text.append(data, bytes);
  return bytes;
}

}  // namespace

Result<std::string> fetch_text(const std::string& url, const std::string& bearer,
                               std::size_t bytes_max, const FetchLimits& limits) {
  AnswerHeaders headers;
  Text text{{}, bytes_max};
  CURLcode code = CURLE_FAILED_INIT;
  const CurlHandle curl = prepare_request(url, bearer, &headers, limits.timeout_seconds);
  if (curl != nullptr) {
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_text);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &text);
    curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_TIME, limits.timeout_seconds);
    curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, kTotalSecondsMax);
    code = curl_easy_perform(curl.get());
  }
  if (code == CURLE_OK) return std::move(text.text);
  long tunnel = 0;  // a proxy's answer to our request for a tunnel
  if (curl != nullptr) curl_easy_getinfo(curl.get(), CURLINFO_HTTP_CONNECTCODE, &tunnel);
  if (headers.status >= 400) return refusal(url, headers.status, !bearer.empty());
  if (tunnel >= 400) return refusal(url, tunnel, !bearer.empty());
  if (code == CURLE_WRITE_ERROR) {
    return Status(Code::kBadData, url + " answers with more than " + format_bytes(bytes_max) +
                                      ": check the address");
  }
  return Status(code == CURLE_OPERATION_TIMEDOUT ? Code::kDeadlineExceeded : Code::kUnavailable,
                url + " cannot be reached (" + curl_easy_strerror(code) +
                    "): check the address and the network");
}

}  // namespace troupe::tools
