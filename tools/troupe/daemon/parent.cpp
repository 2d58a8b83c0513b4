#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/tools/troupe/daemon/parent.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPause{100};  // for each crash of the last minute

// What the daemon tells its parent, in shared memory.
enum class Stage : int { kStarting, kReady, kStopping };
std::atomic<Stage>* shared_stage = nullptr;

constexpr int kPassedOn[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

std::string environment(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr ? text : "";
}

const char* signal_name(int number) {
  switch (number) {
    case SIGABRT:
      return "SIGABRT";
    case SIGSEGV:
      return "SIGSEGV";
    case SIGBUS:
      return "SIGBUS";
    default:
      return "a signal";
  }
}

sigset_t watched_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : kPassedOn) ::sigaddset(&set, number);
  for (const int number : {SIGCHLD, SIGTSTP, SIGCONT}) ::sigaddset(&set, number);
  return set;
}

void set_stage(Stage stage) noexcept {
  if (shared_stage != nullptr) shared_stage->store(stage);
}

// Ends this process as the daemon was ended, so that a process that waits for it sees the same.
[[noreturn]] void end_by(int number) {
  std::fflush(nullptr);
  // The daemon's memory is worth a core file; the parent's is not.
  ::prctl(PR_SET_DUMPABLE, 0);
  std::signal(number, SIG_DFL);
  sigset_t only;
  ::sigemptyset(&only);
  ::sigaddset(&only, number);
  ::kill(::getpid(), number);
  ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
  ::_exit(128 + number);
}

class Parent {
 public:
  Parent() : watched_(watched_signals()) {
    // If SIGCHLD were ignored, which is inherited, nobody would learn how the daemon ended.
    std::signal(SIGCHLD, SIG_DFL);
    ::prctl(PR_GET_NAME, name_);
    ::sigprocmask(SIG_BLOCK, &watched_, &before_);
  }

  // Returns true in the daemon.
  Result<bool> fork_daemon() {
    const pid_t parent = ::getpid();
    std::fflush(nullptr);
    daemon_ = ::fork();
    if (daemon_ < 0) {
      ::sigprocmask(SIG_SETMASK, &before_, nullptr);
      return Status(Code::kUnavailable, std::string("cannot fork: ") + std::strerror(errno));
    }
    if (daemon_ > 0) {
      // The parent takes another name, so that `killall troupe` ends the daemon.
      ::prctl(PR_SET_NAME, "troupe-parent");
      return false;
    }
    ::prctl(PR_SET_NAME, name_);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(kExitFailure);  // the parent died before prctl took effect
    // Ctrl-C reaches the parent alone, which passes it on: the daemon counts each signal once.
    ::setpgid(0, 0);
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
    return true;
  }

  // Waits for the daemon's end, and returns its status as waitpid gives it.
  int wait_for_end() {
    int status = 0;
    for (;;) {
      const pid_t ended = ::waitpid(daemon_, &status, WNOHANG);
      if (ended == daemon_) return status;
      if (ended < 0 && errno != EINTR) return 0;
      const int number = ::sigwaitinfo(&watched_, nullptr);
      if (number > 0 && number != SIGCHLD) pass_on(number);
    }
  }

  // Waits before the daemon is started again. Returns false if the process was asked to end.
  bool pause(milliseconds time) {
    const auto until = RestartBudget::Clock::now() + time;
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::nanoseconds>(until - RestartBudget::Clock::now());
      if (left.count() <= 0) return true;
      const timespec most{static_cast<time_t>(left.count() / 1'000'000'000),
                          static_cast<long>(left.count() % 1'000'000'000)};
      const int number = ::sigtimedwait(&watched_, nullptr, &most);
      if (number == SIGTERM || number == SIGINT || number == SIGQUIT) return false;
    }
  }

 private:
  void pass_on(int number) const {
    if (number == SIGTSTP) {
      ::kill(daemon_, SIGSTOP);
      // This process stops here until SIGCONT comes. That signal is then pending, and is the next
      // to be passed on.
      ::kill(::getpid(), SIGSTOP);
      return;
    }
    ::kill(daemon_, number);
  }

  sigset_t watched_, before_;
  char name_[17] = "";  // the name that this process had at first, and that the daemon has
  pid_t daemon_ = -1;
};

}  // namespace

std::optional<milliseconds> RestartBudget::crashed(Clock::time_point now) {
  crashes_[next_] = now;
  next_ = (next_ + 1) % crashes_.size();
  int recent = 0;
  for (const auto& crash : crashes_) recent += crash && now - *crash < kWithin;
  if (recent >= kCrashesMax) return std::nullopt;
  return recent * kPause;
}

bool has_service_manager() {
  if (!environment("NOTIFY_SOCKET").empty()) return true;
  if (environment("INVOCATION_ID").empty()) return false;
  // A desktop's shells may inherit INVOCATION_ID from the service that opened the terminal.
  const std::string started = environment("SYSTEMD_EXEC_PID");
  return started.empty() || started == std::to_string(::getpid());
}

bool is_crash(int signal) { return signal == SIGABRT || signal == SIGSEGV || signal == SIGBUS; }

Result<Adopted> adopt(std::optional<Background>& background) {
  void* const page = ::mmap(nullptr, sizeof(std::atomic<Stage>), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    return Status(Code::kUnavailable,
                  std::string("cannot share memory with the daemon: ") + std::strerror(errno));
  }
  shared_stage = new (page) std::atomic<Stage>(Stage::kStarting);
  Parent parent;
  RestartBudget budget;
  bool again = false;
  for (;; again = true) {
    set_stage(Stage::kStarting);
    TROUPE_ASSIGN_OR_RETURN(const bool is_daemon, parent.fork_daemon());
    if (is_daemon) return Adopted{std::nullopt, again};
    // The closing of the pipe says that the daemon is gone, so only the daemon may have its end; a
    // later daemon has nobody to report to.
    if (background) background->leave_report();
    const int status = parent.wait_for_end();
    follow_log();
    if (!WIFSIGNALED(status)) return Adopted{WEXITSTATUS(status), false};
    const int number = WTERMSIG(status);
    const Stage stage = shared_stage->load();
    const bool restarts =
        is_crash(number) && stage != Stage::kStopping && (again || stage == Stage::kReady);
    if (!restarts) end_by(number);
    const auto pause = budget.crashed(RestartBudget::Clock::now());
    if (!pause) {
      say("the daemon was ended by " + std::string(signal_name(number)) + ", for the " +
          std::to_string(RestartBudget::kCrashesMax) +
          "th time within a minute: giving up. Its last lines above may say why; please report "
          "them");
      end_by(number);
    }
    say("the daemon was ended by " + std::string(signal_name(number)) +
        ": starting it again; answers and jobs go on");
    if (!parent.pause(*pause)) return Adopted{kExitOk, false};
  }
}

void tell_parent_ready() noexcept { set_stage(Stage::kReady); }
void tell_parent_stopping() noexcept { set_stage(Stage::kStopping); }

}  // namespace troupe::tools
