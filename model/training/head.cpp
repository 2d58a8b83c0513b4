#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include <troupe/model/training/head.h>
#include <troupe/runtime/kernels/column_sums.h>
#include <troupe/runtime/kernels/norm_backward.h>
#include <troupe/runtime/numerics/elementary.h>

namespace troupe::model {
namespace {

// Calls body(first column, columns, block of logits) for each block. A classifier's logits are one.
template <class Body>
void for_each_block(const HeadStep& step, std::size_t outputs, Body body) {
  const std::size_t rows = step.batch.target_rows.size();
  const std::size_t block = step.config.causal ? kVocabularyBlock : outputs;
  for (std::size_t first = 0; first < outputs; first += block)
    body(first, std::min(block, outputs - first), step.memory.logits + first * rows);
}

class Decoder {
 public:
  Decoder(HeadStep& step, int thread)
      : step_(step),
        team_(step.team),
        memory_(step.memory),
        thread_(thread),
        rows_(step.batch.target_rows.size()),
        channels_(step.config.channels),
        slot_(step.config.tied_embedding ? kTokenEmbedding : kOutput),
        matrix_(step.parameters.weights().ends[slot_].matrix) {}

  void forward(const float* x) {
    const IndexRange mine = team_.share(rows_, thread_);
    for (std::size_t i = mine.begin; i < mine.end; ++i)
      std::copy_n(x + step_.batch.target_rows[i] * channels_, channels_, memory_.x + i * channels_);
    norm(mine);
    team_.barrier(thread_);
    for_each_block(step_, matrix_.rows, [&](std::size_t first, std::size_t columns, float* logits) {
      team_.multiply_block(thread_, matrix_, first, first + columns,
                           {memory_.normed, rows_, channels_}, logits);
    });
  }

  void backward(float* dx) {
    Parameter& parameter = *step_.parameters.find(kNoLayer, slot_);
    if (parameter.trained) team_.pack_inputs(thread_, {memory_.normed, rows_, channels_});
    for_each_block(step_, matrix_.rows, [&](std::size_t first, std::size_t columns, float* logits) {
      if (parameter.trained)
        team_.block_gradient(thread_, parameter, first, {logits, rows_, columns},
                             step_.batch.supervised);
      team_.multiply_transposed(thread_, matrix_, first, first + columns, {logits, rows_, columns},
                                memory_.dnormed, first != 0);
    });
    norm_backward();
    const IndexRange mine = team_.share(step_.batch.rows, thread_);
    std::fill(dx + mine.begin * channels_, dx + mine.end * channels_, 0.0f);
    team_.barrier(thread_);
    const IndexRange targets = team_.share(rows_, thread_);
    for (std::size_t i = targets.begin; i < targets.end; ++i)
      std::copy_n(memory_.dnormed + i * channels_, channels_,
                  dx + step_.batch.target_rows[i] * channels_);
    team_.barrier(thread_);
  }

 private:
  bool layer_norm() const { return step_.config.norm == NormKind::kLayer; }
  const float* gain() const { return step_.parameters.weights().ends[kOutputNorm].vector.data(); }

  void norm(IndexRange mine) {
    if (mine.begin == mine.end) return;
    const float epsilon = step_.config.norm_epsilon;
    if (layer_norm()) {
      team_.kernels.layer_norm(memory_.x, gain(),
                               step_.parameters.weights().ends[kOutputNormBias].vector.data(),
                               epsilon, channels_, mine.begin, mine.end, memory_.normed);
    } else {
      team_.kernels.rms_norm(memory_.x, gain(), epsilon, channels_, mine.begin, mine.end,
                             memory_.normed);
    }
  }

