#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

// Finds all strings of a set that a text begins with, in the time that reading the longest of them
// takes. For a word model that considers every way to cut a word. Filled once; any thread may look.

namespace troupe::model {

class PrefixTrie {
 public:
  static constexpr std::int32_t kAbsent = -1;

  PrefixTrie();
  // Adds a string, which is not empty. The later of two equal strings wins.
  void put(std::string_view key, std::int32_t value);
  // Returns the value of exactly this string, or kAbsent.
  std::int32_t find(std::string_view key) const;
  // Calls `visit(bytes, value)` for every string that `text` begins with, the shortest first.
  template <class Visit>
  void for_each_prefix(std::string_view text, Visit visit) const {
    std::uint32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node == 0) return;
      if (values_[node] != kAbsent) visit(i + 1, values_[node]);
    }
  }

 private:
  // An edge, in a table with open addressing. Node 0 is the root, to which no edge leads.
  struct Edge {
    std::uint32_t from = 0;
    std::uint32_t to = 0;  // 0: the slot is free
    unsigned char byte = 0;
  };
  std::uint32_t child(std::uint32_t node, unsigned char byte) const {
    return edges_[place(node, byte)].to;
  }
  std::size_t place(std::uint32_t node, unsigned char byte) const;
  void grow();

  std::vector<Edge> edges_;
  std::vector<std::int32_t> values_;  // of the nodes
};

}  // namespace troupe::model
