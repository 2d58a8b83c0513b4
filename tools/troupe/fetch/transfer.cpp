#include <algorithm>

#include <troupe/tools/troupe/fetch/transfer.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

using namespace std::chrono_literals;

// The smallest piece that is worth another connection.
constexpr std::uint64_t kHalfBytesMin = 8u << 20;
constexpr int kFruitlessMax = 5;   // failures in a row without progress
constexpr int kUnansweredMax = 2;  // the same, before a server has answered at all
constexpr int kFailuresMax = 100;  // all failures together
constexpr auto kFirstPause = 250ms, kLongestPause = 8000ms;
constexpr long kPauseSecondsMax = 60;  // the longest pause that a server may ask for
constexpr auto kSavePause = 1000ms;
constexpr int kPollMs = 200;
constexpr long kBufferBytes = 256 << 10;

}  // namespace

Transfer::Transfer(const RemoteFile& remote, PartFile part, const FetchLimits& limits)
    : remote_(remote),
      limits_(limits),
      part_(std::move(part)),
      progress_(remote.name),
      multi_(curl_multi_init()),
      plan_(kUnknownBytes) {
  // Several requests over one connection would share its rate.
  curl_multi_setopt(multi_.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
}

// Continues from the bytes of an earlier process, if the server's validator or the hash can tell
// whether they fit.
void Transfer::take_up_what_is_here() {
  const auto left = part_.load();
  const bool same_size = left && (remote_.bytes == 0 || remote_.bytes == left->plan.bytes());
  if (!left || !same_size || left->plan.received() == 0 ||
      (left->validator.empty() && !remote_.sha256)) {
    return;
  }
  // A complete file needs no server, if its hash can be checked.
  if (left->plan.complete() && !remote_.sha256) return;
  plan_ = left->plan;
  furthest_bytes_ = plan_.received();
  validator_ = left->validator;
  bytes_known_ = true;
  if (!plan_.complete()) {
    say("going on after " + format_bytes(plan_.received()) + " of " + remote_.name);
  }
}

Result<FetchedFile> Transfer::run() {
  if (multi_ == nullptr)
    return Status(Code::kResourceExhausted, "there is no memory to fetch with");
  take_up_what_is_here();
  if (!bytes_known_) {
    if (Status cleared = part_.clear(); !cleared) return cleared;
  }
  heard_ = saved_ = Clock::now();
  const auto whole = [&] { return complete_ || (bytes_known_ && plan_.complete()); };
  while (!whole() && !ending_) {
    connect();
    int running = 0;
    curl_multi_perform(multi_.get(), &running);
    read_ends();
    drop_silent_ones();
    if (restart_ && !ending_) restart();
    if (dirty_ && Clock::now() - saved_ > kSavePause) save();
    progress_.show(plan_.received(), bytes_known_ ? plan_.bytes() : 0);
    if (!whole() && !ending_) curl_multi_poll(multi_.get(), nullptr, 0, kPollMs, nullptr);
  }
  drop_all();
  if (dirty_) save();
  if (ending_) {
    // A transfer without a length cannot be continued, and its bytes may have filled the disk.
    if (!bytes_known_) forget_part(part_.path());
    return *ending_;
  }
  return FetchedFile{part_.path(), promised_sha256_};
}

void Transfer::save() {
  saved_ = Clock::now();
  if (!bytes_known_) return;
  dirty_ = false;
  if (Status saved = part_.save(plan_, validator_, remote_.model); !saved && !ending_)
    end_with(std::move(saved));
}

// Opens as many connections as the plan has pieces for. Until the server has answered, a single
// connection finds out what the server supports.
void Transfer::connect() {
  if (Clock::now() < not_before_ || restart_) return;
  while (connections_.size() < connections_max_) {
    const auto piece = plan_.take(connections_max_ > 1 ? kHalfBytesMin : kUnknownBytes);
    if (!piece) return;
    open_connection(*piece);
    if (ending_) return;
  }
}

void Transfer::open_connection(RangePlan::Piece piece) {
  auto connection = std::make_unique<Connection>();
  const ByteRange rest = plan_.rest(piece);
  connection->transfer = this;
  connection->piece = piece;
  connection->failures_before = failures_;
  connection->asked_begin = ranges_ ? rest.begin : 0;
  connection->heard = Clock::now();
  connection->handle = prepare_request(remote_.url, remote_.bearer, &connection->headers,
                                       std::max(1L, limits_.timeout_seconds / 3));
  CURL* const handle = connection->handle.get();
  if (handle == nullptr) {
    return end_with(Status(Code::kResourceExhausted, "there is no memory for a connection"));
  }
  if (ranges_) {
    const std::string last = rest.end >= kUnknownBytes ? "" : std::to_string(rest.end - 1);
    const std::string range = std::to_string(rest.begin) + "-" + last;
    curl_easy_setopt(handle, CURLOPT_RANGE, range.c_str());
    if (!validator_.empty()) {
      connection->extra_headers.reset(
          curl_slist_append(nullptr, ("If-Range: " + validator_).c_str()));
      curl_easy_setopt(handle, CURLOPT_HTTPHEADER, connection->extra_headers.get());
    }
  }
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &Transfer::on_write);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, connection.get());
  curl_easy_setopt(handle, CURLOPT_PRIVATE, connection.get());
  curl_multi_add_handle(multi_.get(), handle);
  connections_.push_back(std::move(connection));
}

