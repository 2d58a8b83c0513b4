#include <algorithm>
#include <cmath>

#include <catch2/catch.hpp>

#include <troupe/runtime/kernels/table.h>
#include <troupe/runtime/machine/aligned_buffer.h>
#include <troupe/runtime/numerics/half.h>
#include <troupe/tests/runtime/kernels/kernel_fixture.h>
#include <troupe/tests/runtime/kernels/reference.h>

namespace troupe::kernels {
namespace {

struct Shape {
  std::size_t heads, kv_heads, head_dim;
  KvType type;
};

// A sequence of `keys` keys in pages as kv_write makes them, the same keys as plain arrays
// (kv_head, key, channel), and one query row a position.
struct Sequence {
  Sequence(Random& random, const Kernels& kernels, const Shape& shape, std::size_t keys)
      : shape(shape), keys(keys), q(random_floats(random, keys * shape.heads * shape.head_dim)) {
    const std::size_t width = shape.kv_heads * shape.head_dim;
    k.resize(keys * width);
    v.resize(keys * width);
    for (std::size_t key = 0; key < keys; ++key) {
      if (key % kPageKeys == 0) {
        buffers.emplace_back(kv_page_bytes(shape.type, shape.kv_heads, shape.head_dim));
        std::memset(buffers.back().data(), 0, buffers.back().bytes());
        pages.push_back(buffers.back().data());
      }
      const std::vector<float> new_k = random_floats(random, width);
      const std::vector<float> new_v = random_floats(random, width);
      kernels.kv_write(new_k.data(), new_v.data(), buffers.back().data(), shape.type,
                       shape.kv_heads, shape.head_dim, key % kPageKeys);
      for (std::size_t h = 0; h < shape.kv_heads; ++h)
        for (std::size_t c = 0; c < shape.head_dim; ++c) {
          const std::size_t at = (h * keys + key) * shape.head_dim + c;
          k[at] = rounded(new_k[h * shape.head_dim + c]);
          v[at] = rounded(new_v[h * shape.head_dim + c]);
        }
    }
  }
  float rounded(float x) const {
    return shape.type == KvType::kF16 ? f16_to_f32(f32_to_f16(x)) : x;
  }
  AttentionArgs args(std::size_t position, std::size_t window, float* out) const {
    const std::size_t width = shape.heads * shape.head_dim;
    return {.q = &q[position * width],
            .q_stride = width,
            .out = out,
            .out_stride = width,
            .pages = pages.data(),
            .kv_type = shape.type,
            .heads = shape.heads,
            .kv_heads = shape.kv_heads,
            .head_dim = shape.head_dim,
            .scale = 0.125f,
            .cap = cap,
            .sinks = sinks.empty() ? nullptr : sinks.data(),
            .position = position,
            .window = window};
  }
  // Returns the reference's rows of all positions.
  std::vector<float> expected(std::size_t window) const {
    const std::size_t width = shape.heads * shape.head_dim;
    std::vector<float> out(keys * width);
    for (std::size_t position = 0; position < keys; ++position) {
      const std::size_t first = window != 0 && position + 1 > window ? position + 1 - window : 0;
      for (std::size_t head = 0; head < shape.heads; ++head) {
        const std::size_t kv = head / (shape.heads / shape.kv_heads) * keys * shape.head_dim;
        const std::size_t at = position * width + head * shape.head_dim;
        reference::attention_row(&q[at], &k[kv], &v[kv], shape.head_dim, first, position, 0.125f,
                                 cap, sinks.empty() ? nullptr : &sinks[head], &out[at]);
      }
    }
    return out;
  }

