#include <string>

#include <troupe/runtime/kernels/table.h>
#include <troupe/runtime/kernels/targets.h>

namespace troupe::kernels {

const Kernels& table(Isa isa) {
  TROUPE_CHECK(isa_supported(isa), std::string(isa_name(isa)));
#if TROUPE_X86_TARGETS
  if (isa == Isa::kAvx2) return avx2_table();
  if (isa == Isa::kAvx512) return avx512_table();
#endif
  return scalar_table();
}

std::size_t attention_scratch_floats(const AttentionArgs& args, std::size_t keys) {
  return kAttentionTile * attention_tile_floats(keys, args.head_dim);
}

}  // namespace troupe::kernels