  // memory.dnormed becomes the gradient of memory.x; memory.normed is used up.
  void norm_backward() {
    const IndexRange mine = team_.share(rows_, thread_);
    const float epsilon = step_.config.norm_epsilon;
    float *dy = memory_.dnormed, *dx = memory_.normed;
    if (layer_norm()) {
      kernels::layer_norm_backward(memory_.x, gain(), dy, epsilon, channels_, mine.begin, mine.end,
                                   false, memory_.mean, memory_.inverse, dx);
    } else {
      kernels::rms_norm_backward(memory_.x, gain(), dy, epsilon, channels_, mine.begin, mine.end,
                                 false, memory_.inverse, dx);
    }
    team_.barrier(thread_);
    const IndexRange blocks = team_.share((channels_ + 15) / 16, thread_);
    const std::size_t begin = blocks.begin * 16, end = std::min(blocks.end * 16, channels_);
    const SumPart& part = step_.batch.supervised;
    Parameter* gain_parameter = step_.parameters.trained(kNoLayer, kOutputNorm);
    if (gain_parameter != nullptr)
      kernels::normed_column_sums(dy, memory_.x, layer_norm() ? memory_.mean : nullptr,
                                  memory_.inverse, channels_, gain_parameter->sum(part), begin,
                                  end);
    Parameter* bias = layer_norm() ? step_.parameters.trained(kNoLayer, kOutputNormBias) : nullptr;
    if (bias != nullptr) kernels::column_sums(dy, channels_, bias->sum(part), begin, end);
    team_.barrier(thread_);
    std::copy(dx + mine.begin * channels_, dx + mine.end * channels_, dy + mine.begin * channels_);
    team_.barrier(thread_);
  }

  HeadStep& step_;
  Team& team_;
  const HeadMemory& memory_;
  const int thread_;
  const std::size_t rows_, channels_, slot_;
  const kernels::PackedMatrix& matrix_;
};

// logits = Wc tanh(Wp x + bp) + bc, as the CPU's stage computes them (transformer/cpu_stage.cpp).
void classifier_forward(HeadStep& step, const float* x, int thread) {
  const auto& ends = step.parameters.weights().ends;
  const std::size_t rows = step.batch.target_rows.size(), channels = step.config.channels;
  Team& team = step.team;
  team.multiply(thread, ends[kPooler], &ends[kPoolerBias], {x, rows, channels}, step.memory.normed);
  const IndexRange mine = team.share(rows * channels, thread);
  team.kernels.tanh(step.memory.normed + mine.begin, step.memory.normed + mine.begin,
                    mine.end - mine.begin);
  const IndexRange copied = team.share(rows * channels, thread);
  std::copy(x + copied.begin, x + copied.end, step.memory.x + copied.begin);
  team.barrier(thread);
  team.multiply(thread, ends[kClassifier], &ends[kClassifierBias],
                {step.memory.normed, rows, channels}, step.memory.logits);
}

void classifier_backward(HeadStep& step, float* dx, int thread) {
  const auto& ends = step.parameters.weights().ends;
  const std::size_t rows = step.batch.target_rows.size(), channels = step.config.channels;
  const HeadMemory& memory = step.memory;
  Team& team = step.team;
  Parameters& parameters = step.parameters;
  const RowsOfFloats dlogits{memory.logits, rows, step.config.labels};
  const auto gradients = [&](std::size_t slot, const float* x, RowsOfFloats dy) {
    if (Parameter* matrix = parameters.trained(kNoLayer, slot); matrix != nullptr) {
      team.pack_inputs(thread, {x, rows, channels});
      team.block_gradient(thread, *matrix, 0, dy, step.batch.supervised);
    }
    if (Parameter* bias = parameters.trained(kNoLayer, slot + 1); bias != nullptr)
      team.bias_gradient(thread, *bias, dy, step.batch.supervised);
  };
  gradients(kClassifier, memory.normed, dlogits);
  team.multiply_transposed(thread, ends[kClassifier].matrix, dlogits, memory.dnormed, false);
  const IndexRange mine = team.share(rows * channels, thread);
  for (std::size_t i = mine.begin; i < mine.end; ++i)
    memory.dnormed[i] *= 1.0f - memory.normed[i] * memory.normed[i];
  team.barrier(thread);
  gradients(kPooler, memory.x, {memory.dnormed, rows, channels});
  team.multiply_transposed(thread, ends[kPooler].matrix, {memory.dnormed, rows, channels}, dx,
                           false);
}

// The logits of one row, which lie in blocks.
class LogitRow {
 public:
  LogitRow(const HeadStep& step, std::size_t row)
      : step_(step), row_(row), outputs_(step.config.outputs()) {}
  template <class Body>
  void for_each(Body body) const {
    for_each_block(step_, outputs_, [&](std::size_t first, std::size_t columns, float* logits) {
      body(first, columns, logits + row_ * columns);
    });
  }
  float& at(std::size_t index) const {
    float* found = nullptr;
    for_each([&](std::size_t first, std::size_t columns, float* logits) {
      if (index >= first && index < first + columns) found = logits + (index - first);
    });
    return *found;
  }