  Shape shape;
  std::size_t keys;
  float cap = 0.0f;
  std::vector<float> sinks;
  std::vector<float> q, k, v;
  std::vector<AlignedBuffer> buffers;
  std::vector<const std::byte*> pages;
};

constexpr Shape kShapes[] = {
    {9, 3, 64, KvType::kF16}, {4, 4, 16, KvType::kF16}, {8, 1, 20, KvType::kF16},
    {6, 2, 7, KvType::kF32},  {2, 2, 80, KvType::kF32}, {5, 1, 128, KvType::kF16},
};

}  // namespace

TEST_CASE("kv_write stores the same bytes on every target") {
  for (const Shape& shape : kShapes) {
    std::vector<Sequence> sequences;
    for (const Isa isa : supported_isas()) {
      Random random(21);
      sequences.emplace_back(random, table(isa), shape, 70);
    }
    for (const Sequence& sequence : sequences)
      for (std::size_t page = 0; page < 2; ++page)
        CHECK(std::memcmp(sequence.pages[page], sequences[0].pages[page],
                          sequence.buffers[page].bytes()) == 0);
  }
}

TEST_CASE("attention equals the reference bit for bit, however rows and heads are cut") {
  Random random(22);
  const std::size_t keys = 330;  // crosses the cut at 256 keys
  for (const Shape& shape : kShapes) {
    for (const std::size_t window : {0, 1, 40, 300}) {
      const Sequence sequence(random, table(Isa::kScalar), shape, keys);
      const std::vector<float> expected = sequence.expected(window);
      const std::size_t width = shape.heads * shape.head_dim;
      for (const Isa isa : supported_isas()) {
        INFO(isa_name(isa) << " heads " << shape.heads << "/" << shape.kv_heads << " head_dim "
                           << shape.head_dim << " window " << window);
        // The positions come in chunks. In each, rows and heads are cut in two, as threads cut
        // them.
        std::vector<float> out(keys * width);
        for (const auto& [begin, end] : {std::pair<std::size_t, std::size_t>{0, 1},
                                         {1, 18},
                                         {18, 19},
                                         {19, 200},
                                         {200, 255},
                                         {255, 257},
                                         {257, keys}}) {
          const AttentionArgs args = sequence.args(begin, window, &out[begin * width]);
          std::vector<float> scratch(attention_scratch_floats(args, end));
          const std::size_t rows = end - begin, half = rows / 2, head = (shape.heads + 1) / 2;
          table(isa).attention(args, 0, head, 0, half, scratch.data());
          table(isa).attention(args, head, shape.heads, 0, half, scratch.data());
          table(isa).attention(args, 0, shape.heads, half, rows, scratch.data());
        }
        CHECK(same_bits(out.data(), expected.data(), out.size()));
      }
    }
  }
}

TEST_CASE("scores over more than 256 channels are cut on every target") {
  Random random(26);
  for (const KvType type : {KvType::kF16, KvType::kF32})
    for (const std::size_t head_dim : {255, 256, 257, 512, 513, 4096}) {
      const std::size_t keys = head_dim == 4096 ? 20 : 70;
      const Sequence sequence(random, table(Isa::kScalar), {3, 1, head_dim, type}, keys);
      const std::vector<float> expected = sequence.expected(0);
      for (const Isa isa : supported_isas()) {
        INFO(isa_name(isa) << " head_dim " << head_dim);
        std::vector<float> out(expected.size());
        // Use one row, two and many, and all heads, two and one, so that there are tiles of every
        // number of vectors.
        for (const auto& [begin, end] :
             {std::pair<std::size_t, std::size_t>{0, 1}, {1, 3}, {3, 12}, {12, keys}}) {
          const AttentionArgs args = sequence.args(begin, 0, &out[begin * 3 * head_dim]);
          std::vector<float> scratch(attention_scratch_floats(args, end));
          const std::size_t rows = end - begin, half = rows / 2;
          table(isa).attention(args, 0, 3, 0, half, scratch.data());
          table(isa).attention(args, 0, 1, half, rows, scratch.data());
          table(isa).attention(args, 1, 3, half, rows, scratch.data());
        }
        CHECK(same_bits(out.data(), expected.data(), out.size()));
      }
    }
}

TEST_CASE("capped scores and sinks give the reference's attention bit for bit") {
  Random random(26);
  for (const Shape& shape : kShapes)
    for (const std::size_t keys : {1, 18, 100}) {
      Sequence sequence(random, table(Isa::kScalar), shape, keys);
      const std::vector<float> plain = sequence.expected(40);
      sequence.cap = keys == 18 ? 0.0f : 0.5f;
      if (keys != 100) sequence.sinks = random_floats(random, shape.heads);
      const std::vector<float> expected = sequence.expected(40);
      CHECK(plain != expected);
      for (const Isa isa : supported_isas()) {
        INFO(isa_name(isa) << " heads " << shape.heads << " keys " << keys);
        std::vector<float> out(expected.size());
        const AttentionArgs args = sequence.args(0, 40, out.data());
        std::vector<float> scratch(attention_scratch_floats(args, keys));
        table(isa).attention(args, 0, shape.heads, 0, keys, scratch.data());
        CHECK(same_bits(out.data(), expected.data(), out.size()));
      }
    }
}

TEST_CASE("bidirectional attention equals the reference bit for bit, however rows are cut") {
  Random random(25);
  for (const Shape& shape : kShapes)
    for (const std::size_t keys : {1, 17, 64, 330}) {
      const Sequence sequence(random, table(Isa::kScalar), shape, keys);
      const std::size_t width = shape.heads * shape.head_dim;
      std::vector<float> expected(keys * width);
      for (std::size_t row = 0; row < keys; ++row)
        for (std::size_t head = 0; head < shape.heads; ++head) {
          const std::size_t kv = head / (shape.heads / shape.kv_heads) * keys * shape.head_dim;
          const std::size_t at = row * width + head * shape.head_dim;
          reference::attention_row(&sequence.q[at], &sequence.k[kv], &sequence.v[kv],
                                   shape.head_dim, 0, keys - 1, 0.125f, 0.0f, nullptr,
                                   &expected[at]);
        }
      for (const Isa isa : supported_isas()) {
        INFO(isa_name(isa) << " heads " << shape.heads << "/" << shape.kv_heads << " keys "
                           << keys);
        std::vector<float> out(keys * width);
        const std::size_t cut = keys / 3;
        for (const auto& [begin, end] :
             {std::pair<std::size_t, std::size_t>{0, cut}, {cut, keys}}) {
          AttentionArgs args = sequence.args(begin, 0, &out[begin * width]);
          args.bidirectional_keys = keys;
          std::vector<float> scratch(attention_scratch_floats(args, keys));
          table(isa).attention(args, 0, shape.heads, 0, end - begin, scratch.data());
        }
        CHECK(same_bits(out.data(), expected.data(), out.size()));
      }
    }
}

TEST_CASE("keys that are not seen do not matter, whatever they are") {
  Random random(23);
  const Shape shape{3, 1, 64, KvType::kF16};
  Sequence sequence(random, table(Isa::kScalar), shape, 100);
  const std::vector<float> expected = sequence.expected(30);
  // Positions 0..9 and 90.. become infinite and NaN; the row at 80 sees 51..80.
  std::vector<float> infinite(64, INFINITY), nan(64, NAN);
  for (const std::size_t key : {0, 9, 90, 99})
    table(Isa::kScalar)
        .kv_write(nan.data(), infinite.data(), sequence.buffers[key / kPageKeys].data(), shape.type,
                  1, 64, key % kPageKeys);
  for (const Isa isa : supported_isas()) {
    INFO(isa_name(isa));
    std::vector<float> out(3 * 64 * 2);
    const AttentionArgs args = sequence.args(80, 30, out.data());
    std::vector<float> scratch(attention_scratch_floats(args, 82));
    table(isa).attention(args, 0, 3, 0, 2, scratch.data());
    CHECK(same_bits(out.data(), &expected[80 * 3 * 64], out.size()));
  }
}

TEST_CASE("attention is near the double result") {
  Random random(24);
  const Shape shape{2, 1, 64, KvType::kF16};
  const std::size_t keys = 300;
  const Sequence sequence(random, table(Isa::kScalar), shape, keys);
  std::vector<float> out(2 * 64);
  const AttentionArgs args = sequence.args(keys - 1, 0, out.data());
  std::vector<float> scratch(attention_scratch_floats(args, keys));
  table(supported_isas().back()).attention(args, 0, 2, 0, 1, scratch.data());
  for (std::size_t head = 0; head < 2; ++head) {
    std::vector<double> p(keys);
    double sum = 0;
    for (std::size_t j = 0; j < keys; ++j) {
      double score = 0;
      for (std::size_t c = 0; c < 64; ++c)
        score += static_cast<double>(args.q[head * 64 + c]) * sequence.k[j * 64 + c];
      sum += p[j] = std::exp(score * 0.125);
    }
    for (std::size_t c = 0; c < 64; ++c) {
      double value = 0, magnitude = 0;
      for (std::size_t j = 0; j < keys; ++j) {
        value += p[j] / sum * sequence.v[j * 64 + c];
        magnitude += p[j] / sum * std::fabs(sequence.v[j * 64 + c]);
      }
      // Scores under 8 are off by 64 roundings, exp by 2 ulp, the sum by at most 300 roundings.
      CHECK(std::fabs(out[head * 64 + c] - value) <= 1000 * 0x1p-24 * magnitude);
    }
  }
}

TEST_CASE("a window to both sides and values for distances give the reference's attention") {
  Random random(27);
  constexpr std::size_t kReach = 9;
  for (const Shape& shape : kShapes)
    for (const auto& [keys, window] : {std::pair<std::size_t, std::size_t>{1, 1},
                                       {17, 1},
                                       {64, 5},
                                       {330, 40},
                                       {330, 300},
                                       {70, 0}}) {
      const Sequence sequence(random, table(Isa::kScalar), shape, keys);
      const std::size_t width = shape.heads * shape.head_dim;
      const std::vector<float> relative = random_floats(random, shape.heads * (2 * kReach + 1));
      std::vector<float> expected(keys * width), added(keys);
      for (std::size_t row = 0; row < keys; ++row)
        for (std::size_t head = 0; head < shape.heads; ++head) {
          const std::size_t kv = head / (shape.heads / shape.kv_heads) * keys * shape.head_dim;
          const std::size_t at = row * width + head * shape.head_dim;
          const std::size_t first = window != 0 && row + 1 > window ? row + 1 - window : 0;
          const std::size_t last = window == 0 ? keys - 1 : std::min(keys, row + window) - 1;
          for (std::size_t j = 0; j < keys; ++j) {
            const std::size_t apart = std::min(kReach, j > row ? j - row : row - j);
            added[j] =
                relative[head * (2 * kReach + 1) + (j > row ? kReach + apart : kReach - apart)];
          }
          reference::attention_row(&sequence.q[at], &sequence.k[kv], &sequence.v[kv],
                                   shape.head_dim, first, last, 0.125f, 0.0f, nullptr,
                                   &expected[at], added.data());
        }
      for (const Isa isa : supported_isas()) {
        INFO(isa_name(isa) << " heads " << shape.heads << "/" << shape.kv_heads << " keys " << keys
                           << " window " << window);
        std::vector<float> out(keys * width);
        const std::size_t cut = keys / 3;
        for (const auto& [begin, end] :
             {std::pair<std::size_t, std::size_t>{0, cut}, {cut, keys}}) {
          AttentionArgs args = sequence.args(begin, window, &out[begin * width]);
          args.bidirectional_keys = keys;
          args.relative = relative.data();
          args.relative_reach = kReach;
          std::vector<float> scratch(attention_scratch_floats(args, keys));
          table(isa).attention(args, 0, shape.heads, 0, end - begin, scratch.data());
        }
        CHECK(same_bits(out.data(), expected.data(), out.size()));
      }
    }
}

}  // namespace troupe::kernels
