#include <limits>

#include <catch2/catch.hpp>

#include <troupe/runtime/cuda/dispatch.h>
#include <troupe/tests/runtime/cuda/cuda_fixture.h>
#include <troupe/tests/runtime/kernels/reference.h>

using namespace troupe;
using namespace troupe::cuda;
using kernels::random_floats;

namespace {

kernels::QuantizedBuffer quantized(const std::vector<float>& x, std::size_t columns) {
  kernels::QuantizedBuffer out(x.size() / columns, columns);
  for (std::size_t row = 0; row < x.size() / columns; ++row)
    kernels::reference::quantize_row(x.data() + row * columns, columns,
                                     out.rows().from(row * columns));
  return out;
}

}  // namespace

TEST_CASE("cuda: norms and their blocks have the oracle's bits") {
  for (const std::size_t columns : {32u, 96u, 160u, 512u, 2048u}) {
    kernels::Random random(1);
    const std::size_t rows = 5;
    std::vector<float> x = random_floats(random, rows * columns);
    x[0] = 3e18f;   // the square of this value is near the largest number
    x[1] = 1e-20f;  // the square of this value is subnormal
    for (std::size_t c = 0; c < columns; ++c) x[2 * columns + c] = 0.0f;
    const std::vector<float> weight = random_floats(random, columns);
    const std::vector<int> chosen{4, 0, 2};
    std::vector<float> want(rows * columns), want_chosen(chosen.size() * columns);
    for (std::size_t row = 0; row < rows; ++row)
      kernels::reference::rms_norm(x.data() + row * columns, weight.data(), 1e-5f, columns,
                                   want.data() + row * columns);
    for (std::size_t i = 0; i < chosen.size(); ++i)
      std::copy_n(want.data() + static_cast<std::size_t>(chosen[i]) * columns, columns,
                  want_chosen.data() + i * columns);
    DeviceVector<float> dx(x), dweight(weight), out(rows * columns);
    DeviceVector<int> dchosen(chosen);
    DeviceRows blocks(rows, columns), chosen_blocks(chosen.size(), columns);
    DeviceVector<float> chosen_out(chosen.size() * columns);
    under_every_schedule([&] {
      launch(Stream{}, norm_quantize, dim3(rows), 128, dx.data(), nullptr, dweight.data(), 1e-5f,
             static_cast<int>(columns), out.data(), blocks.blocks());
      require_same_bits(out.read(), want);
      blocks.require_same(quantized(want, columns));
      launch(Stream{}, norm_quantize, dim3(static_cast<unsigned>(chosen.size())), 128, dx.data(),
             dchosen.data(), dweight.data(), 1e-5f, static_cast<int>(columns), chosen_out.data(),
             chosen_blocks.blocks());
      require_same_bits(chosen_out.read(), want_chosen);
      chosen_blocks.require_same(quantized(want_chosen, columns));
    });
  }
}

TEST_CASE("cuda: gated activations and their blocks have the oracle's bits") {
  for (const std::size_t columns : {32u, 160u, 1056u, 1280u, 2304u}) {
    kernels::Random random(2);
    const std::size_t rows = 3;
    std::vector<float> gate = random_floats(random, rows * columns, 4.0f);
    std::vector<float> up = random_floats(random, rows * columns);
    gate[1] = 200.0f;
    gate[2] = -200.0f;
    for (std::size_t c = 0; c < 32; ++c) up[columns + c] = 1e-35f;  // this block becomes zero
    up[2 * columns] = std::numeric_limits<float>::infinity();       // this block is not finite
    std::vector<float> want(gate.size());
    for (std::size_t i = 0; i < gate.size(); ++i)
      want[i] = kernels::reference::silu(gate[i]) * up[i];
    under_every_schedule([&] {
      DeviceVector<float> dgate(gate), dup(up);
      DeviceRows blocks(rows, columns);
      launch(Stream{}, swiglu_quantize, dim3(rounded_up(columns, kSwigluColumns), rows), 128,
             dgate.data(), dup.data(), static_cast<int>(columns), blocks.blocks());
      require_same_bits(dgate.read(), want);
      blocks.require_same(quantized(want, columns));
    });
  }
}

namespace {

void halves(const std::uint32_t* in, int count, std::uint16_t* out) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += 32) out[i] = to_half(as_float(in[i]));
}
void exponentials(const float* in, int count, float* out) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += 32) out[i] = exp_same(in[i]);
}

}  // namespace

TEST_CASE("cuda: half precision and exp are the CPU's, down to a NaN's payload") {
  std::vector<std::uint32_t> bits{0,           0x80000000u, 0x7f800000u, 0xff800000u, 0x7fc00001u,
                                  0x7f800001u, 0x477fefffu, 0x477ff000u, 0x33000000u, 0x33000001u,
                                  0x38800000u, 0x387fffffu, 1u};
  kernels::Random random(3);
  while (bits.size() < 20000) bits.push_back(static_cast<std::uint32_t>(random()));
  DeviceVector<std::uint32_t> in(bits);
  DeviceVector<std::uint16_t> out(bits.size());
  launch(Stream{}, halves, dim3(1), 32, in.data(), static_cast<int>(bits.size()), out.data());
  const std::vector<std::uint16_t> got = out.read();
  std::vector<float> values;
  for (std::size_t i = 0; i < bits.size(); ++i) {
    values.push_back(as_float(bits[i]));
    REQUIRE(got[i] == f32_to_f16(values.back()));
    const float back = from_half(got[i]), want = f16_to_f32(got[i]);
    REQUIRE(kernels::same_bits(&back, &want, 1));
  }
  while (values.size() < 40000) values.push_back(random_floats(random, 1, 40.0f)[0]);
  DeviceVector<float> x(values), y(values.size());
  launch(Stream{}, exponentials, dim3(1), 32, x.data(), static_cast<int>(values.size()), y.data());
  std::vector<float> want(values.size());
  kernels::table(kernels::Isa::kScalar).exp(values.data(), want.data(), values.size());
  require_same_bits(y.read(), want);
}
