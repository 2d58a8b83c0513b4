#include <cmath>
#include <cstring>
#include <limits>

#include <catch2/catch.hpp>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/files/safetensors.h>
#include <troupe/model/files/weight_scales.h>
#include <troupe/runtime/kernels/packed_matrix.h>

using namespace troupe;
using namespace troupe::model;
using Catch::Matchers::Contains;

namespace {

// Makes a header with a matrix and its scales.
GgufHeader header_of(quant::Type type, std::vector<std::uint64_t> shape, quant::Type scale_type,
                     std::vector<std::uint64_t> scale_shape,
                     std::vector<std::int64_t> block = {128, 128}) {
  GgufHeader header;
  if (!block.empty()) header.metadata[std::string(header_keys::kScaleBlock)] = block;
  if (scale_shape.empty()) scale_shape = {1};
  header.tensors = {{"a.weight", type, std::move(shape), 0, 0},
                    {"a.weight_scale", scale_type, std::move(scale_shape), 0, 0}};
  return header;
}

}  // namespace

TEST_CASE("matrices of 8-bit floats have the values that transformers and PyTorch give them") {
  const auto golden = *Safetensors::open_file(TROUPE_TEST_DATA "/golden/fp8.safetensors");
  std::size_t matrices = 0;
  for (const SafetensorsTensor& tensor : golden.tensors()) {
    if (!tensor.name.ends_with(".weight")) continue;
    INFO(tensor.name);
    ++matrices;
    const std::string name = tensor.name.substr(0, tensor.name.size() - 7);
    const SafetensorsTensor& scale = *golden.find(tensor.name + "_scale");
    const SafetensorsTensor& expected = *golden.find(name + ".bf16");
    const std::size_t rows = tensor.shape[0], columns = tensor.shape[1];
    const GgufHeader header = header_of(*tensor.type, tensor.shape, *scale.type, scale.shape);
    const auto scales = find_scales(header, header.tensors[0]);
    INFO(scales.message());
    REQUIRE(scales.is_ok());
    REQUIRE(scales->tensor == &header.tensors[1]);
    auto grid = read_scales(*scales, golden.bytes(scale));
    REQUIRE(grid.is_ok());
    const auto bytes = golden.bytes(tensor);
    std::vector<float> row(columns), value(columns);
    // Read all rows, and some rows from the middle on.
    for (const std::size_t first : {std::size_t{0}, std::size_t{1}, rows / 2, rows - 1}) {
      grid->first_row = first;
      const auto packed = kernels::pack(*tensor.type, bytes.data() + first * columns,
                                        (rows - first) * columns, rows - first, columns, 0, &*grid);
      INFO(packed.message());
      REQUIRE(packed.is_ok());
      CHECK(packed->type == quant::Type::kBF16);
      CHECK(packed->file_type == *tensor.type);
      float largest = 0;
      for (std::size_t r = first; r < rows; ++r) {
        kernels::unpack_row(*packed, r - first, row.data());
        quant::find(quant::Type::kBF16)
            ->dequantize(golden.bytes(expected).data() + 2 * r * columns, columns, value.data());
        REQUIRE(std::memcmp(row.data(), value.data(), columns * sizeof(float)) == 0);
        for (const float one : value) largest = std::max(largest, std::abs(one));
      }
      CHECK(packed->read_error <= largest * 0x1p-8f);
    }
  }
  CHECK(matrices == 9);
}

TEST_CASE("8-bit floats without scales are their values") {
  for (const auto type : {quant::Type::kF8_E4M3, quant::Type::kF8_E5M2}) {
    const bool is_e4m3 = type == quant::Type::kF8_E4M3;
    std::vector<std::byte> codes;
    for (unsigned code = 0; code < 256; ++code) {
      const bool number = is_e4m3 ? (code & 127u) != 127u : (code & 127u) < 0x7cu;
      if (number) codes.push_back(static_cast<std::byte>(code));
    }
    const auto packed = kernels::pack(type, codes.data(), codes.size(), 1, codes.size());
    REQUIRE(packed.is_ok());
    CHECK(packed->read_error == 0);
    std::vector<float> row(codes.size());
    kernels::unpack_row(*packed, 0, row.data());
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const auto code = std::to_integer<int>(codes[i]);
      const int bits = is_e4m3 ? 3 : 2, bias = is_e4m3 ? 7 : 15;
      const int exponent = code >> bits & (is_e4m3 ? 15 : 31), fraction = code & ((1 << bits) - 1);
      const int whole = exponent == 0 ? fraction : fraction + (1 << bits);
      const double value = std::ldexp(whole, std::max(exponent, 1) - bias - bits);
      CHECK(row[i] == static_cast<float>(code >= 128 ? -value : value));
    }
    for (unsigned code = 0; code < 256; ++code) {
      const std::byte one{static_cast<unsigned char>(code)};
      const bool known = std::find(codes.begin(), codes.end(), one) != codes.end();
      CHECK(kernels::pack(type, &one, 1, 1, 1).is_ok() == known);
    }
  }
}

