#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <troupe/runtime/net/transport.h>
#include <troupe/runtime/status.h>

// A daemon of a cluster inside this process, and the daemon of a home.

namespace troupe {

struct DaemonOptions {
  std::string home;  // "": TROUPE_HOME, else ~/.troupe
  std::string name;  // "": host name (made unique by the head)
  bool head = false;
  bool work = true;                         // false: a head that holds no layers
  net::Endpoint listen{"127.0.0.1", 7700};  // control PORT, tensors PORT + 1 and PORT + 2
  std::optional<net::Endpoint> advertise;   // what others dial; absent: `listen`
  // TOKEN@HOST:PORT, of a node; "": the cluster that this home joined before.
  std::string join;
  int threads = 0;
  // What computes the layers: "" or "cpu", or a GPU such as "cuda:0", which has its failures end a
  // node's daemon.
  std::string device = {};
  // For layers, keys and values; 0: the machine's, or what its control group leaves.
  std::uint64_t memory_bytes = 0;
  // A head's: how long a model stays loaded after its last request; -1: for ever.
  std::int64_t keep_alive_s = 300;
};

// A node daemon inside this process: what `troupe start` runs.
class Daemon {
 public:
  // Returns when ready: a head listens; a node has enrolled and was welcomed by its head.
  //   Errors: kAlreadyExists (port in use, or a daemon of this home runs already),
  //   kPermissionDenied (token refused), kUnavailable (no head there), kInvalidArgument (also when
  //   a node's home is to be a head's, or the other way round).
  static Result<Daemon> start(const DaemonOptions& options);
  Daemon(Daemon&&) noexcept;
  Daemon& operator=(Daemon&&) noexcept;
  ~Daemon();  // as stop()

  // What another machine needs: "TOKEN@HOST:PORT". "" for a node.
  std::string join_address() const;
  std::string name() const;
  // Blocks until request_stop() or a stop command from the cluster; a node also returns, with a
  // Status that says why, when its head has told it to leave.
  Status wait();
  // The same, for at most `timeout_ms` (-1: for ever); nothing when it goes on.
  std::optional<Status> wait_for(int timeout_ms);
  // Since when the daemon has not moved: a few hundred milliseconds, unless it hangs.
  int stalled_ms() const;
  // May be called from a signal handler: it only writes to an eventfd.
  void request_stop() noexcept;
  // Leaves the cluster, ends the actors; bounded by two seconds.
  void stop();

  // For the library's own files.
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  explicit Daemon(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The address of the head whose cluster this home joined as a node, HOST:PORT; "" when it is no
// node's home. kBadData names a file that cannot be read.
Result<std::string> joined_head(const std::string& home);

// Where a home is: `home` if given, else TROUPE_HOME, else ~/.troupe.
std::string resolve_home(const std::string& home);
// The head's address of the cluster that the daemon of this home belongs to, as its run file says;
// kNotFound when no daemon runs on this home.
Result<std::string> daemon_address(const std::string& home);
// Ends the daemon of this home, head or node, and waits until it has ended (5 s at most).
//   Errors: kNotFound (none runs), kDeadlineExceeded, kPermissionDenied.
Status stop_daemon(const std::string& home);

}  // namespace troupe
