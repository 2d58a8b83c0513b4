#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/runtime/file.h>
#include <troupe/runtime/quant/encode.h>

namespace troupe::quant {
namespace {

// A tensor of the recorded safetensors file, as bytes.
std::string golden(const std::string& name) {
  const auto file = read_file(TROUPE_TEST_DATA "/golden/quants.safetensors", 16 << 20);
  REQUIRE(file);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file->data(), 8);
  const auto header = nlohmann::json::parse(file->substr(8, header_bytes));
  const auto offsets = header.at(name).at("data_offsets");
  const std::size_t begin = offsets[0], end = offsets[1];
  return file->substr(8 + header_bytes + begin, end - begin);
}

std::vector<float> input() {
  const std::string bytes = golden("quantize.input");
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

TEST_CASE("encode gives the bytes that the gguf package gives") {
  const std::vector<float> values = input();
  for (const Type type : {Type::kQ4_0, Type::kQ4_1, Type::kQ8_0}) {
    const Format& format = *find(type);
    INFO(format.name);
    const std::string expected = golden("quantize." + std::string(format.name));
    std::string out(expected.size(), '\0');
    REQUIRE(encode(type, values.data(), values.size(), reinterpret_cast<std::byte*>(out.data())));
    CHECK((out == expected));
  }
}

TEST_CASE("what a format cannot hold is said, and zeros are zeros") {
  std::vector<float> values(32, 0.0f), back(32, 1.0f);
  std::byte out[32 * sizeof(float)];
  for (const Type type : {Type::kF32, Type::kF16, Type::kQ8_0, Type::kQ4_0, Type::kQ4_1}) {
    REQUIRE(can_encode(type));
    REQUIRE(encode(type, values.data(), 32, out));
    const Format& format = *find(type);
    format.dequantize(out, 32 / format.block_elements, back.data());
    CHECK(back == values);
    for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf(""), 1e30f}) {
      std::vector<float> one = values;
      one[7] = bad;
      CHECK(encode(type, one.data(), 32, out) == (type == Type::kF32 && bad == 1e30f));
    }
  }
}

}  // namespace troupe::quant
