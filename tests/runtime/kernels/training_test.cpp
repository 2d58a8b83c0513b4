#include <cmath>
#include <functional>

#include <catch2/catch.hpp>

#include <troupe/runtime/kernels/column_sums.h>
#include <troupe/runtime/kernels/norm_backward.h>
#include <troupe/runtime/kernels/training_table.h>
#include <troupe/runtime/kernels/transposed.h>
#include <troupe/tests/runtime/kernels/kernel_fixture.h>

using namespace troupe;
using namespace troupe::kernels;

namespace {

// Returns the oracle of a sum over rows: chains over the rows of each leaf, run as SumStep says.
float reference_sum(const std::vector<SumStep>& steps, const std::function<float(std::size_t)>& a,
                    const std::function<float(std::size_t)>& b) {
  std::vector<float> stack;
  for (const SumStep& step : steps) {
    float leaf = 0.0f;
    for (std::size_t row = step.begin; row < step.end; ++row) leaf = std::fma(a(row), b(row), leaf);
    if (step.adds) {
      stack.back() = stack.back() + leaf;
    } else {
      stack.push_back(leaf);
    }
    for (std::uint32_t merge = 0; merge < step.merges; ++merge) {
      const float top = stack.back();
      stack.pop_back();
      stack.back() = stack.back() + top;
    }
  }
  REQUIRE(stack.size() == 1);
  return stack[0];
}

// There are three slots. The first has leaves of 5 rows and 1 row, the second has one leaf of 7
// rows, and the third has leaves of 3 and 2 rows.
const std::vector<SumStep> kSteps{
    {0, 5, false, 0}, {5, 6, true, 0}, {6, 13, false, 1}, {13, 16, false, 0}, {16, 18, true, 1}};
constexpr std::size_t kRows = 18;

float* floats(AlignedBuffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }

// Computes dW of `outputs` x `columns` in the packed layout, in one piece or in two micro-batches.
std::vector<float> weight_gradient(const TrainingKernels& kernels, const std::vector<float>& x,
                                   const std::vector<float>& dy, std::size_t columns,
                                   std::size_t outputs, bool in_two) {
  const std::size_t groups = (outputs + 15) / 16, size = groups * 16 * columns;
  const std::size_t panels = (columns + kernels.panel_columns - 1) / kernels.panel_columns;
  std::vector<float> packed(panels * kernels.panel_columns * kRows),
      scratch(kGradientOutputs * kRows);
  std::vector<std::vector<float>> stack(kSumStackMax, std::vector<float>(size));
  // The first two slots make one micro-batch of 13 rows, the third another one.
  const auto run = [&](std::size_t first_row, std::size_t rows, std::span<const SumStep> steps,
                       std::size_t depth_in, std::size_t depth_out) {
    std::vector<SumStep> own(steps.begin(), steps.end());
    for (SumStep& step : own) step.begin -= first_row, step.end -= first_row;
    GradientSum sum{own, depth_in, depth_out, {}};
    for (std::size_t i = 0; i < kSumStackMax; ++i) sum.stack[i] = stack[i].data();
    kernels.pack_panels(x.data() + first_row * columns, rows, columns, 0, panels, packed.data());
    kernels.weight_gradient(packed.data(), columns, dy.data() + first_row * outputs, rows, outputs,
                            sum, 0, groups, scratch.data());
  };
  const std::span<const SumStep> all(kSteps);
  if (in_two) {
    run(0, 13, all.first(3), 0, 1);
    run(13, 5, all.subspan(3), 1, 1);
  } else {
    run(0, kRows, all, 0, 1);
  }
  return stack[0];
}

// A small attention: q, k, v and the gradient of its output, of one example.
struct SmallAttention {
  SmallAttention(std::size_t count, std::size_t heads, std::size_t kv_heads, std::size_t head_dim,
                 std::size_t window, bool bidirectional)
      : width(heads * head_dim), kv_width(kv_heads * head_dim) {
    Random random(static_cast<unsigned>(count + 7 * head_dim + window));
    q = random_floats(random, count * width);
    k = random_floats(random, count * kv_width);
    v = random_floats(random, count * kv_width);
    dout = random_floats(random, count * width);
    args.heads = heads;
    args.kv_heads = kv_heads;
    args.head_dim = head_dim;
    args.count = args.rows = count;
    args.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    args.window = window;
    args.bidirectional = bidirectional;
  }

