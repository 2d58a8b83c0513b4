#include <algorithm>
#include <cmath>
#include <string>

#include <catch2/catch.hpp>

#include <troupe/runtime/kernels/table.h>
#include <troupe/runtime/numerics/half.h>
#include <troupe/tests/runtime/kernels/kernel_fixture.h>
#include <troupe/tests/runtime/kernels/reference.h>

namespace troupe::kernels {
namespace {

std::vector<quant::Type> types() {
  std::vector<quant::Type> all;
  for (const quant::Format& format : quant::formats()) all.push_back(format.type);
  return all;
}

struct Case {
  Case(Random& random, quant::Type type, std::size_t rows, std::size_t columns, std::size_t batch)
      : type(type),
        rows(rows),
        columns(columns),
        batch(batch),
        file(random_rows(random, type, rows, columns)),
        x(random_floats(random, batch * columns)),
        quantized(batch, columns) {
    auto result = pack(type, file.data(), file.size(), rows, columns);
    REQUIRE(result);
    packed = std::move(*result);
  }
  Activations activations(const Kernels& kernels) {
    Activations a{.rows = batch, .columns = columns};
    if (wants_quantized(type)) {
      kernels.quantize_rows(x.data(), columns, 0, batch, quantized.rows());
      a.quantized = quantized.rows();
    } else {
      a.x = x.data();
    }
    return a;
  }
  const std::byte* file_row(std::size_t row) const { return &file[row * (file.size() / rows)]; }

