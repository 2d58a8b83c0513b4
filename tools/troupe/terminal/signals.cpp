#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>

#include <sys/eventfd.h>
#include <unistd.h>

#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/signals.h>

namespace troupe::tools {
namespace {

// A handler can reach nothing but statics.
std::atomic<int> signal_count{0};
std::atomic<bool> asked_to_end_flag{false};
std::atomic<void (*)()> also_call{nullptr};
int event_descriptor = -1;

void on_signal(int number) {
  const int saved = errno;
  if (number == SIGTERM) asked_to_end_flag = true;
  if (signal_count.fetch_add(1) + 1 >= 3) ::_exit(kExitInterrupted);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(event_descriptor, &one, sizeof one);
  if (auto* call = also_call.load()) call();
  errno = saved;
}

void handle_with(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

SignalWatch::SignalWatch(void (*also)()) {
  if (event_descriptor < 0) event_descriptor = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  signal_count = 0;
  asked_to_end_flag = false;
  also_call = also;
  handle_with(on_signal);
}

SignalWatch::~SignalWatch() {
  handle_with(SIG_DFL);
  also_call = nullptr;
}

int SignalWatch::count() const { return signal_count.load(); }

void SignalWatch::clear() {
  signal_count = 0;
  std::uint64_t value = 0;
  [[maybe_unused]] const ssize_t n = ::read(event_descriptor, &value, sizeof value);
}

bool SignalWatch::asked_to_end() const { return asked_to_end_flag.load(); }

int SignalWatch::descriptor() const { return event_descriptor; }

}  // namespace troupe::tools
