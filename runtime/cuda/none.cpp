#include <troupe/runtime/cuda/cuda.h>

// The answers of a build without the CUDA toolkit.

namespace troupe::cuda {
namespace {

Status without_cuda() {
  return Status(Code::kFailedPrecondition,
                "this program was built without CUDA, so it uses no GPU; install the CUDA toolkit "
                "(13.0 or later), and build Troupe again");
}

}  // namespace

Report report() {
  Report found;
  found.usable = without_cuda();
  return found;
}

Result<std::unique_ptr<Accelerator>> open(int) { return without_cuda(); }

}  // namespace troupe::cuda
