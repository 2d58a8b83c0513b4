#include <charconv>
#include <string>
#include <system_error>
#include <utility>

#include <troupe/runtime/cuda/cuda.h>
#include <troupe/runtime/device/device.h>
#include <troupe/runtime/kernels/table.h>

namespace troupe {

Result<std::optional<int>> gpu_of(const std::string& name) {
  if (name.empty() || name == "cpu") return std::optional<int>();
  int index = -1;
  const std::string prefix = "cuda:";
  const char *begin = name.data() + prefix.size(), *end = name.data() + name.size();
  const auto parsed = name.starts_with(prefix) ? std::from_chars(begin, end, index)
                                               : std::from_chars_result{name.data(), {}};
  if (parsed.ptr != end || parsed.ec != std::errc() || index < 0)
    return Status(Code::kInvalidArgument,
                  "\"" + name + "\" is not a device; choose cpu, or a GPU such as cuda:0");
  return std::optional<int>(index);
}

Result<std::unique_ptr<Device>> Device::create(const DeviceOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(const std::optional<int> gpu, gpu_of(options.accelerator));
  if (!gpu) return create(options, nullptr);
  TROUPE_ASSIGN_OR_RETURN(auto accelerator, cuda::open(*gpu));
  return create(options, std::move(accelerator));
}

Result<std::unique_ptr<Device>> Device::create(const DeviceOptions& options,
                                               std::unique_ptr<Accelerator> accelerator) {
  kernels::Isa isa{};
  if (options.isa) {
    isa = *options.isa;
    if (!kernels::isa_supported(isa)) {
      return Status(Code::kInvalidArgument, "this CPU has no " +
                                                std::string(kernels::isa_name(isa)) +
                                                "; choose another instruction set");
    }
  } else {
    TROUPE_ASSIGN_OR_RETURN(isa, kernels::choose_isa());
  }
  auto device = std::make_unique<Device>();
  TROUPE_ASSIGN_OR_RETURN(device->pool_,
                          ThreadPool::create({.threads = options.threads, .pin = options.pin}));
  device->kernels_ = &kernels::table(isa);
  device->accelerator_ = std::move(accelerator);
  return device;
}

}  // namespace troupe
