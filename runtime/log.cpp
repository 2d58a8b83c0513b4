#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include <troupe/runtime/log.h>

namespace troupe {
namespace {

struct State {
  std::mutex mutex;
  std::shared_ptr<const LogSink> sink;
  std::atomic<int> least{100};  // above every level: no message is built while no sink is set
};

State& state() {
  // This is leaked on purpose: threads that outlive main's statics may still log.
  static State* instance = new State;
  return *instance;
}

// Returns the number of bytes of the first character of `text` if it may be shown as it is,
// otherwise 0. It is as strict as utf8_char, which this file may not include, because control
// characters could hide in overlong forms.
std::size_t shown_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return byte(0) >= 0x20 && byte(0) != 0x7F ? 1 : 0;
  const std::size_t bytes = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : 2;
  if (byte(0) < 0xC2 || byte(0) > 0xF4 || text.size() < bytes) return 0;
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  switch (byte(0)) {
    case 0xC2:  // U+0080 to U+009F steer terminals too
    case 0xE0:  // overlong
      return byte(1) >= 0xA0 ? bytes : 0;
    case 0xED:  // surrogates
      return byte(1) < 0xA0 ? bytes : 0;
    case 0xF0:  // overlong
      return byte(1) >= 0x90 ? bytes : 0;
    case 0xF4:  // past U+10FFFF
      return byte(1) < 0x90 ? bytes : 0;
    default:
      return bytes;
  }
}

std::string printable(std::string_view message) {
  static const char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t at = 0; at < message.size();) {
    if (text.size() >= kLogBytesMax) return text + "... (cut)";
    if (const std::size_t bytes = shown_bytes(message.substr(at))) {
      text += message.substr(at, bytes);
      at += bytes;
      continue;
    }
    const auto byte = static_cast<unsigned char>(message[at++]);
    text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

}  // namespace

void set_log_sink(LogSink sink, LogLevel least) {
  State& s = state();
  std::lock_guard lock(s.mutex);
  const bool silent = !sink;
  s.sink = silent ? nullptr : std::make_shared<const LogSink>(std::move(sink));
  s.least.store(silent ? 100 : static_cast<int>(least), std::memory_order_relaxed);
}

bool log_enabled(LogLevel level) {
  return static_cast<int>(level) >= state().least.load(std::memory_order_relaxed);
}

void log(LogLevel level, std::string_view message) {
  if (!log_enabled(level)) return;
  std::shared_ptr<const LogSink> sink;
  {
    std::lock_guard lock(state().mutex);
    sink = state().sink;
  }
  if (sink) (*sink)(level, printable(message));
}

}  // namespace troupe
