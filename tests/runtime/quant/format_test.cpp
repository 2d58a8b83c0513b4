#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/runtime/file.h>
#include <troupe/runtime/kernels/packed_matrix.h>
#include <troupe/runtime/quant/format.h>

namespace troupe::quant {
namespace {

// Returns a tensor of the recorded safetensors file, as bytes.
std::string golden(const std::string& name, const char* from = "quants") {
  const auto content =
      read_file(TROUPE_TEST_DATA "/golden/" + std::string(from) + ".safetensors", 16 << 20);
  REQUIRE(content);
  const std::string& file = *content;
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), 8);
  const auto header = nlohmann::json::parse(file.substr(8, header_bytes));
  const auto offsets = header.at(name).at("data_offsets");
  const std::size_t begin = offsets[0], end = offsets[1];
  return file.substr(8 + header_bytes + begin, end - begin);
}

// Returns a part of the recorded blocks of a format: "bytes" or "f32".
std::string golden_part(const Format& format, const std::string& part) {
  const std::uint32_t number = static_cast<std::uint32_t>(format.type);
  const bool first = number <= 8 || (number >= 12 && number <= 14);
  return golden(std::string(format.name) + "." + part, first ? "quants" : "file_formats");
}

// Returns the formats that are read into Q8_0.
std::vector<Format> small_formats() {
  std::vector<Format> found;
  for (const Format& format : file_formats())
    if (format.packed_type == Type::kQ8_0) found.push_back(format);
  return found;
}

}  // namespace

TEST_CASE("formats that are read into Q8_0 have the recorded values, before and after") {
  const Format& q8 = *find(Type::kQ8_0);
  // The small formats are all but the four of folders.
  CHECK(small_formats().size() == file_formats().size() - 4);
  for (const Format& format : small_formats()) {
    INFO(format.name);
    const std::string bytes = golden(std::string(format.name) + ".bytes", "file_formats");
    const std::string expected = golden(std::string(format.name) + ".f32", "file_formats");
    const std::size_t blocks = bytes.size() / format.block_bytes;
    REQUIRE(blocks * format.block_bytes == bytes.size());
    const std::size_t elements = blocks * format.block_elements;
    REQUIRE(expected.size() == elements * sizeof(float));
    std::vector<float> values(elements), read(elements), after(elements);
    std::memcpy(values.data(), expected.data(), expected.size());
    const auto* in = reinterpret_cast<const std::byte*>(bytes.data());
    format.dequantize(in, blocks, read.data());
    CHECK(read == values);
    REQUIRE(format.packed_type == Type::kQ8_0);
    REQUIRE(packed_bytes(format, bytes.size()) == elements / 32 * 34);
    std::vector<std::byte> repacked(elements / 32 * 34);
    format.repack(in, blocks, repacked.data());
    q8.dequantize(repacked.data(), elements / 32, after.data());
    if (format.read_error == 0) CHECK(after == values);
    double worst = 0;
    for (std::size_t block = 0; block < elements / 32; ++block) {
      float largest = 0;
      for (std::size_t i = block * 32; i < block * 32 + 32; ++i)
        largest = std::max(largest, std::abs(values[i]));
      for (std::size_t i = block * 32; i < block * 32 + 32 && largest > 0; ++i)
        worst = std::max<double>(worst, std::abs(values[i] - after[i]) / largest);
    }
    CHECK(worst <= format.read_error);
    CHECK(worst * 4 >= format.read_error);  // read_error is not much larger than the errors
  }
}

