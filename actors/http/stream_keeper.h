#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <troupe/actors/http/gateway.h>
#include <troupe/actors/journal/stream_file.h>

// Writes what streams say to their file, on a thread of its own, so that the HTTP thread never
// waits for the disk. The news of all streams go into one transaction, at most five times a second;
// a stream that begins is written at once, together with others that begin meanwhile. Whatever was
// not written when the process is killed is computed again. Any thread may call.

namespace troupe::http {

class StreamKeeper {
 public:
  // `saved` is called on the keeper's thread with the ids of streams that have begun and are in the
  // file now (or cannot be: then a line in the log says so, and their answers go on). The log of
  // the file is emptied at most once every `scrub_ms`. Without a file nothing is written, and
  // streams are saved at once.
  StreamKeeper(std::unique_ptr<actors::StreamFile> file, int scrub_ms,
               std::function<void(const std::vector<std::string>& ids)> saved);
  ~StreamKeeper();  // writes what is still to be written
  bool has_file() const { return file_ != nullptr; }
  // Returns what an earlier process left in the file. Called before anything begins.
  Result<std::vector<actors::StoredStream>> load() { return file_->load(); }

  void begin(actors::StoredStream stream);
  // AnswerEvent::answer is the number of the choice.
  void say(const std::string& id, const AnswerEvent& event);
  // Records the Unix time since which nobody computes the stream; 0 if it is computed again.
  void rest(const std::string& id, std::int64_t rested_ms);
  void forget(const std::string& id);

 private:
  using Clock = std::chrono::steady_clock;
  bool has_news() const {
    return !said_.empty() || !news_.rests.empty() || !news_.forgotten.empty();
  }
  bool is_due(Clock::time_point now) const;
  void run();
  // Takes what is to be written, with events that the caller's thread has encoded.
  void write(std::unique_lock<std::mutex>& lock);

  std::unique_ptr<actors::StreamFile> file_;
  const std::chrono::milliseconds scrub_every_;
  std::function<void(const std::vector<std::string>& ids)> saved_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // What the streams have said and the file lacks. The service holds as much in memory in any case.
  std::map<std::string, std::vector<AnswerEvent>> said_;
  actors::StreamNews news_;  // without `said`
  Clock::time_point write_at_{}, scrub_at_{};
  bool failed_ = false, ending_ = false;
  std::thread thread_;
};

}  // namespace troupe::http