TEST_CASE("the shape of scales says which weights share one") {
  const auto grid_of = [](std::vector<std::uint64_t> shape, std::vector<std::uint64_t> scales,
                          std::vector<std::int64_t> block = {128, 128}) {
    const GgufHeader header = header_of(quant::Type::kF8_E4M3, std::move(shape), quant::Type::kF32,
                                        std::move(scales), std::move(block));
    const auto found = find_scales(header, header.tensors[0]);
    INFO(found.message());
    REQUIRE(found.is_ok());
    return found->grid;
  };
  const auto blocks = grid_of({200, 300}, {2, 3});
  CHECK(blocks.block_rows == 128);
  CHECK(blocks.block_columns == 128);
  const auto others = grid_of({200, 300}, {2, 3}, {100, 100});
  CHECK(others.block_rows == 100);
  CHECK(others.block_columns == 100);
  const auto even = grid_of({200, 300}, {2, 3}, {});
  CHECK(even.block_rows == 100);
  CHECK(even.block_columns == 100);
  const auto rows = grid_of({200, 300}, {200, 1});
  CHECK(rows.block_rows == 1);
  CHECK(rows.block_columns == 300);
  auto stack = grid_of({3, 200, 300}, {3, 2, 3});
  CHECK(stack.matrix_rows == 200);
  stack.values.resize(18);
  CHECK(stack.row(0) == stack.values.data());
  CHECK(stack.row(127) == stack.values.data());
  CHECK(stack.row(128) == stack.values.data() + 3);
  CHECK(stack.row(200) == stack.values.data() + 6);
  CHECK(stack.row(599) == stack.values.data() + 15);
  auto experts = grid_of({3, 200, 300}, {3});
  experts.values.resize(3);
  CHECK(experts.row(399) == experts.values.data() + 1);
  auto one = grid_of({3, 200, 300}, {1, 1, 1});
  one.values.resize(1);
  CHECK(one.row(599) == one.values.data());
  auto turned = grid_of({200, 1000}, {});
  turned.values.resize(1);
  CHECK(turned.row(999) == turned.values.data());  // of the same matrix, transposed
}

TEST_CASE("scales that fit no matrix are refused") {
  const auto message = [](const GgufHeader& header) {
    const auto found = find_scales(header, header.tensors[0]);
    return found.is_ok() ? std::string("ok") : found.message();
  };
  const auto f8 = quant::Type::kF8_E4M3, f32 = quant::Type::kF32;
  for (const std::vector<std::uint64_t>& shape : {std::vector<std::uint64_t>{7, 3},
                                                  {199},
                                                  {2},
                                                  {300},
                                                  {1, 299},
                                                  {2, 3, 1},
                                                  {201, 1},
                                                  {0, 3},
                                                  {2, 0}})
    CHECK_THAT(message(header_of(f8, {200, 300}, f32, shape)),
               Contains("'a.weight_scale' has the shape") && Contains("200x300"));
  CHECK_THAT(message(header_of(f8, {2, 200, 300}, f32, {3, 2, 3})), Contains("2x200x300"));
  CHECK_THAT(message(header_of(quant::Type::kBF16, {200, 300}, f32, {2, 3})),
             Contains("the weights are BF16, which have none"));
  CHECK_THAT(message(header_of(f8, {200, 300}, f8, {2, 3})), Contains("must be F32, F16 or BF16"));
  CHECK_THAT(message(header_of(f8, {200, 300}, quant::Type::kQ8_0, {2, 3})),
             Contains("must be F32, F16 or BF16"));
  // A block that the header states wrongly does not count.
  CHECK(message(header_of(f8, {200, 300}, f32, {2, 3}, {0, -1})) == "ok");
  CHECK(message(header_of(f8, {200, 300}, f32, {2, 3}, {128})) == "ok");
  CHECK(message(header_of(f8, {200, 300}, f32, {2, 3}, {1, std::int64_t{1} << 62})) == "ok");

  const GgufHeader header = header_of(f8, {2, 2}, f32, {2, 1});
  const auto scales = *find_scales(header, header.tensors[0]);
  std::vector<float> values{1.0f, std::numeric_limits<float>::infinity()};
  CHECK_THAT(read_scales(scales, std::as_bytes(std::span(values))).message(),
             Contains("a NaN or an infinity at 1"));
  CHECK_THAT(read_scales(scales, std::as_bytes(std::span(values).first(1))).message(),
             Contains("4 bytes instead of 8"));
  // This product does not fit into a BF16.
  values = {1.0f, 3e38f};
  const auto grid = *read_scales(scales, std::as_bytes(std::span(values)));
  const std::byte sevens[4] = {std::byte{0x77}, std::byte{0x77}, std::byte{0x77}, std::byte{0x77}};
  CHECK_THAT(kernels::pack(f8, sevens, 4, 2, 2, 0, &grid).message(),
             Contains("is not a finite number"));
}
