#pragma once

#include <cstddef>

// The pages in which the keys and values of a sequence lie, and their layout.

namespace troupe::kernels {

constexpr std::size_t kPageKeys = 64;  // keys of a KV page
constexpr std::size_t kKeyBlock = 16;  // keys that lie side by side in K

enum class KvType { kF16, kF32 };
// One page: keys [page * kPageKeys, +kPageKeys) of one layer of one sequence, zeroed when made.
//   K: [kv_head][key / 16][channel][key % 16]   then   V: [kv_head][key][channel]
constexpr std::size_t kv_page_bytes(KvType type, std::size_t kv_heads, std::size_t head_dim) {
  return 2 * kv_heads * kPageKeys * head_dim * (type == KvType::kF16 ? 2 : 4);
}

}  // namespace troupe::kernels
