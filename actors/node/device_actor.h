#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <troupe/actors/actors.h>

// The device's thread as an actor: it runs jobs one after the other, in the order in which they
// came. Compute happens here and in the device's pool, never on a scheduler thread.

namespace troupe::actors {

// A device's actor, and what others need to know about the device.
struct DeviceHandle {
  device_actor actor;
  int threads = 0;
  std::string isa;  // of its kernels: "avx512", or "cuda sm_90" of an accelerator
  std::optional<std::uint64_t> memory_bytes;  // what is free on its accelerator, if it has one
};
// Spawns the (detached) actor, which makes its device on its own thread because the caller of the
// pool is the pool's thread 0. Blocks until the device exists.
//   Errors: those of Device::create.
Result<DeviceHandle> spawn_device(caf::actor_system& system, const DeviceOptions& options);

}  // namespace troupe::actors
