#include <memory>
#include <string>
#include <utility>

#include <troupe/runtime/cuda/card_accelerator.h>
#include <troupe/runtime/cuda/cuda.h>

namespace troupe::cuda {
namespace {

// 13000 is "13.0".
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string architecture_of(const cudaDeviceProp& card) {
  return "sm_" + std::to_string(card.major) + std::to_string(card.minor);
}

Status no_gpu(const std::string& what) { return Status(Code::kFailedPrecondition, what); }

// Returns the number of GPUs, or why none can be used.
Result<int> count_cards() {
  int driver = 0, runtime = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    return no_gpu(
        "no NVIDIA driver was found, so no GPU can be used; install it, and see that "
        "/dev/nvidiactl exists where this program runs");
  static_cast<void>(cudaRuntimeGetVersion(&runtime));
  if (driver / 1000 < runtime / 1000)
    return no_gpu("the NVIDIA driver serves CUDA " + version_text(driver) +
                  ", but this program needs CUDA " + version_text(runtime) +
                  "; install a newer driver (580 or later)");
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
    return no_gpu(
        "the NVIDIA driver shows no GPU to this program; look at CUDA_VISIBLE_DEVICES and at "
        "`nvidia-smi -L`");
  if (error != cudaSuccess)
    return no_gpu("the NVIDIA driver failed: " + describe(error) + "; run `nvidia-smi`");
  return count;
}

}  // namespace

Report report() {
  Report found;
  int version = 0;
  if (cudaRuntimeGetVersion(&version) == cudaSuccess) found.runtime = version_text(version);
  if (cudaDriverGetVersion(&version) == cudaSuccess && version != 0)
    found.driver = version_text(version);
  const Result<int> count = count_cards();
  found.usable = count.status();
  for (int i = 0; count.is_ok() && i < *count; ++i) {
    cudaDeviceProp card{};
    if (cudaGetDeviceProperties(&card, i) != cudaSuccess) continue;
    found.cards.push_back(
        {card.name, architecture_of(card), card.totalGlobalMem, card.multiProcessorCount});
  }
  return found;
}

Result<std::unique_ptr<Accelerator>> open(int index) {
  TROUPE_ASSIGN_OR_RETURN(const int count, count_cards());
  if (index < 0 || index >= count)
    return Status(Code::kNotFound, "there is no GPU cuda:" + std::to_string(index) + "; this " +
                                       "machine shows cuda:0 to cuda:" + std::to_string(count - 1));
  cudaDeviceProp properties{};
  const Error error = cudaGetDeviceProperties(&properties, index);
  auto card = std::make_shared<Card>(index, "cuda:" + std::to_string(index));
  TROUPE_RETURN_IF_ERROR(card->check(error, "it was looked at"));
  if (properties.major < 8)
    return no_gpu("the GPU cuda:" + std::to_string(index) + " (" + properties.name + ", " +
                  architecture_of(properties) +
                  ") is older than sm_80, which the kernels need; use --device cpu");
  TROUPE_RETURN_IF_ERROR(card->open());
  return std::unique_ptr<Accelerator>(
      std::make_unique<CardAccelerator>(std::move(card), architecture_of(properties)));
}

}  // namespace troupe::cuda
