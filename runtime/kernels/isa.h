#pragma once

#include <optional>
#include <string_view>

#include <troupe/runtime/status.h>

// The CPU targets that kernels are compiled for, and which one this process uses. Any thread.

namespace troupe::kernels {

enum class Isa { kScalar, kAvx2, kAvx512 };  // kAvx512: with VNNI; other CPUs take AVX2
std::string_view isa_name(Isa isa);          // "scalar", "avx2", "avx512"
std::optional<Isa> isa_from_name(std::string_view name);
bool isa_supported(Isa isa);  // by this build and this CPU
// Returns the widest supported target, or what TROUPE_ISA asks for (kInvalidArgument: unknown name,
// or not supported by this CPU).
Result<Isa> choose_isa();

}  // namespace troupe::kernels
