#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/runtime/file.h>
#include <troupe/runtime/quant/encode.h>

namespace troupe::quant {
namespace {

// Returns a tensor of the recorded safetensors file, as bytes.
std::string golden(const std::string& name, const std::string& from = "quants") {
  const auto file = read_file(TROUPE_TEST_DATA "/golden/" + from + ".safetensors", 16 << 20);
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
  for (const Type type : {Type::kQ4_0, Type::kQ4_1, Type::kQ5_0, Type::kQ5_1, Type::kQ8_0}) {
    const Format& format = *find(type);
    INFO(format.name);
    const std::string expected = golden("quantize." + std::string(format.name));
    std::string out(expected.size(), '\0');
    REQUIRE(encode(type, values.data(), values.size(), reinterpret_cast<std::byte*>(out.data())));
    CHECK((out == expected));
  }
}

TEST_CASE("ternary weights have the bytes that the gguf package gives, and come back exactly") {
  const std::string bytes = golden("input", "ternary");
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  for (const Type type : {Type::kTQ1_0, Type::kTQ2_0}) {
    const Format& format = *find(type);
    INFO(format.name);
    const std::string expected = golden(std::string(format.name), "ternary");
    REQUIRE(expected.size() == values.size() / 256 * format.block_bytes);
    std::vector<std::byte> out(expected.size());
    REQUIRE(encode(type, values.data(), values.size(), out.data()));
    CHECK(std::memcmp(out.data(), expected.data(), expected.size()) == 0);
    std::vector<float> back(values.size());
    format.dequantize(out.data(), values.size() / 256, back.data());
    for (std::size_t block = 0; block < values.size() / 256; ++block) {
      const float* const own = back.data() + block * 256;
      if (std::all_of(own, own + 256, [](float x) { return x == 0.0f; })) continue;
      std::vector<std::byte> again(format.block_bytes);
      REQUIRE(encode(type, own, 256, again.data()));
      CHECK(std::memcmp(again.data(), out.data() + block * format.block_bytes, again.size()) == 0);
    }
    for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf(""), 1e30f}) {
      values[300] = bad;
      CHECK_FALSE(encode(type, values.data(), values.size(), out.data()));
    }
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
}

// The figures are those of llama.cpp's ggml_quantize_chunk, without an importance matrix, on the
// same values.
TEST_CASE("formats whose scales are searched for lose no more than llama.cpp's") {
  const std::vector<float> values = input();
  const std::pair<Type, double> others[] = {
      {Type::kQ2_K, 0.288305},    {Type::kQ3_K, 0.148036},  {Type::kQ4_K, 0.0697053},
      {Type::kQ5_K, 0.0355393},   {Type::kQ6_K, 0.0173406}, {Type::kIQ4_NL, 0.0747056},
      {Type::kIQ4_XS, 0.0753243}, {Type::kMXFP4, 0.115239},
  };
  for (const std::pair<Type, double>& other : others) {
    const Format& format = *find(other.first);
    INFO(format.name);
    const std::size_t blocks = values.size() / format.block_elements;
    std::vector<std::byte> out(blocks * format.block_bytes);
    REQUIRE(encode(format.type, values.data(), values.size(), out.data()));
    std::vector<float> back(values.size());
    format.dequantize(out.data(), blocks, back.data());
    double sum = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double off = static_cast<double>(back[i]) - static_cast<double>(values[i]);
      sum += off * off;
    }
    CHECK(std::sqrt(sum / static_cast<double>(values.size())) < 1.02 * other.second);
  }
}

// The exponent is that of the logarithm after rounding to f32, as in the package.
TEST_CASE("MXFP4 takes the exponent that the gguf package takes") {
  const auto exponent = [](float largest) {
    std::vector<float> values(32, 0.0f);
    values[5] = largest;
    std::byte out[17];
    REQUIRE(encode(Type::kMXFP4, values.data(), 32, out));
    return static_cast<int>(out[0]);
  };
  CHECK(exponent(1.0f) == 125);
  CHECK(exponent(1.9999f) == 125);
  CHECK(exponent(std::nextafter(1.0f, 0.0f)) == 124);    // log2 is -8.6e-8, not 0 in f32
  CHECK(exponent(std::nextafter(0.25f, 0.0f)) == 123);   // log2 becomes -2
  CHECK(exponent(std::nextafter(256.0f, 0.0f)) == 133);  // log2 becomes 8
  CHECK(exponent(0.0f) == 0);
}

TEST_CASE("what a format cannot hold is said, and zeros are zeros") {
  std::vector<float> values(32, 0.0f), back(32, 1.0f);
  std::byte out[32 * sizeof(float)];
  for (const Type type :
       {Type::kF32, Type::kF16, Type::kQ8_0, Type::kQ4_0, Type::kQ4_1, Type::kQ5_0, Type::kQ5_1}) {
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
