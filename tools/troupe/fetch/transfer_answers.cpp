#include <algorithm>

#include <troupe/tools/troupe/fetch/transfer.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

constexpr std::uint64_t kParallelBytesMin = 16u << 20;  // a smaller file takes one connection
constexpr std::uint64_t kFruitBytes = 64u << 10;        // the bytes that count as progress
constexpr int kRestartsMax = 3;
constexpr long kNoSuchRange = 416;

// True for a failure that trying again cannot cure.
bool is_final(CURLcode code) {
  return code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
         code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
         code == CURLE_TOO_MANY_REDIRECTS;
}

Status impossible_size(const std::string& url) {
  return Status(Code::kBadData, "the server says that " + url +
                                    " has 2^62 bytes or more, which no file has: check the "
                                    "address, and tell the people who run the server");
}

}  // namespace

std::size_t Transfer::on_bytes(Connection& connection, std::span<const std::byte> bytes) {
  heard_ = connection.heard = Clock::now();
  if (ending_ || restart_) return 0;
  if (!connection.accepted && !accept(connection)) return 0;
  const ByteRange rest = plan_.rest(connection.piece);
  const std::uint64_t wanted = std::min<std::uint64_t>(bytes.size(), rest.end - rest.begin);
  if (Status written = part_.write(rest.begin, bytes.first(wanted)); !written) {
    end_with(std::move(written));
    return 0;
  }
  plan_.advance(connection.piece, wanted);
  dirty_ = true;
  if (const std::uint64_t here = plan_.received(); here > furthest_bytes_) {
    if (connection.failures_before == failures_) fruit_bytes_ += here - furthest_bytes_;
    furthest_bytes_ = here;
  }
  if (fruit_bytes_ >= kFruitBytes) fruitless_ = 0;
  connection.satisfied = rest.begin + wanted == rest.end;
  // If another connection has taken over the rest, this one ends here.
  return wanted == bytes.size() ? wanted : 0;
}

// Called when the headers are here: checks that the answer is what was asked for. False ends the
// connection.
bool Transfer::accept(Connection& connection) {
  if (connection.headers.linked_sha256) promised_sha256_ = connection.headers.linked_sha256;
  const bool fits =
      connection.headers.status == 206 ? accept_range(connection) : accept_whole(connection);
  if (!fits || ending_) return false;
  connection.accepted = answered_ = true;
  return true;
}

bool Transfer::accept_range(Connection& connection) {
  const AnswerHeaders& headers = connection.headers;
  const std::string named = headers.validator();
  const bool fits = ranges_ && headers.range_begin == connection.asked_begin &&
                    headers.range_end_all && headers.encoding.empty() &&
                    (!bytes_known_ || *headers.range_end_all == plan_.bytes()) &&
                    (validator_.empty() || named.empty() || named == validator_);
  if (!fits) {
    ask_for_restart("the content on the server has changed");
    return false;
  }
  if (!bytes_known_) {
    if (!size_is(*headers.range_end_all)) return false;
    connection.piece = *plan_.take(kUnknownBytes);
  }
  if (validator_.empty()) validator_ = named;
  whole_ = false;
  if (parallel_ && plan_.bytes() > kParallelBytesMin) connections_max_ = limits_.connections_max;
  dirty_ = true;
  return true;
}

// Takes an answer that is the whole file: either the server does not support ranges, or its content
// is no longer what If-Range named.
bool Transfer::accept_whole(Connection& connection) {
  if (connections_.size() > 1) {
    ranges_ = false;
    ask_for_restart("the server supported ranges, and does not any more");
    return false;
  }
  if (plan_.received() > 0) {
    say(remote_.name +
        " begins anew: the server does not support ranges, or its content has changed");
  }
  // With If-Range, the content may just as well have changed.
  if (!connection.extra_headers) whole_ = true;
  bytes_known_ = dirty_ = false;
  connections_max_ = 1;
  validator_ = connection.headers.validator();
  plan_ = RangePlan(kUnknownBytes);
  connection.piece = 0;
  if (Status cleared = part_.clear(); !cleared) {
    end_with(std::move(cleared));
    return false;
  }
  const AnswerHeaders& headers = connection.headers;
  if (headers.content_bytes && headers.encoding.empty() && !size_is(*headers.content_bytes)) {
    return false;
  }
  connection.asked_begin = 0;
  if (const auto piece = plan_.take(kUnknownBytes)) connection.piece = *piece;
  return true;
}

