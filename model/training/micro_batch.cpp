#include <algorithm>

#include <troupe/model/training/micro_batch.h>

namespace troupe::model {
namespace {

std::vector<Leaf> leaves_of(std::span<const Example> batch) {
  std::vector<std::size_t> lengths;
  for (const Example& example : batch) lengths.push_back(example.ids.size());
  return cut_leaves(lengths);
}

// Returns the leaves with the rows for which `takes_part(example, position)` is true.
template <class TakesPart>
SumPlan plan_of(std::vector<Leaf> leaves, TakesPart takes_part) {
  for (Leaf& leaf : leaves) {
    std::size_t rows = 0;
    for (std::size_t i = 0; i < leaf.rows; ++i) rows += takes_part(leaf.example, leaf.first + i);
    leaf.rows = rows;
  }
  return SumPlan(leaves);
}

bool is_supervised(const Example& example, std::size_t position, const ModelConfig& config) {
  if (!config.has_row_logits()) return position == 0;
  return position < example.targets.size() && example.targets[position] != kNoTarget;
}

}  // namespace

BatchPlan::BatchPlan(std::span<const Example> batch, const ModelConfig& config)
    : rows(leaves_of(batch)),
      first_rows(plan_of(leaves_of(batch),
                         [](std::size_t, std::size_t position) { return position == 0; })),
      supervised(plan_of(leaves_of(batch), [&](std::size_t example, std::size_t position) {
        return is_supervised(batch[example], position, config);
      })) {
  for (const Example& example : batch)
    for (std::size_t i = 0; i < example.ids.size(); ++i)
      targets += is_supervised(example, i, config) ? 1 : 0;
}

MicroBatch::MicroBatch(std::span<const Example> batch, std::size_t begin, std::size_t end,
                       const ModelConfig& config, const BatchPlan& plan)
    : all(plan.rows.part(begin, end)),
      first(plan.first_rows.part(begin, end)),
      supervised(plan.supervised.part(begin, end)) {
  for (std::size_t i = begin; i < end; ++i) {
    const Example& example = batch[i];
    examples.push_back({&example, rows, example.ids.size()});
    for (std::size_t position = 0; position < example.ids.size(); ++position) {
      positions.push_back(position);
      example_of.push_back(i - begin);
      if (!is_supervised(example, position, config)) continue;
      target_rows.push_back(rows + position);
      targets.push_back(config.has_row_logits()
                            ? static_cast<std::size_t>(example.targets[position])
                            : example.label);
      values.push_back(example.value);
      weights.push_back(example.weight);
    }
    rows += example.ids.size();
    longest = std::max(longest, example.ids.size());
  }
}

}  // namespace troupe::model
