#include <algorithm>
#include <cstring>

#include <troupe/model/training/embedding_gradient.h>

namespace troupe::model {
namespace {

constexpr std::size_t kWidth = 16;

// One position: the index that occurs there, the leaf in which it lies, and its row of the
// gradients.
struct Occurrence {
  std::size_t index, leaf, row;
};

std::size_t index_at(const Example& example, std::size_t position, EmbeddingTable which) {
  switch (which) {
    case EmbeddingTable::kToken:
      return static_cast<std::size_t>(example.ids[position]);
    case EmbeddingTable::kPosition:
      return position;
    case EmbeddingTable::kType:
      return example.types.empty() ? 0 : example.types[position];
  }
  return 0;
}

std::vector<Occurrence> occurrences(const EmbeddingGradients& from, std::span<const Leaf> leaves,
                                    EmbeddingTable which) {
  std::vector<Occurrence> found;
  std::size_t row = 0;
  for (std::size_t leaf = 0; leaf < leaves.size(); ++leaf)
    for (std::size_t i = 0; i < leaves[leaf].rows; ++i, ++row)
      found.push_back(
          {index_at(from.batch[leaves[leaf].example], leaves[leaf].first + i, which), leaf, row});
  std::stable_sort(found.begin(), found.end(),
                   [](const Occurrence& a, const Occurrence& b) { return a.index < b.index; });
  return found;
}

// Computes the row `index` of the table's gradient, from its occurrences in order.
void row_gradient(const EmbeddingGradients& from, std::span<const Leaf> leaves,
                  std::span<const Occurrence> found, bool add, Parameter& table) {
  std::vector<Leaf> present;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (i == 0 || found[i].leaf != found[i - 1].leaf) {
      present.push_back(leaves[found[i].leaf]);
      present.back().rows = 0;
    }
    ++present.back().rows;
  }
  const SumPlan plan(present);
  const SumPart part = plan.part(0, from.batch.size());
  const std::size_t group = found.front().index / kernels::kGroupRows;
  float* to = reinterpret_cast<float*>(table.gradient[0].data()) +
              group * kernels::kGroupRows * from.channels +
              found.front().index % kernels::kGroupRows;
  for (std::size_t c = 0; c < from.channels; c += kWidth) {
    const std::size_t width = std::min(kWidth, from.channels - c);
    float sums[kWidth];
    float* const stack[] = {sums};
    kernels::run_sum<kWidth>(
        part.over(stack), 0, [&](std::size_t begin, std::size_t end, float* out) {
          std::fill_n(out, kWidth, 0.0f);
          for (std::size_t i = begin; i < end; ++i) {
            const float* row = from.values.data() + found[i].row * from.channels + c;
            for (std::size_t k = 0; k < width; ++k) out[k] += row[k];
          }
        });
    for (std::size_t k = 0; k < width; ++k) {
      float& value = to[(c + k) * kernels::kGroupRows];
      value = add ? value + sums[k] : sums[k];
    }
  }
}

// Zeroes this thread's share of the rows that the last batch wrote into the gradient.
void clear(Parameter& table, int thread, int threads) {
  auto* gradient = reinterpret_cast<float*>(table.gradient[0].data());
  if (!table.is_looked_up) {
    const IndexRange mine = split(table.floats, thread, threads);
    return static_cast<void>(
        std::memset(gradient + mine.begin, 0, (mine.end - mine.begin) * sizeof(float)));
  }
  const std::size_t floats = table.group_floats();
  const IndexRange mine = split(table.gradient_groups.size(), thread, threads);
  for (std::size_t i = mine.begin; i < mine.end; ++i)
    std::memset(gradient + table.gradient_groups[i] * floats, 0, floats * sizeof(float));
}

}  // namespace

void embedding_gradient(const EmbeddingGradients& from, EmbeddingTable which, bool add,
                        Parameter& table, ThreadPool& pool, int thread, int threads) {
  if (!add) {
    clear(table, thread, threads);
    pool.barrier(thread);
  }
  std::vector<std::size_t> lengths;
  for (const Example& example : from.batch) lengths.push_back(example.ids.size());
  const std::vector<Leaf> leaves = cut_leaves(lengths);
  const std::vector<Occurrence> found = occurrences(from, leaves, which);
  for (std::size_t begin = 0, end = 0; begin < found.size(); begin = end) {
    while (end < found.size() && found[end].index == found[begin].index) ++end;
    if (found[begin].index % static_cast<std::size_t>(threads) == static_cast<std::size_t>(thread))
      row_gradient(from, leaves, std::span(found).subspan(begin, end - begin), add, table);
  }
  if (thread == 0 && table.is_looked_up) {
    table.gradient_groups.clear();
    for (const Occurrence& one : found) {
      const std::size_t group = one.index / kernels::kGroupRows;
      if (table.gradient_groups.empty() || table.gradient_groups.back() != group)
        table.gradient_groups.push_back(group);
    }
  }
  pool.barrier(thread);
}

}  // namespace troupe::model
