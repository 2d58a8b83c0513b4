#include <cstdlib>
#include <string>

#include <hwy/targets.h>

#include <troupe/runtime/kernels/isa.h>

namespace troupe::kernels {

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

std::optional<Isa> isa_from_name(std::string_view name) {
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512})
    if (name == isa_name(isa)) return isa;
  return std::nullopt;
}

bool isa_supported(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return true;
#if defined(__x86_64__)
    case Isa::kAvx2:
      return (hwy::SupportedTargets() & HWY_AVX2) != 0;
    case Isa::kAvx512:
      return (hwy::SupportedTargets() & HWY_AVX3) != 0 && __builtin_cpu_supports("avx512vnni");
#endif
    default:
      return false;
  }
}

Result<Isa> choose_isa() {
  const char* asked = std::getenv("TROUPE_ISA");
  if (asked == nullptr || *asked == '\0') {
    for (const Isa isa : {Isa::kAvx512, Isa::kAvx2})
      if (isa_supported(isa)) return isa;
    return Isa::kScalar;
  }
  const std::optional<Isa> isa = isa_from_name(asked);
  if (!isa) {
    return Status(Code::kInvalidArgument, "TROUPE_ISA is '" + std::string(asked) +
                                              "'; set it to scalar, avx2 or avx512, or unset it");
  }
  if (!isa_supported(*isa)) {
    return Status(Code::kInvalidArgument, "TROUPE_ISA asks for " + std::string(asked) +
                                              ", which this CPU does not have; unset it");
  }
  return *isa;
}

}  // namespace troupe::kernels
