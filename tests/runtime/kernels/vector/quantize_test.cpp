#include <algorithm>
#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include <troupe/tests/runtime/kernels/kernel_fixture.h>
#include <troupe/tests/runtime/kernels/reference.h>

namespace troupe::kernels {
namespace {

// Makes rows whose magnitudes differ from block to block, with zeros, tiny and huge values among
// them.
std::vector<float> uneven_floats(Random& random, std::size_t count) {
  std::vector<float> x = random_floats(random, count);
  std::uniform_int_distribution<int> exponent(-110, 100);
  for (std::size_t i = 0; i < count; i += kBlock) {
    const float scale = std::ldexp(1.0f, exponent(random));
    for (std::size_t j = i; j < std::min(i + kBlock, count); ++j) x[j] *= scale;
  }
  return x;
}

bool same(const QuantizedBuffer& a, const QuantizedBuffer& b) {
  return a.q == b.q && a.sum == b.sum && same_bits(a.d.data(), b.d.data(), a.d.size()) &&
         same_bits(a.s.data(), b.s.data(), a.s.size()) && a.super_q == b.super_q &&
         a.super_sums == b.super_sums &&
         same_bits(a.super_d.data(), b.super_d.data(), a.super_d.size());
}

}  // namespace

TEST_CASE("quantize_rows equals the reference bit for bit") {
  Random random(11);
  for (const std::size_t columns : {32, 64, 256, 576, 1536}) {
    const std::size_t rows = 5;
    std::vector<float> x = uneven_floats(random, rows * columns);
    std::fill_n(x.begin(), columns, 0.0f);
    for (std::size_t i = 0; i < 32; ++i) x[columns + i] = (static_cast<float>(i) - 16.0f) * 0.5f;
    std::fill_n(&x[2 * columns], columns, 0x1p-101f);
    QuantizedBuffer expected(rows, columns);
    for (std::size_t row = 0; row < rows; ++row)
      reference::quantize_row(&x[row * columns], columns, expected.rows().from(row * columns));
    CHECK(*std::max_element(expected.q.begin(), expected.q.end()) == 127);
    for (const Isa isa : supported_isas()) {
      INFO(isa_name(isa) << " columns " << columns);
      QuantizedBuffer got(rows, columns);
      table(isa).quantize_rows(x.data(), columns, 0, 2, got.rows());
      table(isa).quantize_rows(x.data(), columns, 2, rows, got.rows());
      CHECK(same(got, expected));
    }
  }
}

TEST_CASE("only the blocks that there is memory for are written") {
  Random random(12);
  const std::vector<float> x = random_floats(random, 512);
  for (const Isa isa : supported_isas()) {
    INFO(isa_name(isa));
    QuantizedBuffer both(1, 512), blocks(1, 512), superblocks(1, 512);
    table(isa).quantize_rows(x.data(), 512, 0, 1, both.rows());
    QuantizedRows only = blocks.rows();
    only.super_q = nullptr;
    table(isa).quantize_rows(x.data(), 512, 0, 1, only);
    CHECK(blocks.q == both.q);
    CHECK(blocks.super_d == std::vector<float>(2));
    only = superblocks.rows();
    only.q = nullptr;
    table(isa).quantize_rows(x.data(), 512, 0, 1, only);
    CHECK(superblocks.super_q == both.super_q);
    CHECK(superblocks.d == std::vector<float>(16));
  }
}

TEST_CASE("a block with a number that is not finite quantizes to NaN everywhere") {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> x(512, 1.0f);
    x[37] = bad;
    for (const Isa isa : supported_isas()) {
      INFO(isa_name(isa) << " " << bad);
      QuantizedBuffer got(1, 512);
      table(isa).quantize_rows(x.data(), 512, 0, 1, got.rows());
      CHECK(got.d[0] == 1.0f / 127.0f);
      CHECK(std::isnan(got.d[1]));
      CHECK(std::isnan(got.s[1]));
      CHECK(std::isnan(got.super_d[0]));
      CHECK(got.super_d[1] == 1.0f / 127.0f);
    }
  }
}

}  // namespace troupe::kernels