TEST_CASE("matrices of formats without kernels are packed as the Q8_0 that they are read into") {
  for (const Format& format : small_formats()) {
    INFO(format.name);
    const std::string bytes = golden(std::string(format.name) + ".bytes", "file_formats");
    const std::size_t blocks = bytes.size() / format.block_bytes;
    const std::size_t elements = blocks * format.block_elements;
    const auto* in = reinterpret_cast<const std::byte*>(bytes.data());
    std::vector<std::byte> repacked(packed_bytes(format, bytes.size()));
    format.repack(in, blocks, repacked.data());
    const auto packed = kernels::pack(format.type, in, bytes.size(), elements / 256, 256);
    const auto same =
        kernels::pack(Type::kQ8_0, repacked.data(), repacked.size(), elements / 256, 256);
    REQUIRE(packed.is_ok());
    REQUIRE(same.is_ok());
    CHECK(packed->type == Type::kQ8_0);
    CHECK(packed->rows == elements / 256);
    CHECK(packed->file_type == format.type);
    float largest = 0, changed = 0;
    std::vector<float> before(elements), after(elements);
    format.dequantize(in, blocks, before.data());
    find(Type::kQ8_0)->dequantize(repacked.data(), elements / 32, after.data());
    for (std::size_t i = 0; i < elements; ++i) {
      largest = std::max(largest, std::abs(before[i]));
      changed = std::max(changed, std::abs(before[i] - after[i]));
    }
    CHECK(packed->read_error == changed);
    CHECK(changed <= largest * format.read_error);
    REQUIRE(packed->data.bytes() == same->data.bytes());
    CHECK(std::memcmp(packed->data.data(), same->data.data(), same->data.bytes()) == 0);
    CHECK_FALSE(kernels::pack(format.type, in, bytes.size() - 1, elements / 256, 256).is_ok());
  }
}

TEST_CASE("blocks that are not finite numbers are refused, though Q8_0 could hold zeros") {
  for (const Format& format : file_formats()) {
    if (format.type == Type::kMXFP4_SPLIT)
      continue;  // the scales of this format are a tensor of their own
    INFO(format.name);
    const std::size_t bytes = 256 / format.block_elements * format.block_bytes;
    const std::vector<std::byte> ones(bytes, std::byte{0xff});  // every scale is a NaN, or 2^127
    const auto packed = kernels::pack(format.type, ones.data(), bytes, 1, 256);
    CHECK(packed.code() == Code::kBadData);
    CHECK(packed.message().find("is not a finite number") != std::string::npos);
  }
}

TEST_CASE("MXFP4 whose scales are a tensor of their own becomes MXFP4 with the same values") {
  const Format &split = *find(Type::kMXFP4_SPLIT), &e8m0 = *find(Type::kE8M0);
  const Format& mxfp4 = *find(Type::kMXFP4);
  REQUIRE(split.packed_type == Type::kMXFP4);
  constexpr float kNumbers[] = {0, .5f, 1, 1.5f, 2, 3, 4, 6};
  std::vector<std::byte> blocks(128), scale_bytes(256);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    blocks[i] = static_cast<std::byte>((i * 37 + i / 16 * 11) % 256);
  for (std::size_t i = 0; i < 256; ++i) scale_bytes[i] = static_cast<std::byte>(i);
  std::vector<float> scales(256);
  e8m0.dequantize(scale_bytes.data(), 256, scales.data());
  CHECK(std::isnan(scales[255]));
  const std::size_t columns = 2 * blocks.size();
  for (std::size_t first = 0; first + columns / 32 <= 255; ++first) {
    for (std::size_t i = 0; i < columns / 32; ++i)
      REQUIRE(scales[first + i] == std::ldexp(1.0f, static_cast<int>(first + i) - 127));
    std::vector<std::byte> packed(columns / 32 * 17);
    split.repack_scaled(blocks.data(), columns, &scales[first], 32, packed.data());
    std::vector<float> values(columns), plain(columns);
    mxfp4.dequantize(packed.data(), columns / 32, values.data());
    split.dequantize(blocks.data(), columns / 32, plain.data());
    for (std::size_t k = 0; k < columns; ++k) {
      const unsigned code = std::to_integer<unsigned>(blocks[k / 2]) >> (k % 2 * 4) & 15u;
      const float number = (code & 8u) != 0 ? -kNumbers[code & 7u] : kNumbers[code & 7u];
      REQUIRE(plain[k] == number);
      REQUIRE(values[k] == number * scales[first + k / 32]);
    }
  }
  std::vector<std::byte> unscaled(columns / 32 * 17);
  std::vector<float> values(columns), plain(columns);
  split.repack(blocks.data(), columns / 32, unscaled.data());
  mxfp4.dequantize(unscaled.data(), columns / 32, values.data());
  split.dequantize(blocks.data(), columns / 32, plain.data());
  CHECK(values == plain);
}

