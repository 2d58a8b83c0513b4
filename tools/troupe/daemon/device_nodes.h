#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <sys/types.h>

#include <troupe/runtime/net/transport.h>
#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/daemon/parent.h>

// The GPUs of a daemon. Each is a process of its own, which runs this program again as a node
// that computes on the GPU alone: a driver's error that cannot be cleared ends that process, while
// the daemon, its CPUs and a head continue.

namespace troupe::tools {

// Which process computes on which device: `--device cuda:0,cpu`.
struct DeviceShares {
  std::string own = "cpu";  // the device of the daemon's own process, unless `works` is false
  bool works = true;        // false: that process computes nothing
  std::vector<std::string> nodes;  // the GPUs that are nodes of their own, such as "cuda:0"
};

// Reads the value of --device. A node that was given one GPU computes on it in its own process; a
// head never does, so that it survives the GPU.
//   Errors: kInvalidArgument (an impossible device, or one that is named twice).
Result<DeviceShares> share_devices(const std::string& list, bool head);

// One GPU's node.
struct DeviceNode {
  std::string device, name;
  std::string home;   // HOME/devices/cuda0
  std::string store;  // of the daemon, which the node uses, too
  std::string join;   // TOKEN@HOST:PORT; "": what its home remembers
  int threads = 0;    // 0: every usable CPU
  std::string log_level;
  // The host on which the daemon was told to listen, and the port from which to search; absent if
  // it was told nothing.
  std::optional<net::Endpoint> listen_from;
  std::optional<std::string> advertise_host;
};

// The processes of a daemon's GPUs. If one ends, it is started again after a pause, unless the head
// told it to end.
class DeviceNodes {
 public:
  // Starts all of them, and returns when each is a member of the cluster. `again` is for a daemon
  // that replaces one that aborted: it does not wait for a GPU, and a GPU's failure does not stop
  // it. Errors: the message of the first one that could not start; kDeadlineExceeded.
  static Result<std::unique_ptr<DeviceNodes>> start(std::vector<DeviceNode> nodes, bool again);
  // Ends them: they leave the cluster, and are killed if that takes more than five seconds.
  ~DeviceNodes();

  struct Child;

 private:
  DeviceNodes();
  std::vector<std::unique_ptr<Child>> children_;
};

// True if DeviceNodes started this process. From the first call on, it dies with the process that
// started it.
bool is_device_node();

}  // namespace troupe::tools