  // Runs forward and backward: takes q, k and v, and returns their gradients.
  void run(Isa isa) {
    const std::size_t count = args.count, pages_count = (count + kPageKeys - 1) / kPageKeys;
    const std::size_t bytes = kv_page_bytes(KvType::kF32, args.kv_heads, args.head_dim);
    AlignedBuffer memory(pages_count * bytes);
    std::memset(memory.data(), 0, memory.bytes());
    std::vector<const std::byte*> pages;
    for (std::size_t i = 0; i < pages_count; ++i) pages.push_back(memory.data() + i * bytes);
    for (std::size_t i = 0; i < count; ++i)
      table(isa).kv_write(k.data() + i * kv_width, v.data() + i * kv_width,
                          memory.data() + i / kPageKeys * bytes, KvType::kF32, args.kv_heads,
                          args.head_dim, i % kPageKeys);
    std::vector<float> out(count * width), dk_heads(count * width), dv_heads(count * width);
    AttentionArgs forward;
    forward.q = q.data();
    forward.out = out.data();
    forward.q_stride = forward.out_stride = width;
    forward.pages = pages.data();
    forward.kv_type = KvType::kF32;
    forward.heads = args.heads;
    forward.kv_heads = args.kv_heads;
    forward.head_dim = args.head_dim;
    forward.scale = args.scale;
    forward.window = args.window;
    if (args.bidirectional) forward.bidirectional_keys = count;
    std::vector<float> scratch(std::max(attention_scratch_floats(forward, count),
                                        attention_backward_scratch_floats(count, args.head_dim)));
    table(isa).attention(forward, 0, args.heads, 0, count, scratch.data());
    dq.assign(count * width, 0.0f);
    args.q = q.data();
    args.out = out.data();
    args.dout = dout.data();
    args.dq = dq.data();
    args.dk = dk_heads.data();
    args.dv = dv_heads.data();
    args.pages = pages.data();
    training_table(isa).attention_backward(args, 0, args.heads, scratch.data());
    dk = add_heads(dk_heads);
    dv = add_heads(dv_heads);
  }

  std::vector<float> add_heads(const std::vector<float>& of_heads) const {
    std::vector<float> sums(args.count * kv_width);
    const std::size_t sharing = args.heads / args.kv_heads;
    for (std::size_t i = 0; i < of_heads.size(); ++i) {
      const std::size_t row = i / width, head = i % width / args.head_dim;
      sums[row * kv_width + head / sharing * args.head_dim + i % args.head_dim] += of_heads[i];
    }
    return sums;
  }

  // Returns the sum of dout * attention(q, k, v) in double precision: the oracle's loss.
  double loss() const {
    double sum = 0;
    for (std::size_t row = 0; row < args.count; ++row)
      for (std::size_t head = 0; head < args.heads; ++head) {
        const std::size_t kv = head / (args.heads / args.kv_heads) * args.head_dim;
        const std::size_t last = args.bidirectional ? args.count - 1 : row;
        const std::size_t first =
            args.window != 0 && last + 1 > args.window ? last + 1 - args.window : 0;
        double total = 0, weighted = 0;
        for (std::size_t j = first; j <= last; ++j) {
          double score = 0, value = 0;
          for (std::size_t c = 0; c < args.head_dim; ++c) {
            const std::size_t at = row * width + head * args.head_dim + c;
            score += double{q[at]} * double{k[j * kv_width + kv + c]};
            value += double{dout[at]} * double{v[j * kv_width + kv + c]};
          }
          const double p = std::exp(score * double{args.scale});
          total += p;
          weighted += p * value;
        }
        sum += weighted / total;
      }
    return sum;
  }

  // Returns the largest difference between `gradient` and finite differences of the loss by
  // `input`.
  double finite_difference_error(std::vector<float>& input, const std::vector<float>& gradient) {
    double worst = 0;
    for (std::size_t i = 0; i < input.size(); i += 1 + input.size() / 97) {
      const float saved = input[i];
      constexpr float kStep = 1.0f / 1024;
      input[i] = saved + kStep;
      const double above = loss(), up = double{input[i]};
      input[i] = saved - kStep;
      const double slope = (above - loss()) / (up - double{input[i]});
      input[i] = saved;
      worst = std::max(worst, std::abs(slope - double{gradient[i]}));
    }
    return worst;
  }

