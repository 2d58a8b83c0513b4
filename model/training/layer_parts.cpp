#include <algorithm>
#include <cmath>

#include <troupe/model/training/layer_parts.h>

namespace troupe::model {

void LayerView::norm_share(std::size_t slot, const float* x, std::size_t count, float* out) const {
  const IndexRange mine = team.share(count, thread);
  if (mine.begin == mine.end) return;
  const float* gain = weight(slot).vector.data();
  if (config.norm == NormKind::kRms) {
    team.kernels.rms_norm(x, gain, config.norm_epsilon, channels, mine.begin, mine.end, out);
  } else {
    team.kernels.layer_norm(x, gain, weight(slot + 1).vector.data(), config.norm_epsilon, channels,
                            mine.begin, mine.end, out);
  }
}

void LayerView::multiply(std::size_t slot, RowsOfFloats x, float* out, bool accumulate) const {
  team.multiply(thread, weight(slot), &weight(slot + 1), x, out, accumulate);
  const Adapter* low_rank = adapter(slot);
  if (low_rank == nullptr) return;
  team.multiply_narrow(thread, low_rank->down.weight->matrix, low_rank->scale,
                       adapter_input(slot, x), work.low);
  team.multiply(thread, *low_rank->up.weight, nullptr, {work.low, x.rows, low_rank->rank()}, out,
                /*accumulate=*/true);
}

void LayerView::multiply_back(std::size_t slot, RowsOfFloats dy, float* dx, bool accumulate) const {
  team.multiply_transposed(thread, weight(slot).matrix, dy, dx, accumulate);
  const Adapter* low_rank = adapter(slot);
  if (low_rank == nullptr) return;
  team.multiply_narrow(thread, low_rank->up.weight->matrix, low_rank->scale, dy, work.dlow);
  const RowsOfFloats low{work.dlow, dy.rows, low_rank->rank()};
  if (step.dropout == nullptr) {
    team.multiply(thread, *low_rank->down.weight, nullptr, low, dx, /*accumulate=*/true);
    return;
  }
  team.multiply(thread, *low_rank->down.weight, nullptr, low, work.dropped);
  drop(slot, {work.dropped, dy.rows, low_rank->down.spec.rows}, /*accumulate=*/true, dx);
}

RowsOfFloats LayerView::adapter_input(std::size_t slot, RowsOfFloats x) const {
  if (step.dropout == nullptr) return x;
  drop(slot, x, /*accumulate=*/false, work.dropped);
  return {work.dropped, x.rows, x.columns};
}

void LayerView::drop(std::size_t slot, RowsOfFloats x, bool accumulate, float* out) const {
  const IndexRange mine = team.share(x.rows, thread);
  for (std::size_t row = mine.begin; row < mine.end; ++row) {
    // The rows are all rows of the micro-batch, or the first rows of its examples.
    const bool is_all = x.rows == batch.rows;
    const Example& example = *batch.examples[is_all ? batch.example_of[row] : row].example;
    const DropoutRow at{example.epoch, example.number,
                        static_cast<std::uint32_t>(layer * kSlots + slot),
                        static_cast<std::uint32_t>(is_all ? batch.positions[row] : 0)};
    const std::size_t first = row * x.columns;
    drop_row(*step.dropout, at, x.values + first, x.columns, accumulate, out + first);
  }
  team.barrier(thread);
}

void LayerView::gather_first(const float* from, float* to) const {
  const IndexRange mine = team.share(batch.examples.size(), thread);
  for (std::size_t i = mine.begin; i < mine.end; ++i)
    std::copy_n(from + batch.examples[i].first_row * channels, channels, to + i * channels);
  team.barrier(thread);
}

void LayerView::copy_share(const float* from, float* to, std::size_t count) const {
  const IndexRange mine = team.share(count, thread);
  std::copy(from + mine.begin, from + mine.end, to + mine.begin);
}

std::vector<const std::byte*> LayerView::pages(std::size_t example) const {
  std::vector<const std::byte*> pages;
  for (const std::size_t offset : step.page_offsets[example]) pages.push_back(keep.pages + offset);
  return pages;
}

float LayerView::scale() const { return 1.0f / std::sqrt(static_cast<float>(config.head_dim)); }

void LayerView::prepare_inputs() const {
  if (!config.post_norm) norm(kAttnNorm, keep.x, rows, work.normed);
  if (!first_only) return;
  gather_first(keep.x, work.first);
  if (!config.post_norm) gather_first(work.normed, work.first_normed);
}

const float* LayerView::feed_forward_input() const {
  const std::size_t slot = config.post_norm ? kAttnNorm : kFfnNorm;
  norm(slot, keep.middle, rows_out, work.dmiddle);
  return work.dmiddle;
}

}  // namespace troupe::model
