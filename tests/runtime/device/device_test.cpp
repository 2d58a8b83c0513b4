#include <catch2/catch.hpp>

#include <troupe/runtime/device/device.h>

namespace troupe {

TEST_CASE("a device has the threads and the kernels that were asked for") {
  auto device = Device::create({.threads = 3, .pin = false, .isa = kernels::Isa::kScalar});
  REQUIRE(device);
  CHECK((*device)->threads() == 3);
  CHECK((*device)->pool().threads() == 3);
  CHECK((*device)->kernels().isa == kernels::Isa::kScalar);
}

TEST_CASE("a device refuses what the machine does not have") {
  CHECK(Device::create({.threads = -2}).code() == Code::kInvalidArgument);
  for (const kernels::Isa isa : {kernels::Isa::kAvx2, kernels::Isa::kAvx512}) {
    const auto device = Device::create({.threads = 1, .pin = false, .isa = isa});
    CHECK(device.is_ok() == kernels::isa_supported(isa));
    if (!device) CHECK(device.message().find(kernels::isa_name(isa)) != std::string::npos);
  }
}

}  // namespace troupe
