#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <troupe/model/training/head.h>
#include <troupe/runtime/kernels/column_sums.h>
#include <troupe/runtime/kernels/norm_backward.h>

namespace troupe::model {
namespace {

// memory.x = the target rows of x. No barrier: each thread takes its share of the rows.
void gather(HeadStep& step, const float* x, int thread) {
  const std::size_t channels = step.config.channels;
  const IndexRange mine = step.team.share(step.batch.target_rows.size(), thread);
  for (std::size_t i = mine.begin; i < mine.end; ++i)
    std::copy_n(x + step.batch.target_rows[i] * channels, channels, step.memory.x + i * channels);
}

// dx (T,C) = the rows of `dtargets` at the target rows, and zero elsewhere.
void scatter(HeadStep& step, const float* dtargets, float* dx, int thread) {
  const std::size_t channels = step.config.channels;
  const IndexRange mine = step.team.share(step.batch.rows, thread);
  std::fill(dx + mine.begin * channels, dx + mine.end * channels, 0.0f);
  step.team.barrier(thread);
  const IndexRange targets = step.team.share(step.batch.target_rows.size(), thread);
  for (std::size_t i = targets.begin; i < targets.end; ++i)
    std::copy_n(dtargets + i * channels, channels, dx + step.batch.target_rows[i] * channels);
  step.team.barrier(thread);
}

// Computes the gradients of a matrix and its bias, which come one after the other, from their input
// x and the gradient of their output.
void linear_gradients(HeadStep& step, std::size_t slot, const float* x, RowsOfFloats dy,
                      int thread) {
  Team& team = step.team;
  if (Parameter* matrix = step.parameters.trained(kNoLayer, slot); matrix != nullptr) {
    team.pack_inputs(thread, {x, dy.rows, step.config.channels});
    team.block_gradient(thread, *matrix, 0, dy, step.batch.supervised);
  }
  if (Parameter* bias = step.parameters.trained(kNoLayer, slot + 1); bias != nullptr)
    team.bias_gradient(thread, *bias, 0, dy, step.batch.supervised);
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
        offset_(step.slice.begin * channels_),
        slot_(output_slot(step.config)),
        matrix_(step.parameters.weights().ends[slot_].matrix) {}

  void forward(const float* x) {
    if (step_.slice.begin == 0) {
      gather(step_, x, thread_);
      norm(team_.share(rows_, thread_));
      team_.barrier(thread_);
    }
    const RowsOfFloats normed{memory_.normed + offset_, step_.rows(), channels_};
    for_each_block(step_, memory_.logits,
                   [&](std::size_t first, std::size_t columns, float* logits) {
                     team_.multiply_block(thread_, matrix_, first, first + columns, normed, logits);
                   });
  }

  void backward(float* dx) {
    Parameter& parameter = *step_.parameters.find(kNoLayer, slot_);
    if (parameter.trained) team_.pack_inputs(thread_, {memory_.normed, rows_, channels_});
    for_each_block(
        step_, memory_.logits, [&](std::size_t first, std::size_t columns, float* logits) {
          const RowsOfFloats dlogits{logits, step_.rows(), columns};
          if (parameter.trained)
            team_.block_gradient(thread_, parameter, first, dlogits, step_.batch.supervised);
          team_.multiply_transposed(thread_, matrix_, first, first + columns, dlogits,
                                    memory_.dnormed + offset_, first != 0);
        });
    if (step_.slice.end != rows_) return;
    norm_backward();
    scatter(step_, memory_.dnormed, dx, thread_);
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
  const std::size_t rows_, channels_;
  const std::size_t offset_;  // of the slice's first row in the arrays of (S,C)
  const std::size_t slot_;
  const kernels::PackedMatrix& matrix_;
};

// The head that predicts masked tokens: logits = E norm(gelu(W x + b)) + c, where E is the token
// embedding.
// Source: Devlin et al. 2019; BertForMaskedLM of transformers.
class MaskHead {
 public:
  MaskHead(HeadStep& step, int thread)
      : step_(step),
        team_(step.team),
        memory_(step.memory),
        ends_(step.parameters.weights().ends),
        thread_(thread),
        rows_(step.batch.target_rows.size()),
        channels_(step.config.channels) {}

  void forward(const float* x) {
    gather(step_, x, thread_);
    team_.barrier(thread_);
    team_.multiply(thread_, ends_[kMaskDense], &ends_[kMaskDenseBias],
                   {memory_.x, rows_, channels_}, memory_.dense);
    const IndexRange mine = team_.share(rows_, thread_);
    const std::size_t begin = mine.begin * channels_, count = mine.end * channels_ - begin;
    std::copy_n(memory_.dense + begin, count, memory_.active + begin);
    team_.kernels.gelu_erf(memory_.active + begin, count);
    if (count > 0)
      team_.kernels.layer_norm(memory_.active, gain(), ends_[kMaskNormBias].vector.data(),
                               step_.config.norm_epsilon, channels_, mine.begin, mine.end,
                               memory_.normed);
    team_.barrier(thread_);
    for_each_block(step_, memory_.logits,
                   [&](std::size_t first, std::size_t columns, float* logits) {
                     team_.multiply_block(thread_, embedding(), first, first + columns,
                                          {memory_.normed, rows_, channels_}, logits);
                     const float* bias = ends_[kMaskBias].vector.data() + first;
                     for (std::size_t row = mine.begin; row < mine.end; ++row)
                       for (std::size_t c = 0; c < columns; ++c)
                         logits[row * columns + c] += bias[c];
                   });
    team_.barrier(thread_);
  }

  void backward(float* dx) {
    Parameter* matrix = step_.parameters.trained(kNoLayer, kTokenEmbedding);
    Parameter* bias = step_.parameters.trained(kNoLayer, kMaskBias);
    if (matrix != nullptr) team_.pack_inputs(thread_, {memory_.normed, rows_, channels_});
    for_each_block(
        step_, memory_.logits, [&](std::size_t first, std::size_t columns, float* logits) {
          const RowsOfFloats dlogits{logits, rows_, columns};
          if (matrix != nullptr)
            team_.block_gradient(thread_, *matrix, first, dlogits, step_.batch.supervised);
          if (bias != nullptr)
            team_.bias_gradient(thread_, *bias, first, dlogits, step_.batch.supervised);
          team_.multiply_transposed(thread_, embedding(), first, first + columns, dlogits,
                                    memory_.dnormed, first != 0);
        });
    norm_backward();
    const IndexRange mine = team_.share(rows_, thread_);
    const std::size_t begin = mine.begin * channels_, count = mine.end * channels_ - begin;
    team_.training.gelu_erf_backward(memory_.dense + begin, memory_.normed + begin,
                                     memory_.active + begin, memory_.dense + begin, count);
    team_.barrier(thread_);
    const RowsOfFloats ddense{memory_.dense, rows_, channels_};
    linear_gradients(step_, kMaskDense, memory_.x, ddense, thread_);
    team_.multiply_transposed(thread_, ends_[kMaskDense].matrix, ddense, memory_.dnormed, false);
    scatter(step_, memory_.dnormed, dx, thread_);
  }

 private:
  const kernels::PackedMatrix& embedding() const { return ends_[kTokenEmbedding].matrix; }
  const float* gain() const { return ends_[kMaskNorm].vector.data(); }

  // memory.normed = the gradient of memory.active, from memory.dnormed.
  void norm_backward() {
    const IndexRange mine = team_.share(rows_, thread_);
    kernels::layer_norm_backward(memory_.active, gain(), memory_.dnormed, step_.config.norm_epsilon,
                                 channels_, mine.begin, mine.end, false, memory_.mean,
                                 memory_.inverse, memory_.normed);
    team_.barrier(thread_);
    const IndexRange blocks = team_.share((channels_ + 15) / 16, thread_);
    const std::size_t begin = blocks.begin * 16, end = std::min(blocks.end * 16, channels_);
    const SumPart& part = step_.batch.supervised;
    if (Parameter* found = step_.parameters.trained(kNoLayer, kMaskNorm); found != nullptr)
      kernels::normed_column_sums(memory_.dnormed, memory_.active, memory_.mean, memory_.inverse,
                                  channels_, found->sum(part), begin, end);
    if (Parameter* found = step_.parameters.trained(kNoLayer, kMaskNormBias); found != nullptr)
      kernels::column_sums(memory_.dnormed, channels_, found->sum(part), begin, end);
    team_.barrier(thread_);
  }

  HeadStep& step_;
  Team& team_;
  const HeadMemory& memory_;
  const std::array<Weight, kEnds>& ends_;
  const int thread_;
  const std::size_t rows_, channels_;
};

// logits = Wc x + bc of each target row.
void token_forward(HeadStep& step, const float* x, int thread) {
  const auto& ends = step.parameters.weights().ends;
  gather(step, x, thread);
  step.team.barrier(thread);
  step.team.multiply(thread, ends[kClassifier], &ends[kClassifierBias],
                     {step.memory.x, step.batch.target_rows.size(), step.config.channels},
                     step.memory.logits);
}

void token_backward(HeadStep& step, float* dx, int thread) {
  const RowsOfFloats dlogits{step.memory.logits, step.batch.target_rows.size(), step.config.labels};
  linear_gradients(step, kClassifier, step.memory.x, dlogits, thread);
  step.team.multiply_transposed(thread, step.parameters.weights().ends[kClassifier].matrix, dlogits,
                                step.memory.dnormed, false);
  scatter(step, step.memory.dnormed, dx, thread);
}

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
  const RowsOfFloats dlogits{memory.logits, rows, step.config.labels};
  linear_gradients(step, kClassifier, memory.normed, dlogits, thread);
  team.multiply_transposed(thread, ends[kClassifier].matrix, dlogits, memory.dnormed, false);
  const IndexRange mine = team.share(rows * channels, thread);
  for (std::size_t i = mine.begin; i < mine.end; ++i)
    memory.dnormed[i] *= 1.0f - memory.normed[i] * memory.normed[i];
  team.barrier(thread);
  linear_gradients(step, kPooler, memory.x, {memory.dnormed, rows, channels}, thread);
  team.multiply_transposed(thread, ends[kPooler].matrix, {memory.dnormed, rows, channels}, dx,
                           false);
}

}  // namespace

void head_forward(HeadStep& step, const float* x, int thread) {
  if (step.config.causal) return Decoder(step, thread).forward(x);
  switch (step.config.head) {
    case EncoderHead::kSequence:
      return classifier_forward(step, x, thread);
    case EncoderHead::kToken:
      return token_forward(step, x, thread);
    case EncoderHead::kMask:
      return MaskHead(step, thread).forward(x);
  }
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
  if (step.config.causal) return Decoder(step, thread).backward(dx);
  switch (step.config.head) {
    case EncoderHead::kSequence:
      return classifier_backward(step, dx, thread);
    case EncoderHead::kToken:
      return token_backward(step, dx, thread);
    case EncoderHead::kMask:
      return MaskHead(step, thread).backward(dx);
  }
}

}  // namespace troupe::model
