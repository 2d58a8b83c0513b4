#include <troupe/model/tokenizer/prefix_trie.h>

namespace troupe::model {

PrefixTrie::PrefixTrie() : edges_(1024), values_{kAbsent} {}

std::size_t PrefixTrie::place(std::uint32_t node, unsigned char byte) const {
  const std::uint64_t key = std::uint64_t{node} << 8 | byte;
  // Fibonacci hashing: the upper bits of the product are spread best.
  std::size_t at = (key * 0x9e3779b97f4a7c15u >> 32) & (edges_.size() - 1);
  while (edges_[at].to != 0 && !(edges_[at].from == node && edges_[at].byte == byte))
    at = (at + 1) & (edges_.size() - 1);
  return at;
}

void PrefixTrie::grow() {
  std::vector<Edge> old(edges_.size() * 2);
  old.swap(edges_);
  for (const Edge& edge : old)
    if (edge.to != 0) edges_[place(edge.from, edge.byte)] = edge;
}

void PrefixTrie::put(std::string_view key, std::int32_t value) {
  std::uint32_t node = 0;
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    std::uint32_t next = child(node, byte);
    if (next == 0) {
      if (values_.size() * 2 > edges_.size()) grow();
      next = static_cast<std::uint32_t>(values_.size());
      edges_[place(node, byte)] = {node, next, byte};
      values_.push_back(kAbsent);
    }
    node = next;
  }
  values_[node] = value;
}

std::int32_t PrefixTrie::find(std::string_view key) const {
  std::uint32_t node = 0;
  for (const char c : key) {
    node = child(node, static_cast<unsigned char>(c));
    if (node == 0) return kAbsent;
  }
  return node == 0 ? kAbsent : values_[node];
}

}  // namespace troupe::model
