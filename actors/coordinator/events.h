#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <string>

// What has happened to a cluster, for the people who run it: the last events with their times. One
// thread at a time.

namespace troupe::actors {

enum class EventKind : std::uint8_t {
  kStarted,      // the head
  kJoined,       // a node, for the first time or again
  kLeft,         // a node said that it goes, or was revoked
  kLost,         // a node died, or its connection closed
  kUnreachable,  // the head cannot dial a node: it gets no layers
  kReachable,    // it can again
  kDrained,      // a node gets no new layers, and those that it held move
  kUndrained,    // a node gets layers again
  kPlaced,       // a model's layers were placed anew
  kWaiting,      // a model waits for a node
};
const char* event_name(EventKind kind);

struct Event {
  std::int64_t unix_ms = 0;
  std::string kind;     // event_name()
  std::string subject;  // the name of a node or model
  std::string text;     // the reason; may be empty
};

class EventLog {
 public:
  static constexpr std::size_t kKept = 500;

  // Keeps events in this process alone.
  EventLog() = default;
  // Keeps events also in the file, one JSON object on each line, and reads them from it; lines that
  // cannot be read are passed over. If the file cannot be written, the log says so, once.
  explicit EventLog(std::filesystem::path file);

  void add(EventKind kind, const std::string& subject, const std::string& text);
  // Returns the last kKept events, oldest first.
  const std::deque<Event>& all() const { return events_; }

 private:
  void append(const Event& event);
  void write_all();

  std::filesystem::path file_;
  std::deque<Event> events_;
  std::size_t lines_ = 0;  // of the file
  bool told_ = false;
};

}  // namespace troupe::actors
