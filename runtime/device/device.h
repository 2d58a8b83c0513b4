#pragma once

#include <memory>

#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/machine/thread_pool.h>

// A device: memory, a team of threads and a kernel table. Today the CPU is the only kind; a GPU
// will be the second. One owner (the device actor, or a local caller) uses it from one thread at a
// time.

namespace troupe {

struct DeviceOptions {
  int threads = 0;  // as in ThreadPoolOptions
  bool pin = true;
  std::optional<kernels::Isa> isa;  // absent: kernels::choose_isa() decides
};

class Device {
 public:
  static Result<std::unique_ptr<Device>> create(const DeviceOptions& options);
  ThreadPool& pool() { return *pool_; }
  int threads() const { return pool_->threads(); }
  const kernels::Kernels& kernels() const { return *kernels_; }

 private:
  std::unique_ptr<ThreadPool> pool_;
  const kernels::Kernels* kernels_ = nullptr;
};

}  // namespace troupe
