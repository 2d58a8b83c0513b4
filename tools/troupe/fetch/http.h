#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <curl/curl.h>

#include <troupe/runtime/status.h>

// What every request of ours over HTTP has in common: schemes, redirections, tokens, certificates,
// and what the headers of an answer say. Main thread only.

namespace troupe::tools {

struct CurlDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using CurlHandle = std::unique_ptr<CURL, CurlDeleter>;

// What the headers say of an answer: the last one's, after redirections.
struct AnswerHeaders {
  long status = 0;
  std::optional<std::uint64_t> content_bytes;               // Content-Length
  std::optional<std::uint64_t> range_begin, range_end_all;  // Content-Range: first byte, whole size
  std::string etag;                                         // as it was sent; "" without
  std::string modified;                                     // Last-Modified
  std::string encoding;                                     // Content-Encoding
  // A hub's X-Linked-Etag, when that is a SHA-256: of any answer on the way that came from the host
  // that was asked first.
  std::optional<std::string> linked_sha256;
  int answers = 0;

  // One header line, or the status line that begins another answer.
  void take(std::string line);
  // What If-Range may be given: a strong ETag, else the date; "" without.
  std::string validator() const;
};

// A handle that is ready for GET `url`, or null. `bearer`, when not empty, is a token for the
// server of `url` alone. `headers` must outlive the transfer. `connect_seconds` bounds the
// connecting.
CurlHandle prepare_request(const std::string& url, const std::string& bearer,
                           AnswerHeaders* headers, long connect_seconds);

// The server's refusal (a status of 400 or more), in words.
//   kPermissionDenied (401, 403), kNotFound (404, 410), else kUnavailable.
Status refusal(const std::string& url, long status, bool had_token);
// True when asking again later may help (408, 429 and what is wrong with the server itself).
bool may_pass(long status);

}  // namespace troupe::tools
