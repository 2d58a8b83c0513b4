#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <troupe/runtime/accelerator.h>

// The door to NVIDIA's GPUs. A build with the CUDA toolkit opens them (cuda.cu); a build without it
// answers that there are none (none.cpp). CMake chooses, and callers need not know which one it is.

namespace troupe::cuda {

// One GPU as the driver describes it.
struct CardReport {
  std::string name;          // such as "NVIDIA H200"
  std::string architecture;  // such as "sm_90"
  std::uint64_t memory_bytes = 0;
  int processors = 0;  // streaming multiprocessors
};

struct Report {
  std::vector<CardReport> cards;
  std::string driver, runtime;  // versions, such as "13.0"; empty if unknown
  // Ok if a GPU can be used; otherwise a sentence that says why none can be used, and what to do.
  Status usable;
};

// Asks the driver which GPUs there are. It opens none. Any thread may call it.
Report report();

// Opens GPU `index`, as CUDA_VISIBLE_DEVICES counts them.
//   Errors: kFailedPrecondition if this build or this machine has no CUDA; kNotFound if there is no
//   such GPU; kResourceExhausted if its memory is short; kUnavailable if it fails.
Result<std::unique_ptr<Accelerator>> open(int index);

}  // namespace troupe::cuda
