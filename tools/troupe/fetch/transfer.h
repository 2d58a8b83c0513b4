#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <troupe/tools/troupe/fetch/fetch.h>
#include <troupe/tools/troupe/fetch/http.h>
#include <troupe/tools/troupe/fetch/part_file.h>
#include <troupe/tools/troupe/fetch/progress.h>

// One file over HTTP: a few connections (libcurl's multi interface) that fetch the pieces of a
// RangePlan into a PartFile. transfer.cpp runs the connections, transfer_answers.cpp judges what
// servers answer. Only fetch_from_http makes and uses it, on one thread.

namespace troupe::tools {

class Transfer {
 public:
  Transfer(const RemoteFile& remote, PartFile part, const FetchLimits& limits);
  ~Transfer() { drop_all(); }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  Result<FetchedFile> run();

 private:
  using Clock = std::chrono::steady_clock;
  struct MultiDeleter {
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
  };
  struct ListDeleter {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };
  // One request under way, for one piece of the plan.
  struct Connection {
    Transfer* transfer = nullptr;
    RangePlan::Piece piece = 0;
    std::uint64_t asked_begin = 0;
    int failures_before = 0;  // of the transfer, at the time when this request was opened
    bool accepted = false;    // the answer is what was asked for
    bool satisfied = false;   // its piece is complete, whatever else the server would send
    AnswerHeaders headers;
    Clock::time_point heard{};
    std::unique_ptr<curl_slist, ListDeleter> extra_headers;
    CurlHandle handle;
  };

  // The connections.
  void take_up_what_is_here();
  void connect();
  void open_connection(RangePlan::Piece piece);
  void read_ends();
  void drop_silent_ones();
  void drop(const Connection& connection);
  void drop_all();
  void restart();
  void save();
  void failed(const std::string& how, Code code, long pause_seconds = 0);
  std::string what_again_does() const;
  void end_with(Status status);
  static std::size_t on_write(char* data, std::size_t, std::size_t bytes, void* context);

  // The answers.
  std::size_t on_bytes(Connection& connection, std::span<const std::byte> bytes);
  bool accept(Connection& connection);
  bool accept_range(Connection& connection);
  bool accept_whole(Connection& connection);
  bool size_is(std::uint64_t bytes);
  void ask_for_restart(const std::string& why);
  void ended(Connection& connection, CURLcode code);
  void refused(const Connection& connection, long status);

  const RemoteFile& remote_;
  const FetchLimits limits_;
  PartFile part_;
  Progress progress_;
  std::unique_ptr<CURLM, MultiDeleter> multi_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::size_t connections_max_ = 1;

  RangePlan plan_;  // has kUnknownBytes until a server has said how many there are
  bool bytes_known_ = false;
  bool complete_ = false;  // an answer of unknown length has ended
  bool answered_ = false;  // this process has had a suitable answer
  bool ranges_ = true;     // the server supports ranges, as far as we know
  bool whole_ = false;     // it sent the whole file when a part was asked for
  bool parallel_ = true;   // its answers agree with each other
  std::string validator_;  // for If-Range
  std::optional<std::string> promised_sha256_;

  bool restart_ = false;  // an answer asked for a new beginning, which the loop makes
  int restarts_ = 0, fruitless_ = 0, failures_ = 0;
  // The largest number of bytes that were here at once, and how many of them came over a connection
  // that was opened after the last failure. Bytes that come again after a new beginning do not
  // count as progress, and bytes that were already under way do not show that trying again helps.
  std::uint64_t furthest_bytes_ = 0, fruit_bytes_ = 0;
  bool dirty_ = false;  // more is here than was saved
  Clock::time_point not_before_{}, heard_{}, saved_{};
  std::optional<Status> ending_;  // if set, the transfer is over before the file is complete
};

// Stands for a size that is not known yet; no file has this size.
constexpr std::uint64_t kUnknownBytes = std::uint64_t{1} << 62;

}  // namespace troupe::tools