  quant::Type type;
  std::size_t rows, columns, batch;
  std::vector<std::byte> file;
  std::vector<float> x;
  QuantizedBuffer quantized;
  PackedMatrix packed;
};

void compare_with_reference(Random& random, quant::Type type, std::size_t rows, std::size_t columns,
                            std::size_t batch) {
  Case c(random, type, rows, columns, batch);
  const std::size_t stride = rows + 3;
  const std::vector<float> before = random_floats(random, batch * stride);
  std::vector<float> plain = before, added = before;
  for (std::size_t b = 0; b < batch; ++b)
    for (std::size_t r = 0; r < rows; ++r) {
      const float sum = reference::dot(type, c.file_row(r), columns, &c.x[b * columns]);
      plain[b * stride + r] = sum;
      added[b * stride + r] += sum;
    }
  for (const Isa isa : supported_isas()) {
    INFO(isa_name(isa) << " " << quant::find(type)->name << " rows " << rows << " columns "
                       << columns << " batch " << batch);
    const Kernels& kernels = table(isa);
    const Activations a = c.activations(kernels);
    // A thread's results must not depend on where the groups are cut.
    const std::size_t cut = c.packed.groups / 3;
    std::vector<float> out = before;
    kernels.matmul(c.packed, a, 0, cut, out.data(), stride, false);
    kernels.matmul(c.packed, a, cut, c.packed.groups, out.data(), stride, false);
    CHECK(same_bits(out.data(), plain.data(), out.size()));  // the gaps of the stride too
    out = before;
    kernels.matmul(c.packed, a, 0, c.packed.groups, out.data(), stride, true);
    CHECK(same_bits(out.data(), added.data(), out.size()));
  }
}

}  // namespace

TEST_CASE("matmul equals the reference bit for bit at odd sizes") {
  Random random(1);
  for (const quant::Type type : types()) {
    const std::size_t unit = fitting(type, 32);
    for (const std::size_t rows : {1, 15, 16, 17, 47})
      for (const std::size_t columns : {unit, 2 * unit, 3 * unit})
        for (std::size_t batch = 1; batch <= 17; batch += rows == 17 ? 1 : 5)
          compare_with_reference(random, type, rows, columns, batch);
    compare_with_reference(random, type, 150, fitting(type, 576), 1);
    compare_with_reference(random, type, 40, fitting(type, 576), 13);
    compare_with_reference(random, type, 24, 1536, 3);
  }
  for (const quant::Type type : {quant::Type::kF32, quant::Type::kF16, quant::Type::kBF16})
    for (const std::size_t columns : {1, 7, 33})
      compare_with_reference(random, type, 19, columns, 5);
}

namespace {

// Computes one chain of fused multiply-adds over k in [begin, end), from 0.
float chain(const float* w, const float* x, std::size_t begin, std::size_t end) {
  float sum = 0.0f;
  for (std::size_t k = begin; k < end; ++k) sum = std::fma(w[k], x[k], sum);
  return sum;
}

constexpr quant::Type kFloatTypes[] = {quant::Type::kF32, quant::Type::kF16, quant::Type::kBF16};

}  // namespace

TEST_CASE("products of float weights are cut at 256 columns on every target") {
  Random random(5);
  for (const quant::Type type : kFloatTypes)
    for (const std::size_t columns : {255, 256, 257, 512, 513, 8192}) {
      // 150 rows are ten groups, the last of which is short, so that any number of groups side by
      // side leaves a rest. The numbers of rows of activations are those of decoding, small tiles
      // and tails.
      const std::size_t rows = columns == 8192 ? 37 : 150;
      for (const std::size_t batch : {1, 2, 3, 4, 5, 12, 13, 17, 25})
        if (columns < 8192 || batch == 1 || batch == 13)
          compare_with_reference(random, type, rows, columns, batch);
    }
}

TEST_CASE("up to 256 columns a product is one chain, later chunks are added to the first") {
  Random random(6);
  const auto product = [](const Kernels& kernels, const std::vector<float>& w,
                          const std::vector<float>& x) {
    const auto* bytes = reinterpret_cast<const std::byte*>(w.data());
    const auto packed = pack(quant::Type::kF32, bytes, w.size() * 4, 1, w.size());
    REQUIRE(packed);
    float out = 1.0f;
    kernels.matmul(*packed, {.rows = 1, .columns = w.size(), .x = x.data()}, 0, 1, &out, 1, false);
    return out;
  };
  std::size_t cuts_seen = 0;
  for (const std::size_t columns : {1, 255, 256, 257, 512, 513}) {
    const std::vector<float> w = random_floats(random, columns), x = random_floats(random, columns);
    float expected = chain(w.data(), x.data(), 0, std::min<std::size_t>(columns, 256));
    if (columns > 256)
      expected += chain(w.data(), x.data(), 256, std::min<std::size_t>(columns, 512));
    if (columns > 512) expected += chain(w.data(), x.data(), 512, columns);
    const float uncut = chain(w.data(), x.data(), 0, columns);
    cuts_seen += !same_bits(&uncut, &expected, 1);
    for (const Isa isa : supported_isas()) {
      INFO(isa_name(isa) << ", " << columns << " columns");
      const float out = product(table(isa), w, x);
      CHECK(same_bits(&out, &expected, 1));
    }
  }
  CHECK(cuts_seen >= 2);  // of three; two orders of a sum may round to the same value

  // A chain can end in -0, when a negative product is too small for a float. A total that began as
  // +0 would lose the sign.
  for (const Isa isa : supported_isas()) {
    INFO(isa_name(isa));
    CHECK(std::signbit(product(table(isa), {0x1p-100f}, {-0x1p-100f})));
    std::vector<float> w(257, 0x1p-100f), x(257, -0x1p-100f);
    CHECK(std::signbit(product(table(isa), w, x)));
  }
}

TEST_CASE("matmul works through more columns than one pass holds") {
  Random random(2);
  for (const quant::Type type : types()) {
    Case c(random, type, 20, 512, 700);
    for (const Isa isa : supported_isas()) {
      INFO(isa_name(isa) << " " << quant::find(type)->name);
      std::vector<float> out(700 * 20);
      table(isa).matmul(c.packed, c.activations(table(isa)), 0, 2, out.data(), 20, false);
      for (const std::size_t b : {0, 95, 96, 127, 128, 383, 384, 385, 699}) {
        std::vector<float> expected(20);
        for (std::size_t r = 0; r < 20; ++r)
          expected[r] = reference::dot(type, c.file_row(r), 512, &c.x[b * 512]);
        CHECK(same_bits(&out[b * 20], expected.data(), 20));
      }
    }
  }
}

namespace {

// Makes 16 rows of one block. Every quant consists of bytes `quant`; every scale is the largest
// one, or the byte `scale` in formats whose scales have a sign.
std::vector<std::byte> extreme_rows(const quant::Format& format, int quant, int scale) {
  const std::uint16_t one = f32_to_f16(1.0f);
  std::vector<std::byte> block(format.block_bytes, static_cast<std::byte>(quant));
  using quant::Type;
  const std::size_t d = quant::scale_place(format.type);
  if (format.type == Type::kMXFP4) {
    block[0] = std::byte{128};
  } else {
    std::memcpy(&block[d], &one, 2);
  }
  if (format.has_m) std::memcpy(&block[d + 2], &one, 2);
  const auto byte = static_cast<std::byte>(scale == 0x7f ? 0xff : 0x00);
  if (format.type == Type::kQ6_K) std::fill_n(&block[192], 16, static_cast<std::byte>(scale));
  if (format.type == Type::kQ3_K) std::fill_n(&block[96], 12, byte);
  if (format.type == Type::kIQ4_XS) std::fill_n(&block[2], 6, byte);
  if (format.type == Type::kQ2_K) std::fill_n(&block[0], 16, std::byte{0xff});
  if (format.type == Type::kQ4_K || format.type == Type::kQ5_K)
    std::fill_n(&block[4], 12, std::byte{0xff});
  std::vector<std::byte> file;
  for (std::size_t row = 0; row < 16; ++row) file.insert(file.end(), block.begin(), block.end());
  return file;
}

}  // namespace

TEST_CASE("integer sums are exact at the ends of their range") {
  const auto out_of = [](const Kernels& kernels, const PackedMatrix& w, QuantizedBuffer& x,
                         std::size_t batch) {
    std::vector<float> out(batch * 16);
    kernels.matmul(w, {.rows = batch, .columns = w.columns, .quantized = x.rows()}, 0, 1,
                   out.data(), 16, false);
    return out;
  };
  constexpr std::size_t kBatch = 17;  // from 12 on, runs of five and six bits are expanded
  // Multiply the largest quants by the largest activations of either sign: nothing may saturate.
  for (const quant::Format& format : quant::formats()) {
    if (!wants_quantized(format.type)) continue;
    const std::size_t columns = format.block_elements;
    for (const int quant : {0x00, 0x0f, 0xff, 0x7f, 0x80, 0x81})
      for (const int scale : {0x7f, 0x80})
        for (const float sign : {1.0f, -1.0f}) {
          const auto file = extreme_rows(format, quant, scale);
          std::vector<float> x(kBatch * columns, sign * 2.0f);
          auto packed = pack(format.type, file.data(), file.size(), 16, columns);
          REQUIRE(packed);
          const float expected = reference::dot(format.type, file.data(), columns, x.data());
          for (const Isa isa : supported_isas()) {
            INFO(isa_name(isa) << " " << format.name << " quant " << quant << " scale " << scale
                               << " sign " << sign);
            QuantizedBuffer quantized(kBatch, columns);
            table(isa).quantize_rows(x.data(), columns, 0, kBatch, quantized.rows());
            for (const std::size_t batch : {std::size_t{1}, std::size_t{4}, kBatch})
              CHECK(out_of(table(isa), *packed, quantized, batch) ==
                    std::vector<float>(batch * 16, expected));
          }
        }
  }
}

TEST_CASE("matmul is near the product in double") {
  Random random(3);
  for (const quant::Type type : types()) {
    const quant::Format& format = *quant::find(type);
    const std::size_t columns = fitting(type, 576);
    Case c(random, type, 33, columns, 2);
    std::vector<float> out(2 * 33), w(columns);
    const Kernels& kernels = table(supported_isas().back());
    kernels.matmul(c.packed, c.activations(kernels), 0, 3, out.data(), 33, false);
    for (std::size_t r = 0; r < 33; ++r) {
      format.dequantize(c.file_row(r), columns / format.block_elements, w.data());
      for (std::size_t b = 0; b < 2; ++b) {
        double sum = 0, magnitude = 0, rounding = 0;
        for (std::size_t k = 0; k < columns; ++k) {
          const double product = static_cast<double>(w[k]) * c.x[b * columns + k];
          sum += product;
          magnitude += std::fabs(product);
          // An int8 activation is off by half a step of amax / 127 at most, and amax < 5 here.
          rounding += std::fabs(w[k]) * 2.5 / 127;
        }
        // Each product adds a rounding of 2^-24 of a sum, which stays below the sum of magnitudes.
        const double tolerance = static_cast<double>(columns) * 0x1p-24 * magnitude +
                                 (wants_quantized(type) ? rounding : 0.0);
        CHECK(std::fabs(out[b * 33 + r] - sum) <= tolerance);
      }
    }
  }
}

TEST_CASE("unpack_row gives back what dequantize gives") {
  Random random(4);
  for (const quant::Type type : types()) {
    const quant::Format& format = *quant::find(type);
    const std::size_t columns = fitting(type, 3 * format.block_elements);
    Case c(random, type, 37, columns, 1);
    std::vector<float> unpacked(columns), expected(columns);
    for (std::size_t r = 0; r < 37; ++r) {
      unpack_row(c.packed, r, unpacked.data());
      format.dequantize(c.file_row(r), columns / format.block_elements, expected.data());
      CHECK(same_bits(unpacked.data(), expected.data(), columns));
    }
  }
}

TEST_CASE("pack refuses what cannot be a matrix") {
  std::vector<std::byte> bytes(20 * 4);
  CHECK(pack(quant::Type::kQ4_1, bytes.data(), bytes.size(), 2, 64));
  const auto columns = pack(quant::Type::kQ4_1, bytes.data(), bytes.size(), 2, 33);
  CHECK(columns.code() == Code::kBadData);
  CHECK(columns.message().find("33") != std::string::npos);
  CHECK(pack(quant::Type::kQ4_1, bytes.data(), bytes.size(), 3, 64).code() == Code::kBadData);
  CHECK(pack(quant::Type::kQ4_1, bytes.data(), bytes.size() - 1, 2, 64).code() == Code::kBadData);
  const auto super = pack(quant::Type::kQ4_K, bytes.data(), bytes.size(), 1, 576);
  CHECK(super.message() == "a row of 576 Q4_K weights is not a multiple of 256; use another file");
  CHECK(pack(static_cast<quant::Type>(99), bytes.data(), bytes.size(), 2, 64).code() ==
        Code::kBadData);
  const std::uint16_t infinity = 0x7c00;
  std::memcpy(&bytes[20], &infinity, 2);
  const auto scale = pack(quant::Type::kQ4_1, bytes.data(), bytes.size(), 2, 64);
  CHECK(scale.code() == Code::kBadData);
  CHECK(scale.message().find("Q4_1") != std::string::npos);
}

}  // namespace troupe::kernels
