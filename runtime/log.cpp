#include <atomic>
#include <memory>
#include <mutex>

#include <troupe/runtime/log.h>

namespace troupe {
namespace {

struct State {
  std::mutex mutex;
  std::shared_ptr<const LogSink> sink;
  std::atomic<int> least{100};  // above every level: nothing is built while no sink is set
};

State& state() {
  // Leaked on purpose: threads that outlive main's statics may still log.
  static State* instance = new State;
  return *instance;
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
  if (sink) (*sink)(level, message);
}

}  // namespace troupe
