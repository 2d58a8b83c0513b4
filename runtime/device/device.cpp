#include <string>

#include <troupe/runtime/device/device.h>
#include <troupe/runtime/kernels/table.h>

namespace troupe {

Result<std::unique_ptr<Device>> Device::create(const DeviceOptions& options) {
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
  return device;
}

}  // namespace troupe
