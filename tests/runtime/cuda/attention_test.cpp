#include <cmath>
#include <numeric>

#include <catch2/catch.hpp>

#include <troupe/runtime/cuda/dispatch.h>
#include <troupe/runtime/cuda/kernels/attention.h>
#include <troupe/tests/runtime/cuda/cuda_fixture.h>
#include <troupe/tests/runtime/kernels/reference.h>

using namespace troupe;
using namespace troupe::cuda;
using kernels::KvType;
using kernels::random_floats;

namespace {

struct Shape {
  std::size_t heads, kv_heads, head_dim;
  std::size_t window = 0;
  KvType type = KvType::kF16;
};

std::size_t block_bytes(const Shape& shape) {
  return (kernels::kv_page_bytes(shape.type, shape.kv_heads, shape.head_dim) + 63) / 64 * 64;
}

float rounded(float value, KvType type) {
  return type == KvType::kF16 ? f16_to_f32(f32_to_f16(value)) : value;
}

// Sequences with keys and values in pages of one layer, which lies second in its blocks.
struct Sequences {
  Sequences(const Shape& s, std::vector<std::size_t> k, unsigned seed)
      : shape(s), keys(std::move(k)) {
    kernels::Random random(seed);
    for (const std::size_t count : keys) {
      first_block.push_back(static_cast<int>(pages));
      pages += (count + 63) / 64;
      k_values.push_back(random_floats(random, count * shape.kv_heads * shape.head_dim));
      v_values.push_back(random_floats(random, count * shape.kv_heads * shape.head_dim));
    }
    // Memory that nobody has written holds NaNs, and must not be used.
    std::vector<std::byte> memory(pages * 2 * block_bytes(shape), std::byte{0xff});
    std::vector<std::byte> page;
    for (std::size_t i = 0; i < keys.size(); ++i)
      for (std::size_t j = 0; j < keys[i]; ++j)
        kernels::table(kernels::Isa::kScalar)
            .kv_write(k_of(i, j), v_of(i, j),
                      memory.data() + offset(i, j / 64) + block_bytes(shape), shape.type,
                      shape.kv_heads, shape.head_dim, j % 64);
    device = std::make_unique<DeviceVector<std::byte>>(memory);
    // The blocks of a sequence do not lie side by side.
    std::vector<unsigned char*> table;
    for (std::size_t i = 0; i < pages; ++i)
      table.push_back(reinterpret_cast<unsigned char*>(device->data()) +
                      place(i) * 2 * block_bytes(shape));
    blocks = std::make_unique<DeviceVector<unsigned char*>>(table);
  }
  std::size_t place(std::size_t page) const { return pages - 1 - page; }
  std::size_t offset(std::size_t sequence, std::size_t page) const {
    return place(static_cast<std::size_t>(first_block[sequence]) + page) * 2 * block_bytes(shape);
  }
  const float* k_of(std::size_t sequence, std::size_t key) const {
    return k_values[sequence].data() + key * shape.kv_heads * shape.head_dim;
  }
  const float* v_of(std::size_t sequence, std::size_t key) const {
    return v_values[sequence].data() + key * shape.kv_heads * shape.head_dim;
  }
  LayerPages pages_of(const DeviceRow* rows) const {
    return {rows, blocks->data(), block_bytes(shape), static_cast<int>(shape.kv_heads),
            static_cast<int>(shape.head_dim)};
  }

