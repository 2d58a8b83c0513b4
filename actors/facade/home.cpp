#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <nlohmann/json.hpp>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/actors/coordinator/admission.h>
#include <troupe/actors/facade/home.h>
#include <troupe/actors/node/membership.h>
#include <troupe/actors/troupe/daemon.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/net/transport.h>
#include <troupe/runtime/text/bounded_json.h>

namespace troupe {
namespace actors {
namespace {

constexpr std::size_t kRunFileBytesMax = 65536;

std::filesystem::path run_file(const std::string& home) {
  return std::filesystem::path(home) / "daemon.json";
}
std::filesystem::path pid_file(const std::string& home) {
  return std::filesystem::path(home) / "daemon.pid";
}
std::filesystem::path lock_file(const std::string& home) {
  return std::filesystem::path(home) / "daemon.lock";
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

Status prepare_home(const std::string& home) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(home).parent_path(), error);
  if (::mkdir(home.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status(Code::kPermissionDenied, "cannot make the home folder " + home + ": " +
                                               std::strerror(errno) +
                                               "; choose another with --home or TROUPE_HOME");
  }
  struct stat info {};
  if (::stat(home.c_str(), &info) == 0 && info.st_uid != ::geteuid()) {
    return Status(Code::kPermissionDenied,
                  "the home folder " + home + " belongs to the user with the number " +
                      std::to_string(info.st_uid) +
                      ", who could read its keys; run as that user, or choose another with --home "
                      "or TROUPE_HOME");
  }
  return Status::ok();
}

Result<FileLock> lock_home(const std::string& home) {
  TROUPE_RETURN_IF_ERROR(prepare_home(home));
  auto lock = FileLock::try_acquire(lock_file(home));
  // A command that checks whether a daemon runs holds the lock for a moment.
  for (int i = 0; i < 20 && lock.code() == Code::kAlreadyExists; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    lock = FileLock::try_acquire(lock_file(home));
  }
  if (lock.code() != Code::kAlreadyExists) return lock;
  return Status(Code::kAlreadyExists, "a daemon runs on the home " + home +
                                          " already; stop it with 'troupe stop', or give this "
                                          "one another --home");
}

Status write_run_files(const std::string& home, const RunFile& run) {
  const nlohmann::json object = {{"pid", run.pid},
                                 {"role", run.role},
                                 {"name", run.name},
                                 {"address", run.address},
                                 {"head", run.head}};
  TROUPE_RETURN_IF_ERROR(write_file_atomically(run_file(home), object.dump() + "\n", 0600));
  return write_file_atomically(pid_file(home), std::to_string(run.pid) + "\n", 0644);
}

Result<RunFile> read_run_file(const std::string& home) {
  const Status none(Code::kNotFound,
                    "no daemon runs on the home " + home + " (another home: --home DIR)");
  std::error_code error;
  if (!std::filesystem::exists(run_file(home), error)) return none;
  // If the lock can be taken, no process holds it: the file was left behind.
  if (FileLock::try_acquire(lock_file(home))) return none;
  const auto text = read_file(run_file(home), kRunFileBytesMax);
  if (!text) return none;
  const auto object = parse_json(*text, run_file(home).string(), {.bytes_max = kRunFileBytesMax});
  if (!object || !object->is_object()) return none;
  RunFile run;
  const auto pid = object->find("pid");
  if (pid != object->end() && pid->is_number_integer()) run.pid = pid->get<pid_t>();
  run.role = text_of(*object, "role");
  run.name = text_of(*object, "name");
  run.address = text_of(*object, "address");
  run.head = text_of(*object, "head");
  return run;
}

void remove_run_files(const std::string& home) {
  std::error_code error;
  std::filesystem::remove(run_file(home), error);
  std::filesystem::remove(pid_file(home), error);
}

Result<net::KeyPair> client_identity(const std::string& home) {
  const std::filesystem::path keys = std::filesystem::path(home) / "keys";
  const std::filesystem::path file = keys / "client.key";
  std::error_code error;
  const bool there = std::filesystem::exists(file, error);
  if (!there) {
    const Status made = prepare_home(home);
    if (made) ::mkdir(keys.c_str(), 0700);
  }
  auto identity = net::load_or_make_key_pair(file);
  if (identity || there) return identity;
  log(LogLevel::kWarning,
      "cannot store an identity for this client, so its jobs and answers belong to it only while "
      "it "
      "runs: " +
          identity.message());
  return net::make_key_pair();
}

}  // namespace actors

using namespace std::chrono_literals;

namespace {

// A daemon that was killed is started again within a second by its parent or by systemd.
constexpr std::chrono::milliseconds kReturnPatience = 3s;
// A head reads its journal before it answers, and a node waits for its head.
constexpr std::chrono::milliseconds kStartPatience = 15s;

}  // namespace

std::string resolve_home(const std::string& home) {
  if (!home.empty()) return home;
  if (const char* set = std::getenv("TROUPE_HOME"); set != nullptr && *set != '\0') return set;
  const char* user = std::getenv("HOME");
  if (user != nullptr && *user != '\0') return std::string(user) + "/.troupe";
  // A service without HOME has the folder that its user has.
  const passwd* entry = ::getpwuid(::geteuid());
  const bool known = entry != nullptr && entry->pw_dir != nullptr && *entry->pw_dir != '\0';
  return std::string(known ? entry->pw_dir : "") + "/.troupe";
}

Result<std::string> daemon_address(const std::string& home) {
  TROUPE_ASSIGN_OR_RETURN(const actors::RunFile run, actors::read_run_file(resolve_home(home)));
  return run.head;
}

Result<std::string> await_daemon_address(const std::string& given_home) {
  const std::string home = resolve_home(given_home);
  std::error_code error;
  const auto began = std::chrono::steady_clock::now();
  bool told = false;
  while (true) {
    Result<std::string> address = daemon_address(home);
    if (address.is_ok() || address.code() != Code::kNotFound) return address;
    const bool file = std::filesystem::exists(actors::run_file(home), error);
    const bool locked =
        std::filesystem::exists(actors::lock_file(home), error) &&
        FileLock::try_acquire(actors::lock_file(home)).code() == Code::kAlreadyExists;
    // A daemon that ends well removes the file; one that starts writes it when it has joined.
    const auto patience = locked ? kStartPatience : file ? kReturnPatience : 0ms;
    if (std::chrono::steady_clock::now() - began >= patience) return address;
    if (!std::exchange(told, true)) {
      log(LogLevel::kWarning, "the daemon of the home " + home +
                                  (locked ? " is starting" : " was killed and may come back") +
                                  ": waiting for it");
    }
    std::this_thread::sleep_for(50ms);
  }
}

Result<std::string> joined_head(const std::string& home) {
  TROUPE_ASSIGN_OR_RETURN(const auto member, actors::load_membership(resolve_home(home)));
  return member ? net::to_string({member->head_host, member->head_port}) : std::string();
}

Status stop_daemon(const std::string& home_option) {
  const std::string home = resolve_home(home_option);
  TROUPE_ASSIGN_OR_RETURN(const actors::RunFile run, actors::read_run_file(home));
  if (run.pid <= 0 || ::kill(run.pid, SIGTERM) != 0) {
    return Status(Code::kPermissionDenied,
                  "cannot signal the daemon with process id " + std::to_string(run.pid));
  }
  for (int i = 0; i < 100; ++i) {
    if (FileLock::try_acquire(actors::lock_file(home))) return Status::ok();
    std::this_thread::sleep_for(50ms);
  }
  return Status(Code::kDeadlineExceeded, "the daemon with process id " + std::to_string(run.pid) +
                                             " did not end within 5 s; 'kill -9' ends it");
}

}  // namespace troupe