// Called when the server has said how long the file is, and nothing of it is here yet.
bool Transfer::size_is(std::uint64_t bytes) {
  if (bytes >= kUnknownBytes) {
    end_with(impossible_size(remote_.url));
    return false;
  }
  if (remote_.bytes != 0 && bytes != remote_.bytes) {
    end_with(Status(Code::kBadData, remote_.url + " has " + std::to_string(bytes) + " bytes, " +
                                        std::to_string(remote_.bytes) +
                                        " were promised: it was not used; try again, or update "
                                        "troupe"));
    return false;
  }
  if (Status reserved = part_.reserve(bytes); !reserved) {
    const Status cleared = part_.clear();
    static_cast<void>(cleared);  // the first failure is the one to report
    end_with(std::move(reserved));
    return false;
  }
  plan_ = RangePlan(bytes);
  bytes_known_ = true;
  return true;
}

void Transfer::ask_for_restart(const std::string& why) {
  restart_ = true;
  parallel_ = false;
  if (++restarts_ > kRestartsMax) {
    end_with(Status(Code::kUnavailable, "the server of " + remote_.url +
                                            " answers differently each time (" + why +
                                            "): try again later"));
    return;
  }
  say(remote_.name + " begins anew: " + why);
}

void Transfer::ended(Connection& connection, CURLcode code) {
  long status = connection.headers.status, tunnel = 0;
  curl_easy_getinfo(connection.handle.get(), CURLINFO_HTTP_CONNECTCODE, &tunnel);
  if (status < 400 && tunnel >= 400) status = tunnel;  // a proxy's refusal has no headers for us
  const bool had_no_body = code == CURLE_OK && !connection.accepted && !ending_ && !restart_;
  if (had_no_body && accept(connection) && bytes_known_ && plan_.bytes() == 0) {
    connection.satisfied = true;
  }
  if (ending_ || restart_ || connection.satisfied) return drop(connection);
  if (code == CURLE_OK && connection.accepted && !bytes_known_) {
    // The length was not stated: this seems to be the end, but only a hash can prove it.
    drop(connection);
    plan_ = RangePlan(plan_.received(), {});
    bytes_known_ = complete_ = dirty_ = true;
    return;
  }
  // To curl, a proxy's refusal of a tunnel is not an HTTP error.
  const bool is_answer =
      code == CURLE_HTTP_RETURNED_ERROR || (code != CURLE_OK && !connection.accepted);
  if (is_answer && status >= 400) return refused(connection, status);
  const std::string why = code == CURLE_OK ? "it ended early" : curl_easy_strerror(code);
  if (code == CURLE_FILESIZE_EXCEEDED) {
    return end_with(impossible_size(remote_.url));
  }
  const bool unknown_size = !bytes_known_ && connection.accepted;
  drop(connection);
  if (is_final(code)) {
    return end_with(Status(Code::kUnavailable, remote_.url + " cannot be fetched (" + why +
                                                   "): check the address and the network"));
  }
  failed(why, code == CURLE_OPERATION_TIMEDOUT ? Code::kDeadlineExceeded : Code::kUnavailable);
  if (unknown_size && !ending_) restart_ = true;  // there is nothing from which to continue
}

void Transfer::refused(const Connection& connection, long status) {
  curl_off_t pause_seconds = 0;
  curl_easy_getinfo(connection.handle.get(), CURLINFO_RETRY_AFTER, &pause_seconds);
  const bool empty = status == kNoSuchRange && connection.headers.range_end_all == 0u;
  const bool others = connections_.size() > 1;
  drop(connection);
  if (status == kNoSuchRange && ranges_) {
    ranges_ = false;
    if (!empty) return ask_for_restart("the server does not have the bytes that it had");
    restart_ = true;
    return;
  }
  if (others || may_pass(status)) {
    failed("the server says " + std::to_string(status), Code::kUnavailable,
           static_cast<long>(pause_seconds));
    if (ending_) ending_ = refusal(remote_.url, status, !remote_.bearer.empty());
    return;
  }
  end_with(refusal(remote_.url, status, !remote_.bearer.empty()));
}

}  // namespace troupe::tools