void Transfer::read_ends() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    Connection* connection = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &connection);
    ended(*connection, code);
  }
}

void Transfer::drop(const Connection& connection) {
  if (!restart_) plan_.give_back(connection.piece);
  curl_multi_remove_handle(multi_.get(), connection.handle.get());
  std::erase_if(connections_, [&](const auto& one) { return one.get() == &connection; });
}

void Transfer::drop_all() {
  while (!connections_.empty()) drop(*connections_.back());
}

// Drops silent connections. Each is tried again a few times; a silent server ends the transfer.
void Transfer::drop_silent_ones() {
  const Clock::time_point now = Clock::now();
  const auto patience = std::chrono::seconds(limits_.timeout_seconds);
  if (now - heard_ >= patience && now >= not_before_) {
    return end_with(Status(Code::kDeadlineExceeded, "no byte of " + remote_.url + " has come for " +
                                                        std::to_string(limits_.timeout_seconds) +
                                                        " s (--timeout); " + what_again_does()));
  }
  for (std::size_t i = connections_.size(); i-- > 0;) {
    if (now - connections_[i]->heard < std::max<Clock::duration>(patience / 3, 1s)) continue;
    drop(*connections_[i]);
    failed("the server is silent", Code::kDeadlineExceeded);
  }
}

// Begins again, knowing what was learnt about the server.
void Transfer::restart() {
  drop_all();
  restart_ = false;
  plan_ = RangePlan(kUnknownBytes);
  bytes_known_ = answered_ = dirty_ = false;
  connections_max_ = 1;
  validator_.clear();
  if (Status cleared = part_.clear(); !cleared) end_with(std::move(cleared));
}

void Transfer::end_with(Status status) {
  if (!ending_) ending_ = std::move(status);
}

std::string Transfer::what_again_does() const {
  return whole_ ? "the server does not support ranges, so the same command begins anew: try again "
                  "over a "
                  "better connection, or from another server"
                : "the same command continues from where it ended";
}

// Called when a connection has failed and is dropped. It is tried again a little later; if that has
// not helped for some time, the transfer ends.
void Transfer::failed(const std::string& how, Code code, long pause_seconds) {
  ++failures_;
  ++fruitless_;
  fruit_bytes_ = 0;
  if (ending_) return;
  // If there are other connections, they continue: there are as many as the server takes.
  if (!connections_.empty()) {
    connections_max_ = connections_.size();
    return;
  }
  if (fruitless_ > (answered_ || plan_.received() > 0 ? kFruitlessMax : kUnansweredMax) ||
      failures_ > kFailuresMax) {
    return end_with(
        Status(code, "fetching " + remote_.url + " was cut (" + how + "); " + what_again_does()));
  }
  std::chrono::milliseconds pause =
      std::min<std::chrono::milliseconds>(kFirstPause * (1 << (fruitless_ - 1)), kLongestPause);
  if (pause_seconds > 0) {
    pause = std::chrono::seconds(std::min(pause_seconds, kPauseSecondsMax));
    heard_ = Clock::now() + pause;  // the server asked for this pause
  }
  not_before_ = Clock::now() + pause;
  say(remote_.name + ": " + how + "; trying again after " +
      format_number(std::chrono::duration<double>(pause).count(), 2) + " s");
}

std::size_t Transfer::on_write(char* data, std::size_t, std::size_t bytes, void* context) {
  auto* connection = static_cast<Connection*>(context);
  return connection->transfer->on_bytes(*connection,
                                        std::as_bytes(std::span<const char>(data, bytes)));
}

Result<FetchedFile> fetch_from_http(const RemoteFile& file, const std::filesystem::path& folder,
                                    const FetchLimits& limits) {
  TROUPE_ASSIGN_OR_RETURN(PartFile part, PartFile::open(part_path(folder, file.url)));
  return Transfer(file, std::move(part), limits).run();
}

}  // namespace troupe::tools
