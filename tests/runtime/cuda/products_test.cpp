#include <catch2/catch.hpp>

#include <troupe/runtime/cuda/dispatch.h>
#include <troupe/tests/runtime/cuda/cuda_fixture.h>
#include <troupe/tests/runtime/kernels/reference.h>

using namespace troupe;
using namespace troupe::cuda;
using kernels::random_floats;
using kernels::random_rows;

namespace {

// A matrix and rows to multiply, on the device, and the products that the oracle finds.
struct Case {
  Case(quant::Type t, std::size_t r, std::size_t k, std::size_t b, unsigned seed = 1)
      : type(t), rows(r), columns(kernels::fitting(t, k)), batch(b) {
    kernels::Random random(seed);
    file = random_rows(random, type, rows, columns);
    auto result = kernels::pack(type, file.data(), file.size(), rows, columns);
    REQUIRE(result);
    packed = std::move(*result);
    x = random_floats(random, batch * columns);
    // A row of zeros, whose blocks have the scale 0.
    if (batch > 2) std::fill_n(x.begin() + static_cast<std::ptrdiff_t>(columns), columns, 0.0f);
    kernels::QuantizedBuffer quantized(batch, columns);
    if (kernels::wants_quantized(type))
      kernels::table(kernels::Isa::kScalar)
          .quantize_rows(x.data(), columns, 0, batch, quantized.rows());
    blocks = std::make_unique<DeviceRows>(quantized);
    for (std::size_t i = 0; i < batch; ++i)
      for (std::size_t row = 0; row < rows; ++row)
        want.push_back(kernels::reference::dot(type, file.data() + row * (file.size() / rows),
                                               columns, x.data() + i * columns));
    const auto* bytes = reinterpret_cast<const unsigned char*>(packed.data.data());
    weights = std::make_unique<DeviceVector<unsigned char>>(
        std::vector<unsigned char>(bytes, bytes + packed.data.bytes()));
    floats = std::make_unique<DeviceVector<float>>(x);
  }
  ProductArgs args(float* out, const float* bias = nullptr) const {
    ProductArgs args;
    args.matrices[0] = {weights->data(), packed.group_bytes, static_cast<int>(rows), bias, out};
    args.count = 1;
    args.columns = static_cast<int>(columns);
    args.batch = static_cast<int>(batch);
    args.x = floats->data();
    args.blocks = blocks->blocks();
    return args;
  }
  std::vector<float> multiply() const {
    DeviceVector<float> out(batch * rows);
    launch_product(Stream{}, type, args(out.data()));
    return out.read();
  }
  std::string name() const {
    return std::string(quant::find(type)->name) + ", " + std::to_string(rows) + " x " +
           std::to_string(columns) + ", " + std::to_string(batch) + " rows";
  }

  quant::Type type;
  std::size_t rows, columns, batch;
  std::vector<std::byte> file;
  kernels::PackedMatrix packed;
  std::vector<float> x, want;
  std::unique_ptr<DeviceVector<unsigned char>> weights;
  std::unique_ptr<DeviceVector<float>> floats;
  std::unique_ptr<DeviceRows> blocks;
};

}  // namespace

TEST_CASE("cuda: products of every format and number of rows have the oracle's bits") {
  for (const quant::Format& format : quant::formats())
    for (const std::size_t batch : {1u, 2u, 3u, 4u, 8u, 9u, 37u}) {
      const Case c(format.type, 43, 96, batch);
      under_every_schedule([&] {
        INFO(c.name());
        require_same_bits(c.multiply(), c.want);
      });
    }
}

TEST_CASE("cuda: long rows have the oracle's bits") {
  // Use more blocks than a tile of terms holds, more chunks than run side by side, and odd numbers.
  for (const quant::Format& format : quant::formats())
    for (const std::size_t batch : {1u, 8u, 9u}) {
      const Case c(format.type, 17, format.block_elements == 256 ? 70 * 256 : 32 * 145, batch, 2);
      INFO(c.name());
      under_every_schedule([&] { require_same_bits(c.multiply(), c.want); });
    }
}

TEST_CASE("cuda: a row's product does not depend on the rows beside it") {
  for (const quant::Format& format : quant::formats()) {
    Case all(format.type, 33, 256, 64, 3);
    INFO(all.name());
    const std::vector<float> products = all.multiply();
    for (const std::size_t row : {0u, 1u, 13u, 63u}) {
      Case one(format.type, 33, 256, 1, 3);  // the same weights
      kernels::QuantizedBuffer quantized(1, all.columns);
      const float* x = all.x.data() + row * all.columns;
      kernels::table(kernels::Isa::kScalar).quantize_rows(x, all.columns, 0, 1, quantized.rows());
      one.blocks = std::make_unique<DeviceRows>(quantized);
      one.floats = std::make_unique<DeviceVector<float>>(std::vector<float>(x, x + all.columns));
      const std::vector<float> got = one.multiply();
      REQUIRE(kernels::same_bits(got.data(), products.data() + row * all.rows, all.rows));
    }
  }
}