 private:
  const HeadStep& step_;
  const std::size_t row_, outputs_;
};

// Adds up 16 partial sums in one fixed order.
float sum_of(float (&partial)[16]) {
  for (std::size_t apart = 8; apart > 0; apart /= 2)
    for (std::size_t i = 0; i < apart; ++i) partial[i] += partial[i + apart];
  return partial[0];
}

// loss.h's formula, where log p_c = d_c - log(sum of exp(d)), d_c = x_c - largest. The gradient of
// x_k is p_k (own + even W) - even w_k, less `own` at the target, with own = (1 - s) w_y, even =
// s / C and W the sum of all w.
class SmoothedRow {
 public:
  SmoothedRow(const HeadStep& step, const LogitRow& logits, std::size_t target)
      : weights_(step.loss.class_weights),
        even_(step.loss.label_smoothing / static_cast<float>(step.config.outputs())),
        own_((1.0f - step.loss.label_smoothing) * weight(target)) {
    // A block has a multiple of 16 columns, but for the last one.
    float all[16] = {}, partial[16] = {};
    logits.for_each([&](std::size_t first, std::size_t columns, const float* d) {
      for (std::size_t i = 0; i < columns; ++i) {
        all[i % 16] += weight(first + i);
        partial[i % 16] += weight(first + i) * d[i];
      }
    });
    all_ = sum_of(all);
    weighted_ = sum_of(partial);
  }

  float loss(float distance, float log_sum) const {
    return own_ * (log_sum - distance) + even_ * (all_ * log_sum - weighted_);
  }
  // Turns the row's probabilities into the gradient.
  void gradient(const LogitRow& logits, std::size_t target) const {
    logits.for_each([&](std::size_t first, std::size_t columns, float* p) {
      for (std::size_t i = 0; i < columns; ++i)
        p[i] = p[i] * (own_ + even_ * all_) - even_ * weight(first + i);
    });
    logits.at(target) -= own_;
  }

