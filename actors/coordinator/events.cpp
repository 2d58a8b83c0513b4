#include <algorithm>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <troupe/actors/coordinator/events.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::actors {
namespace {

using nlohmann::json;

constexpr std::size_t kEventsBytesMax = 8u << 20;
constexpr std::size_t kTextBytesMax = 500;
// The file grows to this number of lines before the old ones are deleted.
constexpr std::size_t kLinesMax = 2 * EventLog::kKept;

std::string line_of(const Event& event) {
  return json{{"unix_ms", event.unix_ms},
              {"event", event.kind},
              {"subject", event.subject},
              {"text", event.text}}
             .dump(-1, ' ', false, json::error_handler_t::replace) +
         "\n";
}

// True if the line is an event, as line_of() writes it.
bool read_line(std::string_view line, Event* event) {
  const auto parsed = parse_json(line, "an event", {4096, 2});
  if (!parsed || !parsed->is_object()) return false;
  try {
    event->unix_ms = parsed->at("unix_ms").get<std::int64_t>();
    event->kind = parsed->at("event").get<std::string>();
    event->subject = parsed->at("subject").get<std::string>();
    event->text = parsed->at("text").get<std::string>();
  } catch (const json::exception&) {
    return false;
  }
  return true;
}

}  // namespace

const char* event_name(EventKind kind) {
  switch (kind) {
    case EventKind::kStarted:
      return "started";
    case EventKind::kJoined:
      return "joined";
    case EventKind::kLeft:
      return "left";
    case EventKind::kLost:
      return "lost";
    case EventKind::kUnreachable:
      return "unreachable";
    case EventKind::kReachable:
      return "reachable";
    case EventKind::kDrained:
      return "drained";
    case EventKind::kUndrained:
      return "undrained";
    case EventKind::kPlaced:
      return "placed";
    case EventKind::kWaiting:
      return "waiting";
  }
  return "unknown";
}

EventLog::EventLog(std::filesystem::path file) : file_(std::move(file)) {
  const auto text = read_file(file_, kEventsBytesMax);
  if (!text) return;  // there is no file yet
  const std::string_view all = *text;
  for (std::size_t at = 0; at < all.size(); ++lines_) {
    const std::size_t end = std::min(all.find('\n', at), all.size());
    Event event;
    if (read_line(all.substr(at, end - at), &event)) events_.push_back(std::move(event));
    if (events_.size() > kKept) events_.pop_front();
    at = end + 1;
  }
}

void EventLog::add(EventKind kind, const std::string& subject, const std::string& text) {
  Event event{unix_now_ms(), event_name(kind), subject, text};
  if (event.text.size() > kTextBytesMax) {
    event.text.resize(kTextBytesMax);
    event.text.resize(utf8_valid_prefix(event.text));
  }
  events_.push_back(event);
  if (events_.size() > kKept) events_.pop_front();
  if (!file_.empty()) append(event);
}

void EventLog::append(const Event& event) {
  if (lines_ >= kLinesMax) return write_all();
  const std::string line = line_of(event);
  const int fd =
      ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool written =
      fd >= 0 && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  if (fd >= 0) ::close(fd);
  ++lines_;
  if (written || std::exchange(told_, true)) return;
  log(LogLevel::kWarning, "cannot keep events in " + file_.string() + "; is its disk full?");
}

void EventLog::write_all() {
  std::string text;
  for (const Event& event : events_) text += line_of(event);
  const Status written = write_file_atomically(file_, text, 0600);
  if (written) {
    lines_ = events_.size();
  } else if (!std::exchange(told_, true)) {
    log(LogLevel::kWarning, "cannot keep events: " + written.message());
  }
}

}  // namespace troupe::actors
