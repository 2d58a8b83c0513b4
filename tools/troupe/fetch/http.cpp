#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/ascii.h>
#include <troupe/runtime/version.h>
#include <troupe/tools/troupe/fetch/http.h>

namespace troupe::tools {
namespace {

// Reads a number. One that does not fit into 64 bits becomes the largest one that does.
std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) value = UINT64_MAX;
  if ((error != std::errc() && error != std::errc::result_out_of_range) ||
      end != text.data() + text.size())
    return std::nullopt;
  return value;
}

std::size_t on_header(char* data, std::size_t, std::size_t bytes, void* context) {
  static_cast<AnswerHeaders*>(context)->take(std::string(data, bytes));
  return bytes;
}

}  // namespace

void AnswerHeaders::take(std::string line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.pop_back();
  if (line.rfind("HTTP/", 0) == 0) {
    const auto linked = linked_sha256;
    const int before = answers;
    *this = {};
    answers = before + 1;
    linked_sha256 = linked;
    const std::size_t blank = line.find(' ');
    if (blank != std::string::npos) status = std::atol(line.c_str() + blank);
    return;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string::npos) return;
  const std::string name = to_lower(line.substr(0, colon));
  const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
  std::string value = begin == std::string::npos ? "" : line.substr(begin);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.pop_back();
  if (name == "content-length") content_bytes = number(value);
  if (name == "etag") etag = value;
  if (name == "last-modified") modified = value;
  if (name == "content-encoding" && to_lower(value) != "identity") encoding = value;
  if (name == "content-range" && value.rfind("bytes ", 0) == 0) {  // bytes 5-9/10, bytes */10
    const std::size_t dash = value.find('-'), slash = value.find('/');
    if (slash == std::string::npos) return;
    range_end_all = number(std::string_view(value).substr(slash + 1));
    if (dash < slash) range_begin = number(std::string_view(value).substr(6, dash - 6));
  }
  if (name == "x-linked-etag" && answers == 1) {
    value.erase(std::remove(value.begin(), value.end(), '"'), value.end());
    if (is_sha256_hex(value)) linked_sha256 = value;
  }
}

std::string AnswerHeaders::validator() const {
  return !etag.empty() && etag.rfind("W/", 0) != 0 ? etag : modified;
}

CurlHandle prepare_request(const std::string& url, const std::string& bearer,
                           AnswerHeaders* headers, long connect_seconds) {
  CurlHandle owner(curl_easy_init());
  CURL* const handle = owner.get();
  if (handle == nullptr) return owner;
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "https,http");
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR,
                   url.rfind("https://", 0) == 0 ? "https" : "https,http");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(handle, CURLOPT_MAXREDIRS, 10L);
  curl_easy_setopt(handle, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  const std::string agent = std::string("troupe/") + program_version();  // libcurl copies it.
  curl_easy_setopt(handle, CURLOPT_USERAGENT, agent.c_str());
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, connect_seconds);
  curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);  // a proxy's own answer
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, headers);
  if (!bearer.empty()) {
    curl_easy_setopt(handle, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(handle, CURLOPT_XOAUTH2_BEARER, bearer.c_str());
  }
  for (const char* variable : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (const char* bundle = std::getenv(variable)) {
      curl_easy_setopt(handle, CURLOPT_CAINFO, bundle);
      break;
    }
  }
  return owner;
}

Status refusal(const std::string& url, long status, bool had_token) {
  const std::string said =
      url + " cannot be fetched: the server says " + std::to_string(status) + "; ";
  if (status == 401 || status == 403) {
    return Status(Code::kPermissionDenied,
                  said + (had_token ? "check that HF_TOKEN may read it"
                                    : "it may need a token: set HF_TOKEN for a hub"));
  }
  if (status == 407) {
    return Status(Code::kPermissionDenied,
                  url +
                      " cannot be fetched: the proxy wants a name and a password (407); "
                      "give them in https_proxy and http_proxy, as http://NAME:PASSWORD@HOST:PORT");
  }
  if (status == 404 || status == 410) {
    return Status(Code::kNotFound, said +
                                       "there is nothing at this address: check how it is "
                                       "spelt, and that it still exists");
  }
  if (may_pass(status)) {
    return Status(Code::kUnavailable, said + "it is busy or in trouble: try again later");
  }
  return Status(Code::kUnavailable, said + "check the address");
}

bool may_pass(long status) { return status == 408 || status == 429 || status >= 500; }

}  // namespace troupe::tools