TEST_CASE("cuda: biases, sums and rounding end a product as on the CPU") {
  for (const quant::Type type : {quant::Type::kQ8_0, quant::Type::kQ4_K, quant::Type::kF16})
    for (const std::size_t batch : {1u, 4u, 20u})
      for (const bool accumulate : {false, true})
        for (const bool biased : {false, true})
          for (const bool rounded : {false, true}) {
            Case c(type, 21, 64, batch, 4);
            INFO(c.name() << (accumulate ? ", added" : "") << (biased ? ", biased" : ""));
            kernels::Random random(5);
            const std::vector<float> before = random_floats(random, batch * c.rows);
            const std::vector<float> bias = random_floats(random, c.rows);
            std::vector<float> want = before;
            for (std::size_t i = 0; i < want.size(); ++i) {
              if (biased) want[i] = accumulate ? want[i] + bias[i % c.rows] : bias[i % c.rows];
              want[i] = accumulate || biased ? want[i] + c.want[i] : c.want[i];
              if (rounded) want[i] = f16_to_f32(f32_to_f16(want[i]));
            }
            DeviceVector<float> out(before), device_bias(bias);
            ProductArgs args = c.args(out.data(), biased ? device_bias.data() : nullptr);
            args.accumulate = accumulate;
            args.round_to_half = rounded;
            launch_product(Stream{}, type, args);
            require_same_bits(out.read(), want);
          }
}

TEST_CASE("cuda: matrices that share a launch give what each gives alone") {
  for (const std::size_t batch : {1u, 5u, 11u}) {
    Case a(quant::Type::kQ4_0, 40, 64, batch, 6), b(quant::Type::kQ4_0, 16, 64, batch, 6),
        c(quant::Type::kQ6_K, 19, 256, batch, 6), d(quant::Type::kQ4_0, 5, 64, batch, 6);
    DeviceVector<float> out_a(batch * 40), out_b(batch * 16), out_d(batch * 5);
    const auto on_device = [](const Case& from) {
      return DeviceMatrix{reinterpret_cast<const std::byte*>(from.weights->data()), from.type,
                          from.rows, from.columns, from.packed.group_bytes};
    };
    const DeviceMatrix ma = on_device(a), mb = on_device(b), md = on_device(d);
    ProductArgs common;
    common.batch = static_cast<int>(batch);
    common.blocks = a.blocks->blocks();
    const auto product_with = [&](const Case& weights) {
      std::vector<float> want;
      for (std::size_t i = 0; i < batch; ++i)
        for (std::size_t row = 0; row < weights.rows; ++row)
          want.push_back(kernels::reference::dot(
              weights.type, weights.file.data() + row * (weights.file.size() / weights.rows),
              weights.columns, a.x.data() + i * weights.columns));
      return want;
    };
    under_every_schedule([&] {
      launch_products(Stream{}, common,
                      {{&ma, nullptr, out_a.data()},
                       {&mb, nullptr, out_b.data()},
                       {&md, nullptr, out_d.data()}});
      require_same_bits(out_a.read(), product_with(a));
      require_same_bits(out_b.read(), product_with(b));
      require_same_bits(out_d.read(), product_with(d));
    });
    // Rows of 256 columns can be cut into either kind of blocks.
    Case e(quant::Type::kQ8_0, 24, 256, batch, 6);
    DeviceVector<float> out_c(batch * 19), out_e(batch * 24);
    const DeviceMatrix mc = on_device(c), me = on_device(e);
    common.blocks = e.blocks->blocks();
    launch_products(Stream{}, common, {{&mc, nullptr, out_c.data()}, {&me, nullptr, out_e.data()}});
    require_same_bits(out_e.read(), e.want);
    std::vector<float> want;
    for (std::size_t i = 0; i < batch; ++i)
      for (std::size_t row = 0; row < c.rows; ++row)
        want.push_back(kernels::reference::dot(
            c.type, c.file.data() + row * (c.file.size() / c.rows), 256, e.x.data() + i * 256));
    require_same_bits(out_c.read(), want);
  }
}

TEST_CASE("cuda: gathered rows are the unpacked ones") {
  for (const quant::Format& format : quant::formats()) {
    const Case c(format.type, 37, 512, 1, 7);
    INFO(c.name());
    const std::vector<int> tokens{0, 36, 17, 17, 15, 16};
    DeviceVector<int> on_device(tokens);
    DeviceVector<float> out(tokens.size() * c.columns);
    const DeviceMatrix matrix{reinterpret_cast<const std::byte*>(c.weights->data()), c.type, c.rows,
                              c.columns, c.packed.group_bytes};
    std::vector<float> want(tokens.size() * c.columns);
    for (std::size_t i = 0; i < tokens.size(); ++i)
      kernels::unpack_row(c.packed, static_cast<std::size_t>(tokens[i]),
                          want.data() + i * c.columns);
    under_every_schedule([&] {
      launch_gather(Stream{}, matrix, on_device.data(), tokens.size(), out.data());
      require_same_bits(out.read(), want);
    });
  }
}
