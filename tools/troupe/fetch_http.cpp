#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>

#include <curl/curl.h>
#include <unistd.h>

#include <troupe/model/store.h>
#include <troupe/tools/troupe/fetch.h>
#include <troupe/tools/troupe/output.h>

namespace troupe::tools {
namespace {

struct Progress {
  bool terminal = ::isatty(2) != 0;
  std::uint64_t before = 0;  // bytes of an earlier, cut transfer
  std::chrono::steady_clock::time_point shown{};
};

int on_progress(void* context, curl_off_t total, curl_off_t now, curl_off_t, curl_off_t) {
  auto* progress = static_cast<Progress*>(context);
  const auto time = std::chrono::steady_clock::now();
  const auto pause = std::chrono::milliseconds(progress->terminal ? 200 : 5000);
  if (total <= 0 || time - progress->shown < pause) return 0;
  progress->shown = time;
  const std::uint64_t done = progress->before + static_cast<std::uint64_t>(now);
  const std::uint64_t all = progress->before + static_cast<std::uint64_t>(total);
  std::fprintf(
      stderr, progress->terminal ? "\rtroupe: %s of %s (%d %%) " : "troupe: %s of %s (%d %%)\n",
      format_bytes(done).c_str(), format_bytes(all).c_str(), static_cast<int>(done * 100 / all));
  return 0;
}

struct CurlDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct FileCloser {
  void operator()(FILE* file) const { std::fclose(file); }
};

struct Outcome {
  CURLcode code = CURLE_OK;
  long http = 0;
};

// What every transfer has in common.
void prepare(CURL* handle, const std::string& url, const std::string& bearer) {
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "https,http");
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR,
                   url.rfind("https://", 0) == 0 ? "https" : "https,http");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(handle, CURLOPT_MAXREDIRS, 10L);
  curl_easy_setopt(handle, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, 15L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);  // a stalled server: give up after a
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, 30L);  // while, the next try goes on from here
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
}

Outcome perform(CURL* handle) {
  Outcome outcome{curl_easy_perform(handle), 0};
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &outcome.http);
  return outcome;
}

Outcome transfer(const std::string& url, const std::string& bearer, FILE* file, std::uint64_t from,
                 Progress* progress) {
  std::unique_ptr<CURL, CurlDeleter> curl(curl_easy_init());
  if (curl == nullptr) return {CURLE_FAILED_INIT, 0};
  CURL* handle = curl.get();
  prepare(handle, url, bearer);
  curl_easy_setopt(handle, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(from));
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, file);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, progress);
  return perform(handle);
}

// The server's refusal, in words.
Status refusal(const std::string& url, const Outcome& outcome, const std::string& bearer) {
  const std::string said =
      url + " cannot be had: the server says " + std::to_string(outcome.http) + "; ";
  if (outcome.http == 401 || outcome.http == 403) {
    return Status(Code::kPermissionDenied,
                  said + (bearer.empty() ? "it may want a token: set HF_TOKEN for a hub"
                                         : "check that HF_TOKEN may read it"));
  }
  return Status(outcome.http == 404 ? Code::kNotFound : Code::kUnavailable,
                said + "check the address");
}

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
                               std::size_t bytes_max) {
  std::unique_ptr<CURL, CurlDeleter> curl(curl_easy_init());
  Text text{{}, bytes_max};
  Outcome outcome{CURLE_FAILED_INIT, 0};
  if (curl != nullptr) {
    prepare(curl.get(), url, bearer);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_text);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &text);
    outcome = perform(curl.get());
  }
  if (outcome.code == CURLE_OK) return std::move(text.text);
  if (outcome.http >= 400) return refusal(url, outcome, bearer);
  if (outcome.code == CURLE_WRITE_ERROR) {
    return Status(Code::kBadData, url + " answers with more than " + format_bytes(bytes_max) +
                                      ": check the address");
  }
  return Status(Code::kUnavailable, url + " cannot be reached (" +
                                        curl_easy_strerror(outcome.code) +
                                        "): check the address and the network");
}

Result<std::filesystem::path> fetch_from_http(const std::string& url,
                                              const std::filesystem::path& folder,
                                              const std::string& bearer) {
  // The name is that of the address, so that a later process finds what an earlier one began.
  const std::string key = model::sha256_hex(std::as_bytes(std::span(url)));
  const std::filesystem::path path = folder / (key.substr(0, 32) + ".part");
  for (int attempt = 0;; ++attempt) {
    std::unique_ptr<FILE, FileCloser> file(std::fopen(path.c_str(), "ab"));
    if (file == nullptr) {
      return Status(
          Code::kPermissionDenied,
          "cannot write " + path.string() + ": check the permissions of the home and its disk");
    }
    Progress progress;
    progress.before = std::filesystem::file_size(path);
    if (progress.before > 0) say("going on after " + format_bytes(progress.before));
    const Outcome outcome = transfer(url, bearer, file.get(), progress.before, &progress);
    if (progress.terminal && progress.shown.time_since_epoch().count() != 0) {
      std::fputc('\n', stderr);
    }
    if (outcome.code == CURLE_OK) return path;
    // The server cannot go on in the middle, or has less than we have: once from the beginning.
    if (progress.before > 0 && attempt == 0 &&
        (outcome.code == CURLE_RANGE_ERROR || outcome.http == 416)) {
      file.reset();
      std::filesystem::remove(path);
      continue;
    }
    if (outcome.http >= 400) return refusal(url, outcome, bearer);
    return Status(Code::kUnavailable, "fetching " + url + " was cut (" +
                                          curl_easy_strerror(outcome.code) +
                                          "); the same command goes on where it ended");
  }
}

}  // namespace troupe::tools
