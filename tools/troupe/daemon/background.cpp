#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/tools/troupe/daemon/background.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

// A log that grew beyond this is moved aside; one older log is kept.
constexpr std::uintmax_t kLogBytesMax = 16u << 20;

// A signal handler can reach only static objects.
char log_path[4096] = "";

int open_for_append(const char* path) noexcept {
  return ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

Result<int> open_log(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (!error && size > kLogBytesMax) std::filesystem::rename(path, path + ".1", error);
  const int fd = open_for_append(path.c_str());
  if (fd >= 0) return fd;
  return Status(Code::kPermissionDenied, "cannot open the daemon's log " + path + ": " +
                                             std::strerror(errno) +
                                             "; change its owner, or choose another --home");
}

void open_log_anew(std::string_view said) noexcept {
  const int fd = open_for_append(log_path);
  if (fd < 0) return;
  ::dup2(fd, STDOUT_FILENO);
  ::dup2(fd, STDERR_FILENO);
  if (fd > STDERR_FILENO) ::close(fd);
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, said.data(), said.size());
}

std::string how_it_ended(pid_t child) {
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return "for a reason that is not known";
  if (WIFSIGNALED(status)) return "by signal " + std::to_string(WTERMSIG(status));
  return "with exit status " + std::to_string(WEXITSTATUS(status));
}

// Reads what the child writes until it closes the pipe.
std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(n));
  }
}

// Prints what the child reported, and returns the exit status.
int relay(int fd, pid_t child, const std::string& home) {
  const nlohmann::json said = nlohmann::json::parse(read_all(fd), nullptr, false);
  if (!said.is_object()) {
    say("the daemon ended " + how_it_ended(child) + " before it was ready; " + log_file(home) +
        " says more");
    return kExitFailure;
  }
  const std::string out = said.value("out", ""), err = said.value("err", "");
  std::fwrite(err.data(), 1, err.size(), stderr);
  std::fwrite(out.data(), 1, out.size(), stdout);
  std::fflush(stdout);
  return said.value("status", kExitFailure);
}

}  // namespace

std::string log_file(const std::string& home) { return home + "/log"; }

void reopen_log() noexcept { open_log_anew("troupe: the log was opened anew (SIGHUP)\n"); }

void follow_log() noexcept {
  if (has_log_file()) open_log_anew("");
}

bool has_log_file() noexcept { return log_path[0] != '\0'; }

void limit_log() noexcept {
  struct stat info {};
  if (!has_log_file() || ::fstat(STDERR_FILENO, &info) != 0 ||
      static_cast<std::uintmax_t>(info.st_size) <= kLogBytesMax) {
    return;
  }
  char older[sizeof log_path + 2];
  std::snprintf(older, sizeof older, "%s.1", log_path);
  if (::rename(log_path, older) != 0) return;
  open_log_anew(
      "troupe: the log was opened anew: it had grown, and what came before is in log.1\n");
}

Result<Background> Background::detach(const std::string& home) {
  TROUPE_ASSIGN_OR_RETURN(const int log, open_log(log_file(home)));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return Status(Code::kUnavailable, std::string("cannot make a pipe: ") + std::strerror(errno));
  }
  std::fflush(stdout);
  std::fflush(stderr);
  const pid_t child = ::fork();
  if (child < 0) {
    return Status(Code::kUnavailable, std::string("cannot fork: ") + std::strerror(errno));
  }
  Background background;
  if (child > 0) {
    ::close(ends[1]);
    ::close(log);
    background.parent_status_ = relay(ends[0], child, home);
    ::close(ends[0]);
    return background;
  }
  ::close(ends[0]);
  background.pipe_ = ends[1];
  ::setsid();
  // The folder in which it was started may be unmounted later.
  if (::chdir(home.c_str()) != 0) {
    return Status(Code::kPermissionDenied, "cannot enter " + home + ": " + std::strerror(errno));
  }
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  if (nothing > STDERR_FILENO) ::close(nothing);
  ::close(log);
  const std::string path = log_file(home);
  if (path.size() < sizeof log_path) std::memcpy(log_path, path.c_str(), path.size() + 1);
  return background;
}

Background::Background(Background&& other) noexcept
    : parent_status_(other.parent_status_), pipe_(other.pipe_) {
  other.pipe_ = -1;
}

Background::~Background() { leave_report(); }

void Background::leave_report() noexcept {
  if (pipe_ >= 0) ::close(pipe_);
  pipe_ = -1;
}

bool Background::report(const std::string& out, const std::string& err, int status) {
  if (pipe_ < 0) return true;
  const std::string text = nlohmann::json{{"out", out}, {"err", err}, {"status", status}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = ::write(pipe_, text.data() + written, text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    written += static_cast<std::size_t>(n);
  }
  ::close(pipe_);
  pipe_ = -1;
  return written == text.size();
}

}  // namespace troupe::tools