TEST_CASE("dequantize equals the recorded values exactly") {
  for (const Format& format : formats()) {
    if (format.block_elements == 1) continue;
    INFO(format.name);
    const std::string bytes = golden_part(format, "bytes");
    const std::string expected = golden_part(format, "f32");
    const std::size_t blocks = bytes.size() / format.block_bytes;
    REQUIRE(blocks * format.block_bytes == bytes.size());
    std::vector<float> out(blocks * format.block_elements);
    REQUIRE(out.size() * sizeof(float) == expected.size());
    format.dequantize(reinterpret_cast<const std::byte*>(bytes.data()), blocks, out.data());
    std::vector<float> values(out.size());
    std::memcpy(values.data(), expected.data(), expected.size());
    CHECK(out == values);  // but for the sign of zeros
  }
}

TEST_CASE("packed groups take at most a twentieth more than their rows in a file") {
  for (const Format& format : formats()) {
    INFO(format.name);
    const std::size_t columns = 2048, in_file = kPackRows * *row_bytes(format, columns);
    CHECK(format.packed_group_bytes(columns) * 100 <= in_file * 105);
    CHECK(format.packed_group_bytes(format.block_elements) % 64 == 0);
  }
}

TEST_CASE(
    "powers of two of MXFP4 are exact down to the smallest, and refused where they overflow") {
  const Format& format = *find(Type::kMXFP4);
  for (int e = 0; e < 256; ++e) {
    std::vector<std::byte> block(17, std::byte{0x77});  // 12 everywhere
    block[0] = static_cast<std::byte>(e);
    std::vector<float> values(32);
    format.dequantize(block.data(), 1, values.data());
    if (e < 252) CHECK(values[5] == std::ldexp(12.0f, e - 128));
    const auto packed = kernels::pack(Type::kMXFP4, block.data(), 17, 1, 32);
    CHECK(packed.is_ok() == (e < 248));
    if (!packed.is_ok()) continue;
    kernels::unpack_row(*packed, 0, values.data());
    CHECK(values[31] == std::ldexp(12.0f, e - 128));
  }
}

TEST_CASE("bf16 is the upper half of an f32") {
  const std::string bytes = golden("bf16.bytes"), floats = golden("quantize.input");
  const std::size_t count = bytes.size() / 2;
  std::vector<float> out(count), input(count);
  REQUIRE(floats.size() == count * sizeof(float));
  std::memcpy(input.data(), floats.data(), floats.size());
  find(Type::kBF16)
      ->dequantize(reinterpret_cast<const std::byte*>(bytes.data()), count, out.data());
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, &out[i], 4);
    CHECK((bits & 0xffffu) == 0);
    // The value was rounded once.
    CHECK(std::abs(out[i] - input[i]) <= std::abs(input[i]) * 0x1p-8f);
  }
}

TEST_CASE("formats are found by the ids of GGUF") {
  REQUIRE(find(std::uint32_t{3}) != nullptr);
  CHECK(find(std::uint32_t{3})->name == "Q4_1");
  CHECK(find(Type::kQ8_0)->block_bytes == 34);
  CHECK(find(std::uint32_t{4}) == nullptr);
  CHECK(find(std::uint32_t{0xffffffff}) == nullptr);
}

TEST_CASE("row_bytes refuses columns that do not fit") {
  const Format& format = *find(Type::kQ4_1);
  CHECK(*row_bytes(format, 576) == 360);
  CHECK(*row_bytes(format, 0) == 0);
  const auto odd = row_bytes(format, 577);
  CHECK(odd.code() == Code::kBadData);
  CHECK(odd.message().find("577") != std::string::npos);
  CHECK(row_bytes(format, std::uint64_t{1} << 63).code() == Code::kBadData);
  CHECK(*row_bytes(*find(Type::kF32), std::uint64_t{1} << 60) == std::uint64_t{1} << 62);
  CHECK(row_bytes(*find(Type::kF32), (std::uint64_t{1} << 60) + 1).code() == Code::kBadData);
}

}  // namespace troupe::quant
