#include <troupe/model/families/read_config.h>
#include <troupe/model/planning/memory_need.h>

namespace troupe::model {

MemoryNeed memory_need(const GgufHeader& header, const ModelConfig& config,
                       std::optional<kernels::KvType> kv_type, std::size_t context) {
  const kernels::KvType type = kv_type.value_or(default_kv_type(header));
  const std::size_t pages = (context + kernels::kPageKeys - 1) / kernels::kPageKeys;
  const std::size_t page_bytes = kernels::kv_page_bytes(type, config.kv_heads, config.head_dim);
  const std::uint64_t kv_bytes = std::uint64_t{pages} * ((page_bytes + 63) / 64 * 64);
  MemoryNeed need;
  need.pages = pages;
  need.page_bytes = (page_bytes + 63) / 64 * 64;
  need.page_positions = kernels::kPageKeys;
  std::uint64_t weights = 0;
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    const std::uint64_t bytes = tensor_bytes_of(header, config, {layer, layer + 1});
    weights += bytes;
    need.layers.push_back(bytes + kv_bytes);
  }
  // A node that has both ends holds a tied embedding once.
  if (config.layers > 1)
    need.shared = weights - tensor_bytes_of(header, config, {0, config.layers});
  return need;
}

}  // namespace troupe::model
