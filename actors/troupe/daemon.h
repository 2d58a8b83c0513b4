#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <troupe/runtime/net/transport.h>
#include <troupe/runtime/status.h>

// A daemon of a cluster inside this process, and the functions for the daemon of a home.

namespace troupe {

struct DaemonOptions {
  std::string home;  // if "", TROUPE_HOME, else ~/.troupe
  std::string name;  // if "", the host name (made unique by the head)
  bool head = false;
  bool work = true;                         // false for a head that holds no layers
  net::Endpoint listen{"127.0.0.1", 7700};  // control PORT, tensors PORT + 1 and PORT + 2
  std::optional<net::Endpoint> advertise;   // the address that others dial; absent means `listen`
  // For a node, TOKEN@HOST:PORT; "" means the cluster that this home joined before.
  std::string join;
  int threads = 0;
  // The device that computes the layers: "" or "cpu", or a GPU such as "cuda:0", whose failure ends
  // a node's daemon.
  std::string device = {};
  // The memory for layers, keys and values; 0 means what the machine and its control group have
  // left (or a GPU), shared with the other nodes of this machine.
  std::uint64_t memory_bytes = 0;
  // For a head, how long a model stays loaded after its last request; -1 means forever.
  std::int64_t keep_alive_s = 300;
  // For a head: whether answers are drafted (GenerateRequest::speculation).
  bool speculation = true;
  // For a head: entries of HOME/audit.log also go into the log, which under systemd is its journal.
  bool audit_also_logs = false;
  // For a head: a newcomer with a valid token also needs an admin's approval
  // (Cluster::approve_key).
  bool approve = false;
};

// A daemon inside this process: what `troupe start` runs. The command has a parent process that
// starts its daemon again if it aborts (SECURITY.md says what a peer can still do to ZeroMQ's
// sockets). A program that embeds a daemon has no such parent, and must see to its own restart. A
// head's jobs and answers then go on from its journal.
class Daemon {
 public:
  // Returns when ready: a head listens; a node has enrolled and was welcomed by its head.
  //   Errors: kAlreadyExists (port in use, or a daemon of this home runs already),
  //   kPermissionDenied (token refused), kUnavailable (no head there, or this machine does not have
  //   the address at this moment), kResourceExhausted (too few threads, descriptors or too little
  //   address space), kInvalidArgument (also if the home of a node is given to a head, or the
  //   reverse).
  static Result<Daemon> start(const DaemonOptions& options);
  Daemon(Daemon&&) noexcept;
  Daemon& operator=(Daemon&&) noexcept;
  ~Daemon();  // does what stop() does

  // Returns the address for another machine to join, "TOKEN@HOST:PORT"; "" for a node.
  std::string join_address() const;
  std::string name() const;
  // Blocks until request_stop() or a stop command from the cluster; a node also returns, with a
  // Status that says why, when its head has told it to leave.
  Status wait();
  // Waits for at most `timeout_ms` (-1: forever). Returns nothing if the daemon is still running.
  std::optional<Status> wait_for(int timeout_ms);
  // Returns the time since the daemon last did anything: a few hundred milliseconds, unless it
  // hangs.
  int stalled_ms() const;
  // May be called from a signal handler: it only writes to an eventfd.
  void request_stop() noexcept;
  // Leaves the cluster and ends the actors, within two seconds.
  void stop();

  // For the library's own files.
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  explicit Daemon(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Returns the address, HOST:PORT, of the head whose cluster this home joined as a node; "" if the
// home is not a node's.
//   Errors: kBadData (names a file that cannot be read).
Result<std::string> joined_head(const std::string& home);

// Returns the path of a home: `home` if given, else TROUPE_HOME, else ~/.troupe.
std::string resolve_home(const std::string& home);
// Returns the address of the head of the cluster to which this home's daemon belongs, as its run
// file says.
//   Errors: kNotFound (no daemon runs on this home).
Result<std::string> daemon_address(const std::string& home);
// Does the same, but waits for a daemon that is starting (15 s at most), or was killed and may be
// started again by its parent or by systemd (3 s).
Result<std::string> await_daemon_address(const std::string& home);
// Ends the daemon of this home, whether head or node, and waits until it has ended (5 s at most).
//   Errors: kNotFound (none runs), kDeadlineExceeded, kPermissionDenied.
Status stop_daemon(const std::string& home);

}  // namespace troupe
