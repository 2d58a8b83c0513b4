#include <algorithm>
#include <cmath>
#include <cstdint>

#include <troupe/model/transformer/step_context.h>
#include <troupe/runtime/kernels/table.h>
#include <troupe/runtime/machine/aligned_buffer.h>
#include <troupe/runtime/numerics/half.h>

namespace troupe::model {
namespace {

// Up to this number of rows, it is cheaper if every thread norms and quantizes all of them than if
// the threads share them and meet at a barrier.
constexpr std::size_t kRedundantRows = 2;
// If there are at least this number of rows per thread, each thread takes its rows through whole
// layers: each weight that it reads is then used often enough.
constexpr std::size_t kRowsPerThreadMin = 12;
// The rows of a tile. The workspace for them should fit a core's second-level cache; the weights
// are read once for all of them.
constexpr std::size_t kTileRows = 32;
// The most rows of one call to the attention kernel, which bounds its scratch memory.
constexpr std::size_t kAttentionRows = 32;

// The number of values of A x that lie on the stack at once. Even at the highest rank (2048), they
// are several rows.
constexpr std::size_t kAdapterFloats = 16384;

// Rounds up to a multiple of `unit`. The number of keys is rounded up so that a growing sequence
// does not resize the scratch memory at every token.
std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

std::size_t groups_of(std::initializer_list<const Weight*> weights) {
  std::size_t sum = 0;
  for (const Weight* weight : weights) sum += weight->matrix.groups;
  return sum;
}

StepContext::StepContext(const ModelConfig& c, const StageWeights& w, Device& device,
                         kernels::KvType type)
    : config(c),
      weights(w),
      kernels(device.kernels()),
      pool(device.pool()),
      kv_type(type),
      threads(device.threads()),
      rope(rope_frequencies(c, w.ends[kRopeFactors].vector), c.rope_magnitude),
      window_rope(window_rope_frequencies(c)),
      relative_bias(c, w.ends[kRelativeBias].matrix),
      own(static_cast<std::size_t>(threads)),
      gathered(own.size()),
      plans(own.size()),
      attention_scratch(own.size()),
      attention_pieces(own.size()),
      no_bias_(c.norm_bias ? 0 : c.channels),
      tiles_taken_(w.layers.size() + 1) {}

std::byte* StepContext::take(std::size_t bytes) {
  std::byte* here = base_ == nullptr ? nullptr : base_ + used_;
  used_ += round_up(bytes, 64);
  return here;
}

template <class T>
T* StepContext::make(std::size_t count) {
  return reinterpret_cast<T*>(take(count * sizeof(T)));
}
float* StepContext::make_floats(std::size_t count) { return make<float>(count); }

RowBuffer StepContext::make_rows(std::size_t count, std::size_t columns) {
  RowBuffer out;
  out.values = make_floats(count * columns);
  kernels::QuantizedRows& to = out.quantized;
  if (weights.multiplies(columns, quant::ActivationKind::kBlocks)) {
    const std::size_t blocks = count * (columns / kernels::kBlock);
    to.q = make<std::int8_t>(count * columns);
    to.d = make_floats(blocks);
    to.s = make_floats(blocks);
    to.sum = make<std::int32_t>(blocks);
  }
  if (weights.multiplies(columns, quant::ActivationKind::kSuperblocks)) {
    to.super_q = make<std::int8_t>(count * columns);
    to.super_d = make_floats(count * (columns / kernels::kSuperblock));
    to.super_sums = make<std::int16_t>(count * (columns / kernels::kSumElements));
  }
  return out;
}

Workspace StepContext::make_workspace(std::size_t count) {
  Workspace out;
  out.normed = make_rows(count, config.channels);
  out.attended = make_rows(count, config.heads * config.head_dim);
  out.gate = make_rows(count, config.ffn_channels);
  out.up = make_floats(count * config.ffn_channels);
  out.k = make_floats(count * config.kv_heads * config.head_dim);
  out.v = make_floats(count * config.kv_heads * config.head_dim);
  if (config.output_changes() || config.experts > 0)
    out.output = make_floats(count * config.channels);
  if (config.experts == 0) return out;
  if (config.dense_channels > 0) {
    out.dense_gate = make_rows(count, config.dense_channels);
    out.dense_up = make_floats(count * config.dense_channels);
  }
  const std::size_t shares = count * config.experts_used;
  out.router = make_floats(count * config.experts);
  out.expert_gate = make_rows(shares, config.expert_channels);
  out.expert_up = make_floats(shares * config.expert_channels);
  out.expert_out = make_floats(shares * config.channels);
  if (!config.shared_expert) return out;
  out.shared_scale = make_floats(count);
  out.shared_out = make_floats(count * config.channels);
  return out;
}

void StepContext::prepare(std::size_t row_count, std::size_t keys, std::size_t logit_rows) {
  rows = row_count;
  const auto team = static_cast<std::size_t>(threads);
  by_rows = rows >= kRowsPerThreadMin * team;
  redundant = rows <= kRedundantRows;
  if (by_rows) {
    // Every thread gets the same number of tiles, and all tiles but the last have one size.
    tiles = round_up((rows + kTileRows - 1) / kTileRows, team);
    tile_rows = (rows + tiles - 1) / tiles;
    tiles = (rows + tile_rows - 1) / tile_rows;
  }
  for (auto& taken : tiles_taken_) taken.store(0, std::memory_order_relaxed);
  rope.grow(keys);
  if (config.window_rope_theta != 0.0) window_rope.grow(keys);

  kernels::AttentionArgs args;
  args.kv_type = kv_type;
  args.heads = config.heads;
  args.kv_heads = config.kv_heads;
  args.head_dim = config.head_dim;
  const std::size_t scratch = kernels::attention_scratch_floats(args, round_up(keys, 1024));

  // Lay out twice: the first time only adds up the sizes.
  const auto lay_out = [&](std::byte* base) {
    base_ = base;
    used_ = 0;
    x = make_floats(rows * config.channels);
    q = make_floats(rows * config.heads * config.head_dim);
    logit_input = make_rows(logit_rows, config.channels);
    if (config.pooler) pooled = make_rows(logit_rows, config.channels);
    if (!by_rows) shared = make_workspace(rows);
    for (std::size_t thread = 0; thread < team; ++thread) {
      own[thread] = make_workspace(by_rows ? tile_rows : kRedundantRows);
      attention_scratch[thread] = make_floats(scratch);
      if (config.experts > 0)
        gathered[thread] = make_rows(by_rows ? tile_rows : rows, config.channels);
    }
  };
  lay_out(nullptr);
  if (used_ > memory_.bytes()) memory_ = AlignedBuffer(used_);
  lay_out(memory_.data());
  if (!by_rows) plan_attention();
  if (config.experts > 0)
    for (ExpertPlan& plan : plans) plan.reserve(config, by_rows ? tile_rows : rows);
}

// Gives every thread an equal share of the work, which is proportional to rows times keys: the
// segments are laid end to end by cost and cut between heads.
void StepContext::plan_attention() {
  const auto cost = [](const SegmentRows& segment) {
    return segment.count * (segment.position + segment.count);
  };
  std::size_t total = 0;
  for (const SegmentRows& segment : segments) total += cost(segment) * config.heads;
  for (auto& pieces : attention_pieces) pieces.clear();
  std::size_t before = 0;
  for (const SegmentRows& segment : segments) {
    const std::size_t head_cost = cost(segment);
    for (std::size_t thread = 0, head = 0; thread < attention_pieces.size(); ++thread) {
      const std::size_t share_end = total / attention_pieces.size() * (thread + 1);
      std::size_t head_end = share_end <= before ? 0 : (share_end - before) / head_cost;
      if (thread + 1 == attention_pieces.size()) head_end = config.heads;
      head_end = std::min(head_end, config.heads);
      for (std::size_t row = 0; row < segment.count && head < head_end; row += kAttentionRows)
        attention_pieces[thread].push_back(
            {&segment, row, std::min(segment.count, row + kAttentionRows), head, head_end});
      head = std::max(head, head_end);
    }
    before += head_cost * config.heads;
  }
}

void StepContext::norm(const Weight& weight, const float* from, std::size_t begin, std::size_t end,
                       float* out) const {
  if (begin == end) return;
  if (config.norm == NormKind::kRms) {
    kernels.rms_norm(from, weight.vector.data(), config.norm_epsilon, config.channels, begin, end,
                     out);
  } else {
    const Weight& bias = *(&weight + 1);  // in the slot after that of `weight`
    kernels.layer_norm(from, weight.vector.data(),
                       config.norm_bias ? bias.vector.data() : no_bias_.data(), config.norm_epsilon,
                       config.channels, begin, end, out);
  }
}

void StepContext::round_activations(std::size_t begin, std::size_t end) const {
  if (!f16_activations) return;
  for (std::size_t i = begin * config.channels; i < end * config.channels; ++i)
    x[i] = f16_to_f32(f32_to_f16(x[i]));
}

void StepContext::quantize(const float* values, std::size_t columns, std::size_t begin,
                           std::size_t end, const RowBuffer& to) const {
  if (begin != end) kernels.quantize_rows(values, columns, begin, end, to.quantized);
}

namespace {

// out = bias, or out += bias, in columns [begin, end) of `count` rows.
void put_bias(const Product& product, std::size_t count, std::size_t begin, std::size_t end) {
  const float* bias = product.bias->vector.data();
  for (std::size_t row = 0; row < count; ++row) {
    float* out = product.out + row * product.weight->matrix.rows;
    if (product.accumulate) {
      for (std::size_t c = begin; c < end; ++c) out[c] += bias[c];
    } else {
      std::copy(bias + begin, bias + end, out + begin);
    }
  }
}

}  // namespace

void StepContext::multiply(const RowBuffer& input, std::size_t columns, std::size_t count,
                           std::initializer_list<Product> products, IndexRange groups) const {
  const kernels::Activations activations{count, columns, input.values, input.quantized};
  std::size_t before = 0;
  for (const Product& product : products) {
    const kernels::PackedMatrix& w = product.weight->matrix;
    const std::size_t begin = std::max(groups.begin, before) - before;
    const std::size_t end = std::clamp(groups.end, before, before + w.groups) - before;
    before += w.groups;
    if (begin >= end) continue;
    const bool biased = product.bias != nullptr && !product.bias->vector.empty();
    if (biased)
      put_bias(product, count, begin * kernels::kGroupRows,
               std::min(end * kernels::kGroupRows, w.rows));
    kernels.matmul(w, activations, begin, end, product.out, w.rows, product.accumulate || biased);
    if (product.weight->adapter != nullptr)
      add_adapter(*product.weight->adapter, activations, {begin, end}, product.out);
  }
}

// out += B (scale * A x) in the row groups of the range. Each thread forms A x for itself, because
// that is little work. A row's bits do not depend on the rows beside it.
void StepContext::add_adapter(const AdapterWeights& adapter, const kernels::Activations& x,
                              IndexRange groups, float* out) const {
  float low[kAdapterFloats];
  const kernels::PackedMatrix &a = adapter.a.matrix, &b = adapter.b.matrix;
  const std::size_t rows_max = kAdapterFloats / a.rows;
  for (std::size_t row = 0; row < x.rows; row += rows_max) {
    const std::size_t count = std::min(rows_max, x.rows - row);
    kernels.matmul(a, {count, x.columns, x.x + row * x.columns, {}}, 0, a.groups, low, a.rows,
                   /*accumulate=*/false);
    for (std::size_t i = 0; i < count * a.rows; ++i) low[i] *= config.adapter_scale;
    kernels.matmul(b, {count, a.rows, low, {}}, groups.begin, groups.end, out + row * b.rows,
                   b.rows, /*accumulate=*/true);
  }
}

void StepContext::add_output(const Weight& norm_weight, float* output, RowRange range) const {
  if (config.output_norms) norm(norm_weight, output, 0, range.count, output);
  float* to = x + range.first * config.channels;
  for (std::size_t i = 0; i < range.count * config.channels; ++i)
    to[i] += config.residual_scale * output[i];
}

// Norms each head as a row of its own, or all heads as one.
void StepContext::norm_queries_and_keys(std::size_t layer, float* q_row, float* k_row) const {
  const struct {
    Slot slot;
    float* row;
    std::size_t heads;
  } parts[] = {{kQNorm, q_row, config.heads}, {kKNorm, k_row, config.kv_heads}};
  for (const auto& part : parts) {
    const std::size_t rows = config.head_norm ? part.heads : 1;
    kernels.rms_norm(part.row, weights.layers[layer][part.slot].vector.data(), config.norm_epsilon,
                     part.heads * config.head_dim / rows, 0, rows, part.row);
  }
}

void StepContext::rotate_and_store(std::size_t layer, std::size_t first, std::size_t begin,
                                   std::size_t end, const Workspace& from) const {
  const std::size_t heads_width = config.heads * config.head_dim;
  const std::size_t kv_width = config.kv_heads * config.head_dim;
  const std::size_t number = weights.range.begin + layer;
  const bool rotates = config.rotates(number);
  const RopeTable& table =
      config.window_rope_theta != 0.0 && config.has_window(number) ? window_rope : rope;
  for (const SegmentRows& segment : segments) {
    const std::size_t from_row = std::max(first + begin, segment.first_row);
    const std::size_t to_row = std::min(first + end, segment.first_row + segment.count);
    for (std::size_t row = from_row; row < to_row; ++row) {
      const std::size_t position = segment.position + (row - segment.first_row);
      float* k = from.k + (row - first) * kv_width;
      const float* v = from.v + (row - first) * kv_width;
      if (config.head_norm || config.qk_norm)
        norm_queries_and_keys(layer, q + row * heads_width, k);
      if (rotates) {
        const float* cos_sin = table.at(position);
        kernels.rope(q + row * heads_width, config.heads, config.head_dim, config.rotary_dim,
                     cos_sin, config.rope_interleaved);
        kernels.rope(k, config.kv_heads, config.head_dim, config.rotary_dim, cos_sin,
                     config.rope_interleaved);
      }
      kernels.kv_write(k, v, segment.sequence->page(layer, position), kv_type, config.kv_heads,
                       config.head_dim, position % kernels::kPageKeys);
    }
  }
}

void StepContext::attend(std::size_t layer, const AttentionPiece& piece, std::size_t first,
                         float* out, int thread) const {
  const std::size_t width = config.heads * config.head_dim;
  const std::size_t row = piece.segment->first_row + piece.row_begin;
  kernels::AttentionArgs args;
  args.q = q + row * width;
  args.q_stride = width;
  args.out = out + (row - first) * width;
  args.out_stride = width;
  args.pages = piece.segment->sequence->pages(layer);
  args.kv_type = kv_type;
  args.heads = config.heads;
  args.kv_heads = config.kv_heads;
  args.head_dim = config.head_dim;
  args.scale = config.attention_scale != 0.0f
                   ? config.attention_scale
                   : 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  args.cap = config.attention_cap;
  args.relative = relative_bias.values();
  args.relative_reach = relative_bias.reach();
  if (config.attention_sinks) args.sinks = weights.layers[layer][kSinks].vector.data();
  args.position = piece.segment->position + piece.row_begin;
  if (config.has_window(weights.range.begin + layer)) args.window = config.window;
  if (!config.causal) args.bidirectional_keys = piece.segment->position + piece.segment->count;
  kernels.attention(args, piece.head_begin, piece.head_end, 0, piece.row_end - piece.row_begin,
                    attention_scratch[static_cast<std::size_t>(thread)]);
}

void StepContext::attend_rows(std::size_t layer, RowRange range, float* out, int thread) const {
  for (const SegmentRows& segment : segments) {
    const std::size_t begin = std::max(range.first, segment.first_row);
    const std::size_t end = std::min(range.first + range.count, segment.first_row + segment.count);
    for (std::size_t row = begin; row < end; row += kAttentionRows) {
      const std::size_t from = row - segment.first_row;
      const std::size_t to = std::min(end, row + kAttentionRows) - segment.first_row;
      attend(layer, {&segment, from, to, 0, config.heads}, range.first, out, thread);
    }
  }
}

// gate = gate * sigmoid(1.702 gate) * (up + 1), with gate at most 7 and up in [-7, 7], through
// silu(1.702 gate) = 1.702 gate * sigmoid(1.702 gate). Source: OpenAI 2025, gpt-oss.
void StepContext::clamp_gate(float* gate, float* up, std::size_t count) const {
  constexpr float kAlpha = 1.702f, kLimit = 7.0f;
  for (std::size_t i = 0; i < count; ++i) {
    gate[i] = kAlpha * std::min(gate[i], kLimit);
    up[i] = (std::clamp(up[i], -kLimit, kLimit) + 1.0f) / kAlpha;
  }
  kernels.silu_mul(gate, up, count);
}

void StepContext::activate(const RowBuffer& rows_of_gate, float* rows_of_up, std::size_t width,
                           std::size_t count, std::size_t begin, std::size_t end) const {
  if (begin >= end) return;
  for (std::size_t row = 0; row < count; ++row) {
    float* gate = rows_of_gate.values + row * width + begin;
    float* up = rows_of_up + row * width + begin;
    switch (config.feed_forward) {
      case FeedForward::kGatedSilu:
        kernels.silu_mul(gate, up, end - begin);
        break;
      case FeedForward::kGatedGelu: {
        kernels.gelu_tanh(gate, end - begin);
        for (std::size_t c = 0; c < end - begin; ++c) gate[c] *= up[c];
        break;
      }
      case FeedForward::kGatedGeluErf: {
        kernels.gelu_erf(gate, end - begin);
        for (std::size_t c = 0; c < end - begin; ++c) gate[c] *= up[c];
        break;
      }
      case FeedForward::kGatedClamped:
        clamp_gate(gate, up, end - begin);
        break;
      case FeedForward::kGeluTanh:
        kernels.gelu_tanh(gate, end - begin);
        break;
      case FeedForward::kGeluErf:
        kernels.gelu_erf(gate, end - begin);
        break;
    }
    kernels.quantize_rows(gate, end - begin, 0, 1,
                          rows_of_gate.quantized.from(row * width + begin));
  }
}

std::size_t StepContext::activate_columns(std::size_t width) const {
  return weights.multiplies(width, quant::ActivationKind::kSuperblocks) ? kernels::kSuperblock
                                                                        : kernels::kBlock;
}

}  // namespace troupe::model