  Shape shape;
  std::vector<std::size_t> keys;
  std::vector<int> first_block;
  std::size_t pages = 0;
  std::vector<std::vector<float>> k_values, v_values;
  std::unique_ptr<DeviceVector<std::byte>> device;
  std::unique_ptr<DeviceVector<unsigned char*>> blocks;
};

// Computes one row of attention by the oracle.
std::vector<float> attend_row(const Sequences& all, std::size_t sequence, std::size_t position,
                              const float* q) {
  const Shape& shape = all.shape;
  const std::size_t D = shape.head_dim, count = all.keys[sequence];
  std::vector<float> out(shape.heads * D);
  for (std::size_t head = 0; head < shape.heads; ++head) {
    const std::size_t kv_head = head / (shape.heads / shape.kv_heads);
    std::vector<float> k(count * D), v(count * D);
    for (std::size_t j = 0; j < count; ++j)
      for (std::size_t c = 0; c < D; ++c) {
        k[j * D + c] = rounded(all.k_of(sequence, j)[kv_head * D + c], shape.type);
        v[j * D + c] = rounded(all.v_of(sequence, j)[kv_head * D + c], shape.type);
      }
    const std::size_t seen = position + 1;
    const std::size_t first = shape.window != 0 && seen > shape.window ? seen - shape.window : 0;
    kernels::reference::attention_row(q + head * D, k.data(), v.data(), D, first, position,
                                      1.0f / std::sqrt(static_cast<float>(D)), 0.0f, nullptr,
                                      out.data() + head * D);
  }
  return out;
}

struct Row {
  std::size_t sequence, position;
};

void launch_attention(const AttentionArgs& at, std::size_t rows, KvType type) {
  const auto chunks = static_cast<unsigned>(at.chunks);
  const auto kv_heads = static_cast<unsigned>(at.pages.kv_heads);
  const auto count = static_cast<unsigned>(rows), heads = static_cast<unsigned>(at.heads);
  const unsigned pairs = rounded_up(static_cast<std::size_t>(at.pages.head_dim) / 2, 32) * 32;
  if (type == KvType::kF16) {
    launch(Stream{}, attend_scores<F16Keys>, dim3(chunks, kv_heads, count), kScoreThreads, at);
    launch(Stream{}, attend_values<F16Keys>, dim3(chunks, heads, count), pairs, at);
  } else {
    launch(Stream{}, attend_scores<F32Keys>, dim3(chunks, kv_heads, count), kScoreThreads, at);
    launch(Stream{}, attend_values<F32Keys>, dim3(chunks, heads, count), pairs, at);
  }
  launch(Stream{}, attend_combine, dim3(heads / static_cast<unsigned>(at.heads_at_once), count),
         kCombineThreads, at);
}

void check_attention(const Shape& shape, const std::vector<std::size_t>& keys,
                     const std::vector<Row>& rows) {
  const Sequences all(shape, keys, 1);
  kernels::Random random(2);
  const std::size_t width = shape.heads * shape.head_dim;
  const std::vector<float> q = random_floats(random, rows.size() * width);
  std::vector<DeviceRow> table;
  std::vector<float> want;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    table.push_back({static_cast<int>(rows[i].position), all.first_block[rows[i].sequence]});
    const auto row = attend_row(all, rows[i].sequence, rows[i].position, q.data() + i * width);
    want.insert(want.end(), row.begin(), row.end());
  }
  kernels::QuantizedBuffer want_blocks(rows.size(), width);
  for (std::size_t i = 0; i < rows.size(); ++i)
    kernels::reference::quantize_row(want.data() + i * width, width,
                                     want_blocks.rows().from(i * width));
  DeviceVector<DeviceRow> device_rows(table);
  DeviceVector<float> dq(q);
  AttentionArgs at;
  at.pages = all.pages_of(device_rows.data());
  at.q = dq.data();
  at.heads = static_cast<int>(shape.heads);
  at.window = static_cast<int>(shape.window);
  at.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  for (const std::size_t count : keys)
    at.chunks = std::max(at.chunks, static_cast<int>(rounded_up(count, 256)));
  at.keys = at.chunks * 256;
  const std::size_t block = width % 256 == 0 ? 256 : 32;
  at.heads_at_once = static_cast<int>(std::lcm(shape.head_dim, block) / shape.head_dim);
  under_every_schedule([&] {
    const std::size_t pairs = rows.size() * shape.heads;
    DeviceVector<float> scores(pairs * static_cast<std::size_t>(at.keys)),
        largest(pairs * static_cast<std::size_t>(at.chunks)),
        parts(pairs * static_cast<std::size_t>(at.chunks) * shape.head_dim),
        out(rows.size() * width);
    DeviceRows blocks(rows.size(), width);
    at.scores = scores.data();
    at.largest = largest.data();
    at.parts = parts.data();
    at.out = out.data();
    at.blocks = blocks.blocks();
    // Use two launches, as if memory could not hold the scores of all rows.
    at.first_row = 0;
    launch_attention(at, (rows.size() + 1) / 2, shape.type);
    at.first_row = static_cast<int>((rows.size() + 1) / 2);
    if (rows.size() > 1) launch_attention(at, rows.size() / 2, shape.type);
    require_same_bits(out.read(), want);
    blocks.require_same(want_blocks);
  });
}

}  // namespace

TEST_CASE("cuda: attention has the oracle's bits") {
  check_attention({6, 2, 16}, {1}, {{0, 0}});
  check_attention({6, 2, 16}, {64, 65, 130}, {{0, 63}, {1, 64}, {2, 129}, {2, 7}});
  check_attention({4, 4, 80}, {300}, {{0, 299}, {0, 255}, {0, 256}});
  check_attention({4, 2, 64}, {520, 3}, {{0, 519}, {1, 2}});
  check_attention({2, 1, 256}, {70}, {{0, 69}, {0, 64}});
  check_attention({2, 1, 128, 0, KvType::kF32}, {300}, {{0, 299}, {0, 1}});
}