  AttentionBackwardArgs args;
  std::size_t width, kv_width;
  std::vector<float> q, k, v, dout, dq, dk, dv;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("weight gradients are the oracle's sums, whole or in micro-batches") {
  Random random(1);
  for (const auto& [columns, outputs] : {std::pair<std::size_t, std::size_t>{1, 1},
                                         {5, 17},
                                         {6, 16},
                                         {13, 40},
                                         {64, 3},
                                         {24, 80},
                                         {25, 145}}) {
    const auto x = random_floats(random, kRows * columns),
               dy = random_floats(random, kRows * outputs);
    for (const Isa isa : supported_isas())
      for (const bool in_two : {false, true}) {
        INFO(isa_name(isa) << ", " << outputs << " x " << columns);
        const auto packed = weight_gradient(training_table(isa), x, dy, columns, outputs, in_two);
        for (std::size_t o = 0; o < outputs; ++o)
          for (std::size_t c = 0; c < columns; ++c) {
            const float expected = reference_sum(
                kSteps, [&](std::size_t row) { return dy[row * outputs + o]; },
                [&](std::size_t row) { return x[row * columns + c]; });
            REQUIRE(packed[(o / 16 * columns + c) * 16 + o % 16] == expected);
          }
      }
  }
}

TEST_CASE("attention's gradients are those of finite differences, with the same bits everywhere") {
  struct Shape {
    std::size_t count, heads, kv_heads, head_dim, window;
    bool bidirectional;
  };
  for (const Shape& shape :
       {Shape{1, 1, 1, 8, 0, false}, Shape{37, 4, 2, 16, 0, false}, Shape{50, 3, 1, 20, 7, false},
        Shape{33, 2, 2, 32, 0, true}, Shape{300, 2, 1, 8, 0, false}, Shape{290, 1, 1, 16, 0, true},
        Shape{19, 1, 1, 300, 0, false}}) {
    SmallAttention small(shape.count, shape.heads, shape.kv_heads, shape.head_dim, shape.window,
                         shape.bidirectional);
    INFO(shape.count << " positions, window " << shape.window);
    small.run(Isa::kScalar);
    // f32 sums of a few hundred products near 1.
    CHECK(small.finite_difference_error(small.q, small.dq) < 2e-4);
    CHECK(small.finite_difference_error(small.k, small.dk) < 2e-4);
    CHECK(small.finite_difference_error(small.v, small.dv) < 2e-4);
    SmallAttention other = small;
    for (const Isa isa : supported_isas()) {
      other.run(isa);
      INFO(isa_name(isa));
      REQUIRE(same_bits(other.dq, small.dq));
      REQUIRE(same_bits(other.dk, small.dk));
      REQUIRE(same_bits(other.dv, small.dv));
    }
  }
}

TEST_CASE("activations' gradients are those of finite differences, with the same bits everywhere") {
  Random random(3);
  const auto x = random_floats(random, 1003, 2.0f), up = random_floats(random, 1003);
  const auto dh = random_floats(random, 1003);
  const auto slope = [](double at, const std::function<double(double)>& f) {
    return (f(at + 1e-5) - f(at - 1e-5)) / 2e-5;
  };
  const auto silu = [](double v) { return v / (1 + std::exp(-v)); };
  const auto tanh_gelu = [](double v) {
    return v / 2 * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
  };
  const auto erf_gelu = [](double v) { return v / 2 * (1 + std::erf(v / 1.4142135623730951)); };
  std::vector<std::vector<float>> first;
  for (const Isa isa : supported_isas()) {
    INFO(isa_name(isa));
    std::vector<std::vector<float>> results(7, std::vector<float>(x.size()));
    const TrainingKernels& kernels = training_table(isa);
    // Write in place: h over the gate, and the gradients over dh and up.
    results[0] = x, results[1] = dh, results[2] = up;
    kernels.silu_mul_backward(results[0].data(), results[2].data(), results[1].data(),
                              results[0].data(), results[1].data(), results[2].data(), x.size());
    results[3] = x, results[4] = dh;
    kernels.gelu_tanh_backward(results[3].data(), results[4].data(), results[3].data(),
                               results[4].data(), x.size());
    results[5] = x, results[6] = dh;
    kernels.gelu_erf_backward(results[5].data(), results[6].data(), results[5].data(),
                              results[6].data(), x.size());
    std::vector<float> forward = x, forward_tanh = x, forward_erf = x;
    table(isa).silu_mul(forward.data(), up.data(), x.size());
    table(isa).gelu_tanh(forward_tanh.data(), x.size());
    table(isa).gelu_erf(forward_erf.data(), x.size());
    REQUIRE(same_bits(results[0], forward));
    REQUIRE(same_bits(results[3], forward_tanh));
    REQUIRE(same_bits(results[5], forward_erf));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double at = x[i], gradient = dh[i];
      REQUIRE(double{results[1][i]} == Approx(gradient * up[i] * slope(at, silu)).margin(1e-5));
      REQUIRE(double{results[2][i]} == Approx(gradient * silu(at)).margin(1e-5));
      REQUIRE(double{results[4][i]} == Approx(gradient * slope(at, tanh_gelu)).margin(1e-5));
      REQUIRE(double{results[6][i]} == Approx(gradient * slope(at, erf_gelu)).margin(1e-5));
    }
    if (first.empty()) first = results;
    for (std::size_t i = 0; i < results.size(); ++i) REQUIRE(same_bits(results[i], first[i]));
  }
}

TEST_CASE("norms' gradients are those of finite differences") {
  Random random(4);
  constexpr std::size_t kChannels = 37, kNormRows = 3;
  auto x = random_floats(random, kNormRows * kChannels);
  const auto weight = random_floats(random, kChannels), dy = random_floats(random, x.size());
  for (const bool layer : {false, true}) {
    const auto loss = [&] {
      double sum = 0;
      for (std::size_t row = 0; row < kNormRows; ++row) {
        double mean = 0, square = 0;
        const float* in = x.data() + row * kChannels;
        for (std::size_t c = 0; c < kChannels; ++c) mean += layer ? in[c] / 37.0 : 0.0;
        for (std::size_t c = 0; c < kChannels; ++c)
          square += (in[c] - mean) * (in[c] - mean) / 37.0;
        for (std::size_t c = 0; c < kChannels; ++c)
          sum += double{dy[row * kChannels + c]} * (in[c] - mean) / std::sqrt(square + 1e-5) *
                 double{weight[c]};
      }
      return sum;
    };
    std::vector<float> dx(x.size(), 1.0f), mean(kNormRows), inverse(kNormRows);
    if (layer) {
      layer_norm_backward(x.data(), weight.data(), dy.data(), 1e-5f, kChannels, 0, kNormRows, true,
                          mean.data(), inverse.data(), dx.data());
    } else {
      rms_norm_backward(x.data(), weight.data(), dy.data(), 1e-5f, kChannels, 0, kNormRows, true,
                        inverse.data(), dx.data());
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float saved = x[i];
      x[i] = saved + 0x1p-9f;
      const double above = loss();
      x[i] = saved - 0x1p-9f;
      const double slope = (above - loss()) * 0x1p8;
      x[i] = saved;
      REQUIRE(double{dx[i]} == Approx(1.0 + slope).margin(1e-4));  // the gradient was added to ones
    }
    // The weight's gradient: column sums with the statistics that the rows left.
    std::vector<float> sums(48);
    const std::vector<SumStep> one{{0, kNormRows, false, 0}};
    const GradientSum sum{one, 0, 1, {sums.data()}};
    normed_column_sums(dy.data(), x.data(), layer ? mean.data() : nullptr, inverse.data(),
                       kChannels, sum, 0, kChannels);
    for (std::size_t c = 0; c < kChannels; ++c) {
      double expected = 0;
      for (std::size_t row = 0; row < kNormRows; ++row)
        expected += double{dy[row * kChannels + c]} *
                    (x[row * kChannels + c] - (layer ? double{mean[row]} : 0.0)) *
                    double{inverse[row]};
      REQUIRE(double{sums[c]} == Approx(expected).margin(1e-5));
    }
  }
}

TEST_CASE("groups of a transposed matrix hold its columns") {
  Random random(5);
  for (const auto& [rows, columns] :
       {std::pair<std::size_t, std::size_t>{16, 16}, {40, 21}, {7, 64}}) {
    const auto values = random_floats(random, rows * columns);
    auto packed = pack(quant::Type::kF32, reinterpret_cast<const std::byte*>(values.data()),
                       values.size() * sizeof(float), rows, columns);
    REQUIRE(packed.is_ok());
    const std::size_t groups = (columns + 15) / 16;
    PackedMatrix transposed;
    transposed.data = AlignedBuffer(groups * 16 * rows * sizeof(float));
    transpose_groups(*packed, 0, rows, 0, groups, &transposed);
    REQUIRE(transposed.rows == columns);
    std::vector<float> row(rows);
    for (std::size_t c = 0; c < columns; ++c) {
      unpack_row(transposed, c, row.data());
      for (std::size_t r = 0; r < rows; ++r) REQUIRE(row[r] == values[r * columns + c]);
    }
    REQUIRE(floats(transposed.data)[0] == values[0]);
  }
}
