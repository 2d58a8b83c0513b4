#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>

#include <troupe/tests/runtime/kernels/kernel_fixture.h>

namespace troupe::kernels {

TEST_CASE("instruction sets have names, and each table says which it is") {
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512})
    CHECK(isa_from_name(isa_name(isa)) == isa);
  CHECK(!isa_from_name("sse9"));
  CHECK(isa_supported(Isa::kScalar));
  for (const Isa isa : supported_isas()) CHECK(table(isa).isa == isa);
}

TEST_CASE("TROUPE_ISA chooses the instruction set") {
  const char* before = std::getenv("TROUPE_ISA");
  const std::string saved = before == nullptr ? "" : before;
  unsetenv("TROUPE_ISA");
  CHECK(*choose_isa() == supported_isas().back());
  setenv("TROUPE_ISA", "scalar", 1);
  CHECK(*choose_isa() == Isa::kScalar);
  setenv("TROUPE_ISA", "sse9", 1);
  CHECK(choose_isa().code() == Code::kInvalidArgument);
  CHECK(choose_isa().message().find("sse9") != std::string::npos);
  if (saved.empty()) {
    unsetenv("TROUPE_ISA");
  } else {
    setenv("TROUPE_ISA", saved.c_str(), 1);
  }
}

}  // namespace troupe::kernels
