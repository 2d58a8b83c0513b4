#include <algorithm>
#include <utility>

#include <troupe/actors/http/stored_stream.h>
#include <troupe/actors/http/stream_keeper.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::http {
namespace {

constexpr std::chrono::milliseconds kWriteEvery{200};
constexpr std::chrono::milliseconds kTryAgain{5000};

}  // namespace

StreamKeeper::StreamKeeper(std::unique_ptr<actors::StreamFile> file, int scrub_ms,
                           std::function<void(const std::vector<std::string>& ids)> saved)
    : file_(std::move(file)), scrub_every_(scrub_ms), saved_(std::move(saved)) {
  scrub_at_ = Clock::now() + scrub_every_;
  if (file_) thread_ = std::thread([this] { run(); });
}

StreamKeeper::~StreamKeeper() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StreamKeeper::begin(actors::StoredStream stream) {
  if (!file_) return saved_({stream.id});
  {
    const std::lock_guard lock(mutex_);
    news_.begun.push_back(std::move(stream));
  }
  changed_.notify_all();
}

void StreamKeeper::say(const std::string& id, const AnswerEvent& event) {
  if (!file_) return;
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = !has_news();
    said_[id].push_back(event);
  }
  if (first) changed_.notify_all();
}

void StreamKeeper::rest(const std::string& id, std::int64_t rested_ms) {
  if (!file_) return;
  {
    const std::lock_guard lock(mutex_);
    news_.rests.emplace_back(id, rested_ms);
  }
  changed_.notify_all();
}

void StreamKeeper::forget(const std::string& id) {
  if (!file_) return;
  {
    const std::lock_guard lock(mutex_);
    // A stream that was never written need not be deleted.
    std::erase_if(news_.begun, [&](const auto& stream) { return stream.id == id; });
    said_.erase(id);
    news_.forgotten.push_back(id);
  }
  changed_.notify_all();
}

bool StreamKeeper::is_due(Clock::time_point now) const {
  if (ending_) return true;
  if (now >= write_at_ && has_news()) return true;
  return !news_.begun.empty() && (!failed_ || now >= write_at_);
}

void StreamKeeper::write(std::unique_lock<std::mutex>& lock) {
  actors::StreamNews news = std::exchange(news_, {});
  const auto said = std::exchange(said_, {});
  lock.unlock();
  for (const auto& [id, events] : said) news.said.emplace_back(id, encode_events(events));
  const Status written = file_->write(news);
  std::vector<std::string> begun;
  for (const actors::StoredStream& stream : news.begun) begun.push_back(stream.id);
  if (!begun.empty()) saved_(begun);
  lock.lock();
  if (!written && !failed_) {
    log(LogLevel::kError, "streams cannot be taken up after a restart: " + written.message());
  }
  failed_ = !written;
  write_at_ = Clock::now() + (failed_ ? kTryAgain : kWriteEvery);
  if (written) return;
  // A stream that is to be forgotten must not stay in the file.
  news_.forgotten.insert(news_.forgotten.begin(), news.forgotten.begin(), news.forgotten.end());
}

void StreamKeeper::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto now = Clock::now();
    const bool last = ending_;
    if (is_due(now) && (has_news() || !news_.begun.empty())) write(lock);
    if (last || Clock::now() >= scrub_at_) {
      scrub_at_ = Clock::now() + scrub_every_;
      lock.unlock();
      const Status scrubbed = file_->scrub();
      if (!scrubbed) log(LogLevel::kWarning, scrubbed.message());
      lock.lock();
    }
    if (last) return;
    const auto until = has_news() ? std::min(write_at_, scrub_at_) : scrub_at_;
    changed_.wait_until(lock, until, [&] { return is_due(Clock::now()); });
  }
}

}  // namespace troupe::http
