#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <curl/curl.h>

#include <troupe/runtime/status.h>

// What all our HTTP requests have in common: schemes, redirections, tokens, certificates, and the
// meaning of an answer's headers. Main thread only.

namespace troupe::tools {

struct CurlDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using CurlHandle = std::unique_ptr<CURL, CurlDeleter>;

// What the headers say about an answer. After redirections, that is the last answer.
struct AnswerHeaders {
  long status = 0;
  std::optional<std::uint64_t> content_bytes;               // Content-Length
  std::optional<std::uint64_t> range_begin, range_end_all;  // Content-Range: first byte, whole size
  std::string etag;                                         // as it was sent; "" if there was none
  std::string modified;                                     // Last-Modified
  std::string encoding;                                     // Content-Encoding
  // A hub's X-Linked-Etag, if it is a SHA-256, from any answer of the host that was asked first.
  std::optional<std::string> linked_sha256;
  int answers = 0;

  // Takes one header line, or the status line that begins another answer.
  void take(std::string line);
  // Returns the value for If-Range: a strong ETag, otherwise the date; "" if there is neither.
  std::string validator() const;
};

// Makes a handle that is ready for GET `url`, or returns null. `bearer`, if not empty, is a token
// that only the server of `url` gets. `headers` must outlive the transfer. `connect_seconds` limits
// the connecting.
CurlHandle prepare_request(const std::string& url, const std::string& bearer,
                           AnswerHeaders* headers, long connect_seconds);

// Puts the server's refusal (a status of 400 or more) into words: kPermissionDenied (401, 403),
// kNotFound (404, 410), else kUnavailable.
Status refusal(const std::string& url, long status, bool had_token);
// True if asking again later may help (408, 429, and failures of the server itself).
bool may_pass(long status);

}  // namespace troupe::tools
