#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <sys/types.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/status.h>

// The files by which programs of one user on this machine find a daemon: its home, the run files
// in it, and the key for local clients. What the public door says of homes (troupe/daemon.h) is
// defined here, too. Any thread.

namespace troupe::actors {

// Makes HOME (0700) if it is absent.
Status prepare_home(const std::string& home);
// Makes HOME and takes the lock that a daemon holds for its lifetime.
//   Errors: kAlreadyExists (a daemon runs on this home), kPermissionDenied.
Result<FileLock> lock_home(const std::string& home);

// HOME/daemon.json, what a running daemon says about itself. HOME/daemon.pid has only the process
// id, for init systems.
struct RunFile {
  pid_t pid = 0;
  std::string role, name;
  std::string address;  // where others dial it, HOST:PORT
  std::string head;     // its head's address
};
Status write_run_files(const std::string& home, const RunFile& run);
// kNotFound unless the daemon of this home runs.
Result<RunFile> read_run_file(const std::string& home);
void remove_run_files(const std::string& home);

// The file through which clients of the same user find the head that listens on `port`:
// $XDG_RUNTIME_DIR/troupe/PORT.client, or in a 0700 folder of the user's under /tmp. It holds
// TOKEN@HOST:PORT, mode 0600.
Result<std::filesystem::path> client_key_path(std::uint16_t port);

}  // namespace troupe::actors
