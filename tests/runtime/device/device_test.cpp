#include <catch2/catch.hpp>

#include <troupe/runtime/cuda/cuda.h>
#include <troupe/runtime/device/device.h>
#include <troupe/tests/runtime/cuda/emulated_card.h>

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

TEST_CASE("a device's name is cpu, or a GPU with its number") {
  CHECK(*gpu_of("") == std::nullopt);
  CHECK(*gpu_of("cpu") == std::nullopt);
  CHECK(*gpu_of("cuda:0") == 0);
  CHECK(*gpu_of("cuda:12") == 12);
  for (const char* wrong : {"cuda", "cuda:", "cuda:-1", "cuda:x", "cuda:1x", "cuda:99999999999",
                            "gpu", "CUDA:0", " cuda:0", "cpu:0"}) {
    INFO(wrong);
    const auto gpu = gpu_of(wrong);
    CHECK(gpu.code() == Code::kInvalidArgument);
    CHECK(gpu.message().find("such as cuda:0") != std::string::npos);
  }
}

TEST_CASE("a GPU that is not there is refused in words, and nothing falls back to the CPU") {
  const auto device = Device::create({.threads = 1, .pin = false, .accelerator = "cuda:99"});
  REQUIRE(!device);
  INFO(device.message());
  const cuda::Report report = cuda::report();
  if (report.usable.is_ok()) {
    CHECK(device.code() == Code::kNotFound);
    CHECK(device.message().find("cuda:99") != std::string::npos);
  } else {
    CHECK(device.code() == Code::kFailedPrecondition);
    CHECK(device.message() == report.usable.message());
    CHECK(report.cards.empty());
  }
}

TEST_CASE("a device with an accelerator has its name and the CPU's threads") {
  const auto plain = Device::create({.threads = 1, .pin = false});
  REQUIRE(plain);
  CHECK((*plain)->accelerator() == nullptr);
  CHECK((*plain)->name() == "cpu");
  const auto device = Device::create({.threads = 2, .pin = false}, test::make_emulated_card());
  REQUIRE(device);
  CHECK((*device)->accelerator() != nullptr);
  CHECK((*device)->name() == "cuda:0");
  CHECK((*device)->threads() == 2);
}

}  // namespace troupe
