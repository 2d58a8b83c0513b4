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

// A handler can reach only static objects.
std::atomic<int> signal_count{0};
std::atomic<bool> asked_to_end_flag{false};
std::atomic<void (*)()> also_call{nullptr};
std::atomic<void (*)()> hang_up_call{nullptr};
int event_descriptor = -1;

void on_signal(int number) {
  const int saved = errno;
  if (number == SIGTERM || number == SIGHUP) asked_to_end_flag = true;
  if (signal_count.fetch_add(1) + 1 >= 3) ::_exit(kExitInterrupted);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(event_descriptor, &one, sizeof one);
  if (auto* call = also_call.load()) call();
  errno = saved;
}

void on_hang_up(int number) {
  const int saved = errno;
  if (auto* call = hang_up_call.load()) {
    call();
  } else {
    on_signal(number);
  }
  errno = saved;
}

bool is_ignored(int number) {
  struct sigaction action {};
  return ::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

void handle(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(number, &action, nullptr);
}

}  // namespace

SignalWatch::SignalWatch(void (*also)()) {
  if (event_descriptor < 0) event_descriptor = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  signal_count = 0;
  asked_to_end_flag = false;
  also_call = also;
  handle(SIGINT, on_signal);
  handle(SIGTERM, on_signal);
}

SignalWatch::~SignalWatch() {
  handle(SIGINT, SIG_DFL);
  handle(SIGTERM, SIG_DFL);
  if (!is_ignored(SIGHUP)) handle(SIGHUP, SIG_DFL);
  also_call = nullptr;
}

void SignalWatch::take_hang_up(void (*call)()) {
  hang_up_call = call;
  if (!is_ignored(SIGHUP)) handle(SIGHUP, on_hang_up);
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
