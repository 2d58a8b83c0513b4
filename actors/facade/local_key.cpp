#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/actors/facade/local_key.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/private_file.h>

namespace troupe::actors {
namespace {

constexpr std::chrono::seconds kLookEvery{2};
constexpr std::size_t kFileBytesMax = 4096;

std::filesystem::path runtime_folder() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime != '\0') return std::filesystem::path(runtime) / "troupe";
  return "/tmp/troupe-" + std::to_string(::getuid());
}

// Checks that the run-time folder is our own, because it may lie where every user can make folders.
Status check_runtime_folder(const std::filesystem::path& folder) {
  struct stat info {};
  if (::lstat(folder.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == ::getuid() &&
      (info.st_mode & 077) == 0) {
    return Status::ok();
  }
  return Status(Code::kPermissionDenied,
                folder.string() +
                    " must be a folder of yours that nobody else may enter; run 'chmod 700 " +
                    folder.string() + "', or remove it if it is not yours");
}

bool is_runtime_folder(const std::filesystem::path& folder) { return folder == runtime_folder(); }

Status make_folder(const std::filesystem::path& folder) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status(Code::kPermissionDenied,
                  "cannot make " + folder.string() + ": " + std::strerror(errno));
  }
  return is_runtime_folder(folder) ? check_runtime_folder(folder) : Status::ok();
}

Status write_key(const std::filesystem::path& path, const std::string& text) {
  TROUPE_RETURN_IF_ERROR(make_folder(path.parent_path()));
  return write_file_atomically(path, text, 0600);
}

Result<std::string> read_key(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.parent_path();
  if (is_runtime_folder(folder)) TROUPE_RETURN_IF_ERROR(check_runtime_folder(folder));
  return read_private_file(path, kFileBytesMax);
}

}  // namespace

std::vector<std::filesystem::path> local_key_places(const std::string& home, std::uint16_t port) {
  const std::string name = std::to_string(port) + ".client";
  return {std::filesystem::path(home) / "keys" / name, runtime_folder() / name};
}

Result<std::string> find_local_token(const std::string& home, std::uint16_t port) {
  std::optional<std::pair<std::filesystem::file_time_type, std::string>> newest;
  std::string looked_at;
  for (const std::filesystem::path& path : local_key_places(home, port)) {
    std::error_code error;
    const auto written = std::filesystem::last_write_time(path, error);
    const auto content = read_key(path);
    looked_at += (looked_at.empty() ? "" : ", ") + path.string() + " (" +
                 (error ? error.message() : content.message()) + ")";
    if (!content || error || (newest && newest->first >= written)) continue;
    newest.emplace(written, content->substr(0, content->rfind('@')));
  }
  if (newest) return std::move(newest->second);
  return Status(Code::kUnavailable, "no key for the head on port " + std::to_string(port) +
                                        " of this machine was found; looked for " + looked_at);
}

LocalKey::LocalKey(const std::string& home, std::uint16_t port, std::string text)
    : places_(local_key_places(home, port)), text_(std::move(text)) {
  // The file of a run that was killed must not be mistaken for this run's.
  for (const std::filesystem::path& path : places_) {
    std::error_code error;
    std::filesystem::remove(path, error);
  }
}

Result<std::unique_ptr<LocalKey>> LocalKey::publish(const std::string& home, std::uint16_t port,
                                                    std::string text) {
  std::unique_ptr<LocalKey> key(new LocalKey(home, port, std::move(text)));
  TROUPE_RETURN_IF_ERROR(key->write_where_missing());
  // Signals belong to the program that embeds us.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  key->thread_ = std::thread([keeper = key.get()] { keeper->keep(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return key;
}

LocalKey::~LocalKey() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  stop_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (const std::filesystem::path& path : places_) {
    const auto content = read_file(path, kFileBytesMax);
    std::error_code error;
    // Another head of this user, on another address, may have the same port.
    if (content && *content == text_) std::filesystem::remove(path, error);
  }
}

Status LocalKey::write_where_missing() {
  Status in_home;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    std::error_code error;
    if (std::filesystem::exists(places_[i], error)) continue;
    const Status written = write_key(places_[i], text_);
    if (written) continue;
    if (i == 0) in_home = written;
    if (i != 0 && !std::exchange(warned_, true)) {
      log(LogLevel::kWarning,
          "programs of this user must name the home of this head (--home): " + written.message());
    }
  }
  return in_home;
}

void LocalKey::keep() {
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, kLookEvery, [this] { return stopped_; })) {
    lock.unlock();
    (void)write_where_missing();
    lock.lock();
  }
}

}  // namespace troupe::actors