TEST_CASE("cuda: attention with a window has the oracle's bits") {
  check_attention({2, 1, 32, 17}, {600}, {{0, 599}, {0, 15}, {0, 16}, {0, 17}, {0, 270}});
  check_attention({2, 1, 32, 256}, {600}, {{0, 599}, {0, 255}, {0, 256}, {0, 511}});
  check_attention({2, 2, 16, 300}, {1030}, {{0, 1029}});
}

TEST_CASE("cuda: rotated heads and stored keys have the CPU's bits") {
  for (const Shape& shape : {Shape{6, 2, 16}, Shape{4, 4, 80}, Shape{3, 1, 64, 0, KvType::kF32}})
    for (const bool interleaved : {false, true})
      for (const bool normed : {false, true})
        for (const std::size_t rotary : {std::size_t{0}, shape.head_dim / 2, shape.head_dim}) {
          const std::size_t D = shape.head_dim, rows = 3;
          const std::size_t q_width = shape.heads * D, kv_width = shape.kv_heads * D;
          kernels::Random random(4);
          const auto q = random_floats(random, rows * q_width);
          const auto k = random_floats(random, rows * kv_width);
          const auto v = random_floats(random, rows * kv_width);
          const auto q_norm = random_floats(random, D), k_norm = random_floats(random, D);
          const auto cos_sin = random_floats(random, std::max<std::size_t>(rows * rotary, 1));
          const std::vector<std::size_t> positions{0, 63, 64};
          const std::size_t bytes = block_bytes(shape);
          std::vector<std::byte> want_pages(2 * bytes);
          std::vector<float> want_q = q, want_k = k;
          const kernels::Kernels& cpu = kernels::table(kernels::Isa::kScalar);
          for (std::size_t i = 0; i < rows; ++i) {
            float *row_q = want_q.data() + i * q_width, *row_k = want_k.data() + i * kv_width;
            if (normed) {
              cpu.rms_norm(row_q, q_norm.data(), 1e-6f, D, 0, shape.heads, row_q);
              cpu.rms_norm(row_k, k_norm.data(), 1e-6f, D, 0, shape.kv_heads, row_k);
            }
            cpu.rope(row_q, shape.heads, D, rotary, cos_sin.data() + i * rotary, interleaved);
            cpu.rope(row_k, shape.kv_heads, D, rotary, cos_sin.data() + i * rotary, interleaved);
            cpu.kv_write(row_k, v.data() + i * kv_width,
                         want_pages.data() + positions[i] / 64 * bytes, shape.type, shape.kv_heads,
                         D, positions[i] % 64);
          }
          under_every_schedule([&] {
            DeviceVector<std::byte> pages(std::vector<std::byte>(2 * bytes));
            std::vector<unsigned char*> table;
            for (std::size_t i = 0; i < 2; ++i)
              table.push_back(reinterpret_cast<unsigned char*>(pages.data()) + i * bytes);
            DeviceVector<unsigned char*> blocks(table);
            DeviceVector<DeviceRow> device_rows(std::vector<DeviceRow>{{0, 0}, {63, 0}, {64, 0}});
            DeviceVector<float> dq(q), dk(k), dv(v), dqn(q_norm), dkn(k_norm), dcs(cos_sin);
            RotateArgs args;
            args.pages = {device_rows.data(), blocks.data(), 0, static_cast<int>(shape.kv_heads),
                          static_cast<int>(D)};
            args.q = dq.data();
            args.k = dk.data();
            args.v = dv.data();
            args.q_norm = normed ? dqn.data() : nullptr;
            args.k_norm = normed ? dkn.data() : nullptr;
            args.epsilon = 1e-6f;
            args.cos_sin = dcs.data();
            args.heads = static_cast<int>(shape.heads);
            args.rotary_dim = static_cast<int>(rotary);
            args.interleaved = interleaved;
            const dim3 grid(static_cast<unsigned>(shape.heads + 2 * shape.kv_heads), rows);
            if (shape.type == KvType::kF16) {
              launch(Stream{}, rotate_and_store<F16Keys>, grid, 32, args);
            } else {
              launch(Stream{}, rotate_and_store<F32Keys>, grid, 32, args);
            }
            require_same_bits(dq.read(), want_q);
            require_same_bits(dk.read(), want_k);
            REQUIRE(pages.read() == want_pages);
          });
        }
}
