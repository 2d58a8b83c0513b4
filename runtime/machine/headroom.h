#pragma once

#include <cstdint>

#include <troupe/runtime/status.h>

// Checks whether the limits of this process allow what it is about to need. The libraries below
// abort, or wait forever, if a thread cannot be started in the middle of their work; so this is
// checked before.

namespace troupe {

struct Headroom {
  int threads = 0;      // at once, with stacks of the usual size
  int descriptors = 0;  // files and sockets
};
// The most that a process with actors needs beside the threads that compute: the threads of CAF, of
// ZeroMQ and of actors that have one of their own; sockets, pipes and files.
inline constexpr Headroom kProcessHeadroom{16, 48};

// If the address space is limited, the threads of this process share one heap from now on. Starts
// as many threads as are needed, which do nothing, and ends them: a few microseconds for each. Any
// thread may call it. What other processes take at the same moment cannot be foreseen.
//   Errors: kResourceExhausted, which names the limit that binds (`ulimit -u`, `ulimit -v`,
//   `ulimit -n`, or the number of processes of a control group).
Status check_headroom(const Headroom& needed);

}  // namespace troupe
