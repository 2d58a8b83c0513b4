#pragma once

#include <string>

#include <sys/types.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// The files by which programs of one user on this machine find a daemon: its home, and the run
// files in it (local_key.h describes the key). The functions of the public door that concern homes
// (troupe/daemon.h) are defined here, too. Any thread.

namespace troupe::actors {

// Makes HOME (0700) if it is absent.
Status prepare_home(const std::string& home);
// Makes HOME and takes the lock that a daemon holds for its lifetime.
//   Errors: kAlreadyExists (a daemon runs on this home), kPermissionDenied.
Result<FileLock> lock_home(const std::string& home);

// HOME/daemon.json, in which a running daemon describes itself. HOME/daemon.pid has only the
// process id, for init systems.
struct RunFile {
  pid_t pid = 0;
  std::string role, name;
  std::string address;  // the address that others dial, HOST:PORT
  std::string head;     // its head's address
};
Status write_run_files(const std::string& home, const RunFile& run);
// Errors: kNotFound (no daemon of this home runs).
Result<RunFile> read_run_file(const std::string& home);
void remove_run_files(const std::string& home);

// Returns the key by which clusters know this home's clients: what the clients make belongs to it.
// It is in HOME/keys/client.key, mode 0600, and is made if it is absent. If the home cannot be
// written, the key lasts as long as the process, and a warning is logged.
//   Errors: those of load_key_pair.
Result<net::KeyPair> client_identity(const std::string& home);

}  // namespace troupe::actors
