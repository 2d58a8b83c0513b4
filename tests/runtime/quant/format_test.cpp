#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/runtime/file.h>
#include <troupe/runtime/quant/format.h>

namespace troupe::quant {
namespace {

// A tensor of the recorded safetensors file, as bytes.
std::string golden(const std::string& name) {
  static const std::string file = [] {
    auto content = read_file(TROUPE_TEST_DATA "/golden/quants.safetensors", 16 << 20);
    REQUIRE(content);
    return *content;
  }();
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), 8);
  const auto header = nlohmann::json::parse(file.substr(8, header_bytes));
  const auto offsets = header.at(name).at("data_offsets");
  const std::size_t begin = offsets[0], end = offsets[1];
  return file.substr(8 + header_bytes + begin, end - begin);
}

}  // namespace

TEST_CASE("dequantize equals the recorded values exactly") {
  for (const Format& format : formats()) {
    if (format.block_elements == 1) continue;
    INFO(format.name);
    const std::string bytes = golden(std::string(format.name) + ".bytes");
    const std::string expected = golden(std::string(format.name) + ".f32");
    const std::size_t blocks = bytes.size() / format.block_bytes;
    REQUIRE(blocks * format.block_bytes == bytes.size());
    std::vector<float> out(blocks * format.block_elements);
    REQUIRE(out.size() * sizeof(float) == expected.size());
    format.dequantize(reinterpret_cast<const std::byte*>(bytes.data()), blocks, out.data());
    CHECK(std::memcmp(out.data(), expected.data(), expected.size()) == 0);
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
    CHECK(std::abs(out[i] - input[i]) <= std::abs(input[i]) * 0x1p-8f);  // it was rounded once
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