 private:
  float weight(std::size_t index) const { return weights_.empty() ? 1.0f : weights_[index]; }
  const std::vector<float>& weights_;
  const float even_, own_;
  float all_ = 0.0f, weighted_ = 0.0f;
};

// loss = log(sum of exp(x - largest)) - (x[target] - largest), where the sum has 16 partial sums.
void row_cross_entropy(HeadStep& step, std::size_t row, bool gradients) {
  const LogitRow logits(step, row);
  const std::size_t target = step.batch.targets[row];
  float largest = logits.at(0);
  std::size_t choice = 0;
  logits.for_each([&](std::size_t first, std::size_t columns, const float* x) {
    for (std::size_t i = 0; i < columns; ++i)
      if (x[i] > largest) largest = x[i], choice = first + i;
  });
  const float distance = logits.at(target) - largest;
  logits.for_each([&](std::size_t, std::size_t columns, float* x) {
    for (std::size_t i = 0; i < columns; ++i) x[i] -= largest;
  });
  std::optional<SmoothedRow> smoothed;
  if (step.loss.label_smoothing != 0.0f || !step.loss.class_weights.empty())
    smoothed.emplace(step, logits, target);
  float partial[16] = {};
  logits.for_each([&](std::size_t, std::size_t columns, float* x) {
    step.team.kernels.exp(x, x, columns);
    const std::size_t whole = columns / 16 * 16;
    for (std::size_t i = 0; i < whole; i += 16)
      for (std::size_t lane = 0; lane < 16; ++lane) partial[lane] += x[i + lane];
    for (std::size_t i = whole; i < columns; ++i) partial[i - whole] += x[i];
  });
  const float sum = sum_of(partial), log_sum = log_bits(sum);
  const float weight = step.batch.weights[row];
  step.memory.losses[row] =
      weight * (smoothed ? smoothed->loss(distance, log_sum) : log_sum - distance);
  step.memory.hits[row] = choice == target ? 1 : 0;
  if (!gradients) return;
  logits.for_each([&](std::size_t, std::size_t columns, float* x) {
    for (std::size_t i = 0; i < columns; ++i) x[i] = x[i] / sum;
  });
  if (smoothed) {
    smoothed->gradient(logits, target);
  } else {
    logits.at(target) -= 1.0f;
  }
  if (weight == 1.0f) return;
  logits.for_each([&](std::size_t, std::size_t columns, float* x) {
    for (std::size_t i = 0; i < columns; ++i) x[i] *= weight;
  });
}

// loss = (x - value)^2, whose gradient is 2 (x - value).
void row_squares(HeadStep& step, std::size_t row, bool gradients) {
  float& x = LogitRow(step, row).at(0);
  const float distance = x - step.batch.values[row], weight = step.batch.weights[row];
  step.memory.losses[row] = weight * (distance * distance);
  step.memory.hits[row] = 0;
  if (gradients) x = weight * (2.0f * distance);
}

}  // namespace

void head_forward(HeadStep& step, const float* x, int thread) {
  if (step.config.causal) {
    Decoder(step, thread).forward(x);
  } else {
    classifier_forward(step, x, thread);
  }
}

void row_losses(HeadStep& step, bool gradients, int thread) {
  const IndexRange mine = step.team.share(step.batch.target_rows.size(), thread);
  for (std::size_t row = mine.begin; row < mine.end; ++row) {
    if (step.loss.kind == LossKind::kSquares) {
      row_squares(step, row, gradients);
    } else {
      row_cross_entropy(step, row, gradients);
    }
  }
  step.team.barrier(thread);
}

void pool_forward(HeadStep& step, const float* x, int thread) {
  const std::size_t channels = step.config.channels;
  const IndexRange mine = step.team.share(step.batch.examples.size(), thread);
  std::vector<double> sum(channels);
  for (std::size_t e = mine.begin; e < mine.end; ++e) {
    const ExampleRows& rows = step.batch.examples[e];
    std::fill(sum.begin(), sum.end(), 0.0);
    for (std::size_t row = rows.first_row; row < rows.first_row + rows.count; ++row)
      for (std::size_t c = 0; c < channels; ++c)
        sum[c] += static_cast<double>(x[row * channels + c]);
    for (std::size_t c = 0; c < channels; ++c)
      step.memory.x[e * channels + c] =
          static_cast<float>(sum[c] / static_cast<double>(rows.count));
  }
  step.team.barrier(thread);
}

void pool_backward(HeadStep& step, const float* dpooled, float* dx, int thread) {
  const std::size_t channels = step.config.channels;
  const IndexRange mine = step.team.share(step.batch.examples.size(), thread);
  for (std::size_t e = mine.begin; e < mine.end; ++e) {
    const ExampleRows& rows = step.batch.examples[e];
    const auto count = static_cast<float>(rows.count);
    for (std::size_t row = rows.first_row; row < rows.first_row + rows.count; ++row)
      for (std::size_t c = 0; c < channels; ++c)
        dx[row * channels + c] = dpooled[e * channels + c] / count;
  }
  step.team.barrier(thread);
}

void head_backward(HeadStep& step, float* dx, int thread) {
  if (step.config.causal) {
    Decoder(step, thread).backward(dx);
  } else {
    classifier_backward(step, dx, thread);
  }
}

}  // namespace troupe::model
