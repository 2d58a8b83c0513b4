#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/kernels/training_targets.h>
#include <troupe/runtime/numerics/derivatives.h>
#include <troupe/runtime/numerics/elementary.h>

// The training kernels of the scalar target: plain loops with std::fma.

namespace troupe::kernels {
namespace {

constexpr std::size_t kPanelColumns = 4;

void pack_panels(const float* x, std::size_t rows, std::size_t columns, std::size_t panel_begin,
                 std::size_t panel_end, float* out) {
  for (std::size_t panel = panel_begin; panel < panel_end; ++panel)
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t i = 0; i < kPanelColumns; ++i) {
        const std::size_t column = panel * kPanelColumns + i;
        out[(panel * rows + row) * kPanelColumns + i] =
            column < columns ? x[row * columns + column] : 0.0f;
      }
}

void weight_gradient(const float* panels, std::size_t columns, const float* dy, std::size_t rows,
                     std::size_t outputs, const GradientSum& sum, std::size_t group_begin,
                     std::size_t group_end, float*) {
  for (std::size_t group = group_begin; group < group_end; ++group) {
    const std::size_t present = std::min(kGroupRows, outputs - group * kGroupRows);
    for (std::size_t column = 0; column < columns; ++column) {
      const float* x =
          panels + column / kPanelColumns * rows * kPanelColumns + column % kPanelColumns;
      run_sum<kGroupRows>(sum, (group * columns + column) * kGroupRows,
                          [&](std::size_t begin, std::size_t end, float* out) {
                            std::fill_n(out, kGroupRows, 0.0f);
                            for (std::size_t row = begin; row < end; ++row)
                              for (std::size_t r = 0; r < present; ++r)
                                out[r] = std::fma(dy[row * outputs + group * kGroupRows + r],
                                                  x[row * kPanelColumns], out[r]);
                          });
    }
  }
}

float sum_by_tree(float* partial) {
  for (std::size_t apart = 8; apart > 0; apart /= 2)
    for (std::size_t i = 0; i < apart; ++i) partial[i] += partial[i + apart];
  return partial[0];
}

float key_at(const AttentionBackwardArgs& args, std::size_t kv_head, std::size_t key,
             std::size_t channel) {
  const std::size_t in_page = key % kPageKeys;
  const std::size_t block = kv_head * (kPageKeys / kKeyBlock) + in_page / kKeyBlock;
  const std::size_t index = (block * args.head_dim + channel) * kKeyBlock + in_page % kKeyBlock;
  float value;
  std::memcpy(&value, args.pages[key / kPageKeys] + index * sizeof(float), sizeof value);
  return value;
}

float value_at(const AttentionBackwardArgs& args, std::size_t kv_head, std::size_t key,
               std::size_t channel) {
  const std::size_t index =
      ((args.kv_heads + kv_head) * kPageKeys + key % kPageKeys) * args.head_dim + channel;
  float value;
  std::memcpy(&value, args.pages[key / kPageKeys] + index * sizeof(float), sizeof value);
  return value;
}

// Computes p and ds of one row for keys [first, last], and zeros for the others below args.count.
void row_probabilities(const AttentionBackwardArgs& args, std::size_t head, std::size_t row,
                       float* p, float* ds) {
  const std::size_t kv_head = head / (args.heads / args.kv_heads),
                    width = args.heads * args.head_dim;
  const std::size_t last = args.bidirectional ? args.count - 1 : row;
  const std::size_t first = args.window != 0 && last + 1 > args.window ? last + 1 - args.window : 0;
  const std::size_t at = row * width + head * args.head_dim;
  std::fill_n(p, args.count, 0.0f);
  std::fill_n(ds, args.count, 0.0f);
  float largest = -std::numeric_limits<float>::infinity();
  for (std::size_t j = first; j <= last; ++j) {
    for (std::size_t begin = 0; begin < args.head_dim; begin += kSumColumns) {
      float score = 0.0f, dp = 0.0f;
      for (std::size_t c = begin; c < std::min(begin + kSumColumns, args.head_dim); ++c) {
        score = std::fma(key_at(args, kv_head, j, c), args.q[at + c], score);
        dp = std::fma(value_at(args, kv_head, j, c), args.dout[at + c], dp);
      }
      p[j] = begin == 0 ? score : p[j] + score;
      ds[j] = begin == 0 ? dp : ds[j] + dp;
    }
    p[j] = p[j] * args.scale;
    largest = p[j] > largest ? p[j] : largest;
  }
  float partial[16] = {}, products[16] = {};
  for (std::size_t j = first; j <= last; ++j) {
    p[j] = exp_bits(p[j] - largest);
    partial[j % 16] += p[j];
  }
  for (std::size_t c = 0; c < args.head_dim; ++c)
    products[c % 16] = std::fma(args.dout[at + c], args.out[at + c], products[c % 16]);
  const float total = sum_by_tree(partial), d = sum_by_tree(products);
  for (std::size_t j = first; j <= last; ++j) {
    p[j] = p[j] / total;
    ds[j] = p[j] * (ds[j] - d) * args.scale;
  }
}

void attention_backward(const AttentionBackwardArgs& args, std::size_t head_begin,
                        std::size_t head_end, float* scratch) {
  const std::size_t count = args.count, width = args.heads * args.head_dim;
  float *p = scratch, *ds = scratch + count;
  float *dk_part = ds + count, *dv_part = dk_part + count * args.head_dim;
  for (std::size_t head = head_begin; head < head_end; ++head) {
    const std::size_t kv_head = head / (args.heads / args.kv_heads), column = head * args.head_dim;
    std::fill_n(dk_part, 2 * count * args.head_dim, 0.0f);
    for (std::size_t row = 0; row < args.rows; ++row) {
      row_probabilities(args, head, row, p, ds);
      const std::size_t at = row * width + column;
      const BackwardKeys keys = backward_keys(args, row / kBackwardRows * kBackwardRows);
      for (std::size_t c = 0; c < args.head_dim; ++c) {
        float sum = 0.0f;
        for (std::size_t j = keys.begin; j < keys.end;) {
          const std::size_t cut = std::min(keys.end, (j / kSumKeys + 1) * kSumKeys);
          const bool is_first = j == keys.begin;
          float part = 0.0f;
          for (; j < cut; ++j) part = std::fma(ds[j], key_at(args, kv_head, j, c), part);
          sum = is_first ? part : sum + part;
        }
        args.dq[at + c] = sum;
      }
      for (std::size_t j = keys.begin; j < keys.end; ++j)
        for (std::size_t c = 0; c < args.head_dim; ++c) {
          float& dk = dk_part[j * args.head_dim + c];
          float& dv = dv_part[j * args.head_dim + c];
          dk = std::fma(ds[j], args.q[at + c], dk);
          dv = std::fma(p[j], args.dout[at + c], dv);
        }
      if ((row + 1) % kBackwardCut != 0 && row + 1 != args.rows) continue;
      const bool is_first = row < kBackwardCut;
      for (std::size_t i = 0; i < count * args.head_dim; ++i) {
        const std::size_t to = i / args.head_dim * width + column + i % args.head_dim;
        args.dk[to] = is_first ? dk_part[i] : args.dk[to] + dk_part[i];
        args.dv[to] = is_first ? dv_part[i] : args.dv[to] + dv_part[i];
      }
      std::fill_n(dk_part, 2 * count * args.head_dim, 0.0f);
    }
  }
}

void silu_mul_backward(const float* gate, const float* up, const float* dh, float* h, float* dgate,
                       float* dup, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const float g = gate[i], u = up[i], gradient = dh[i];
    const float bottom = 1.0f + exp_bits(-g), activated = g / bottom;
    h[i] = activated * u;
    dgate[i] = gradient * u * silu_slope_bits(g, 1.0f / bottom);
    dup[i] = gradient * activated;
  }
}

void gelu_tanh_backward(const float* x, const float* dh, float* h, float* dx, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const float value = x[i];  // read first, because h may be the same array as x
    dx[i] = dh[i] * gelu_tanh_slope_bits(value);
    h[i] = gelu_tanh_bits(value);
  }
}

void gelu_erf_backward(const float* x, const float* dh, float* h, float* dx, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const float value = x[i];  // read first, because h may be the same array as x
    dx[i] = dh[i] * gelu_erf_slope_bits(value);
    h[i] = gelu_erf_bits(value);
  }
}

}  // namespace

const TrainingKernels& scalar_training_table() {
  static constexpr TrainingKernels kTable = {
      .isa = Isa::kScalar,
      .panel_columns = kPanelColumns,
      .pack_panels = pack_panels,
      .weight_gradient = weight_gradient,
      .attention_backward = attention_backward,
      .silu_mul_backward = silu_mul_backward,
      .gelu_tanh_backward = gelu_tanh_backward,
      .gelu_erf_backward = gelu_erf_backward,
  };
  return kTable;
}

}  // namespace troupe::kernels
