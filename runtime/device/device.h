#pragma once

#include <memory>
#include <optional>
#include <string>

#include <troupe/runtime/accelerator.h>
#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/machine/thread_pool.h>

// A device: memory, a team of threads and a kernel table of the CPU, and an accelerator if it has
// one, which then computes the layers. One owner (the device actor, or a local caller) uses it from
// one thread at a time.

namespace troupe {

struct DeviceOptions {
  int threads = 0;  // as in ThreadPoolOptions
  bool pin = true;
  std::optional<kernels::Isa> isa;  // absent: kernels::choose_isa() decides
  std::string accelerator = {};     // "" or "cpu": none; "cuda:0": the first GPU
};

// Returns the number of the GPU that "cuda:0" names, or nothing for "" and "cpu".
//   Errors: kInvalidArgument if `name` is neither.
Result<std::optional<int>> gpu_of(const std::string& name);

class Device {
 public:
  //   Errors: kInvalidArgument if an option has an impossible value; those of cuda::open.
  static Result<std::unique_ptr<Device>> create(const DeviceOptions& options);
  // Makes a device of the CPU and this accelerator.
  static Result<std::unique_ptr<Device>> create(const DeviceOptions& options,
                                                std::unique_ptr<Accelerator> accelerator);
  ThreadPool& pool() { return *pool_; }
  int threads() const { return pool_->threads(); }
  const kernels::Kernels& kernels() const { return *kernels_; }
  Accelerator* accelerator() const { return accelerator_.get(); }  // nullptr: the device has none
  // Returns the name of what computes the layers: "cpu", or the accelerator's name.
  std::string name() const { return accelerator_ ? accelerator_->name() : "cpu"; }

 private:
  std::unique_ptr<ThreadPool> pool_;
  const kernels::Kernels* kernels_ = nullptr;
  std::unique_ptr<Accelerator> accelerator_;
};

}  // namespace troupe
