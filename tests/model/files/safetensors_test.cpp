#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/files/safetensors.h>
#include <troupe/runtime/text/bounded_json.h>

using namespace troupe;
using namespace troupe::model;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

struct Folder {
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "troupe_safetensors.XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Folder() { fs::remove_all(path); }
  fs::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path / name, std::ios::binary) << content;
    return path / name;
  }
  fs::path path;
};

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t bytes = header.size();
  return std::string(reinterpret_cast<const char*>(&bytes), 8) + header + data;
}

std::span<const std::byte> view(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

Result<std::vector<SafetensorsTensor>> parse(const std::string& file) {
  return parse_safetensors_header(view(file), file.size(), "x.safetensors");
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

const std::string kA = tensor("a", "F32", "[2,3]", "[0,24]");
const std::string kB = tensor("b", "BF16", "[4]", "[24,32]");
const std::string kGood =
    file_of("{\"__metadata__\":{\"format\":\"pt\"}," + kB + "," + kA + "}", std::string(32, 'x'));

}  // namespace

TEST_CASE("a safetensors header gives its tensors in the order of their bytes") {
  const auto tensors = parse(kGood);
  INFO(tensors.message());
  REQUIRE(tensors.is_ok());
  REQUIRE(tensors->size() == 2);
  const SafetensorsTensor& a = (*tensors)[0];
  CHECK(a.name == "a");
  CHECK(a.type == quant::Type::kF32);
  CHECK(a.shape == std::vector<std::uint64_t>{2, 3});
  CHECK(a.bytes == 24);
  CHECK(a.offset == kGood.size() - 32);
  CHECK((*tensors)[1].type == quant::Type::kBF16);
  const auto others = parse(file_of(
      "{" + tensor("i", "I64", "[]", "[0,8]") + "," + tensor("none", "U8", "[0,7]", "[8,8]") + "}",
      "12345678"));
  REQUIRE(others.is_ok());
  CHECK_FALSE((*others)[0].type.has_value());
  CHECK((*others)[0].dtype == "I64");
  CHECK(parse(file_of("{}", "")).is_ok());
}

TEST_CASE("every truncation of a safetensors file is refused") {
  for (std::size_t bytes = 0; bytes < kGood.size(); ++bytes) {
    const auto cut = parse(kGood.substr(0, bytes));
    REQUIRE(cut.code() == Code::kBadData);
    REQUIRE_THAT(cut.message(), Contains("x.safetensors"));
  }
  CHECK_THAT(parse(kGood + "y").message(), Contains("which has 33 bytes"));
}

TEST_CASE("the beginning of another file is refused at any length") {
  const std::string page = "\n<html><head><title>Not found</title></head></html>";
  for (std::size_t bytes = 0; bytes <= page.size(); ++bytes) {
    // The text has memory of its own, so that a sanitizer notices a read beyond its end.
    const std::vector<char> exact(page.begin(), page.begin() + static_cast<std::ptrdiff_t>(bytes));
    REQUIRE(
        parse_safetensors_header(std::as_bytes(std::span(exact)), bytes, "x.safetensors").code() ==
        Code::kBadData);
  }
}

TEST_CASE("no flipped byte of a safetensors header crashes") {
  std::mt19937 random(1);
  for (int i = 0; i < 4000; ++i) {
    std::string file = kGood;
    for (unsigned flips = 1 + random() % 3; flips > 0; --flips)
      file[random() % (file.size() - 32)] = static_cast<char>(random());
    if (const auto tensors = parse(file))
      for (const SafetensorsTensor& t : *tensors) REQUIRE(t.offset + t.bytes <= file.size());
  }
}

TEST_CASE("hostile safetensors headers are refused in a sentence") {
  const auto refused = [](const std::string& header, const std::string& why) {
    INFO(header.substr(0, 200));
    const auto tensors = parse(file_of(header, std::string(32, 'x')));
    REQUIRE(tensors.code() == Code::kBadData);
    REQUIRE_THAT(tensors.message(), Contains(why) && Contains("x.safetensors"));
    REQUIRE(tensors.message().size() < 400);
  };
  refused("[]", "not a JSON object");
  refused("{\"a\":1}", "expected an object");
  refused("{\"a\":{}}", "dtype none");
  refused("{" + tensor("a", "F31", "[1]", "[0,4]") + "}", "'\"F31\"'");
  refused("{" + tensor("a", "F32", "[-1]", "[0,4]") + "}", "-1");
  refused("{" + tensor("a", "F32", "[1.5]", "[0,4]") + "}", "1.5");
  refused("{" + tensor("a", "F32", "3", "[0,4]") + "}", "\"shape\"");
  refused("{" + tensor("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") + "}", "at most 8");
  refused("{" + tensor("a", "F32", "[1152921504606846977]", "[0,4]") + "}", "too large");
  refused("{" + tensor("a", "F32", "[1073741824,1073741825]", "[0,4]") + "}", "too large");
  refused("{" + tensor("a", "F64", "[1152921504606846976]", "[0,0]") + "}", "has 0 bytes");
  refused("{" + tensor("a", "F32", "[99999999999999999999]", "[0,4]") + "}", "1e+20");
  refused("{" + tensor("a", "F32", "[1]", "[0,8]") + "}", "has 8 bytes");
  refused("{" + tensor("a", "F32", "[9]", "[0,36]") + "}", "32 bytes of data");
  refused("{" + tensor("a", "F32", "[1]", "[8,4]") + "}", "expected a range");
  refused("{" + tensor("a", "F32", "[1]", "[0]") + "}", "expected a range");
  refused("{" + tensor("a", "F32", "[1]", "[0,18446744073709551615]") + "}", "expected a range");
  refused("{" + kA + "," + tensor("b", "F32", "[3]", "[20,32]") + "}", "another tensor lies");
  refused("{" + kA + "," + tensor("b", "F32", "[1]", "[28,32]") + "}", "a gap lies");
  refused("{" + kA + "}", "end at byte 24");
  refused("{" + kA + "," + kA + "}", "'a' twice");
  refused("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]}}",
          "'dtype' twice");
  refused("{\"\":" + kA.substr(4) + "}", "tensor ''");
  refused("{\"\xff\":1}", "not JSON at byte");
  refused("{\"a\":1e999}", "out of range");
  refused(std::string(10000, '['), "nested more than 8 deep");
  std::string objects;
  for (int i = 0; i < 10000; ++i) objects += "{\"a\":";
  refused(objects, "nested more than 8 deep");
  // Lengths that would wrap around, or ask for 2^60 bytes.
  for (const std::uint64_t bytes : {~std::uint64_t{0}, std::uint64_t{1} << 60}) {
    std::string file = kGood;
    std::memcpy(file.data(), &bytes, 8);
    CHECK_THAT(parse(file).message(), Contains("cut off"));
  }
}

TEST_CASE("safetensors that are written are read again") {
  const Folder folder;
  const std::vector<float> one{1.0f, -2.5f, 3e30f, 0.0f, 5.0f, 6.0f}, two{7.0f};
  const F32Tensor tensors[] = {{"logits", {2, 3}, one}, {"\"quoted\" \xc3\xa9", {1}, two}};
  REQUIRE(write_safetensors(folder.path / "out.safetensors", tensors).is_ok());
  const auto file = Safetensors::open_file(folder.path / "out.safetensors");
  INFO(file.message());
  REQUIRE(file.is_ok());
  REQUIRE(file->tensors().size() == 2);
  const SafetensorsTensor* logits = file->find("logits");
  REQUIRE(logits != nullptr);
  CHECK(logits->shape == std::vector<std::uint64_t>{2, 3});
  CHECK(logits->offset % 8 == 0);
  const auto bytes = file->bytes(*logits);
  REQUIRE(bytes.size() == 24);
  CHECK(std::memcmp(bytes.data(), one.data(), 24) == 0);
  CHECK(file->find("\"quoted\" \xc3\xa9") != nullptr);
  CHECK(file->find("log") == nullptr);
  file->drop(*logits);
  CHECK(std::memcmp(bytes.data(), one.data(), 24) == 0);
  CHECK(write_safetensors(folder.path / "no" / "such", tensors).code() == Code::kNotFound);
}

TEST_CASE("a folder's shards are one set of tensors") {
  const Folder folder;
  const std::vector<float> one{1.0f}, two{2.0f, 3.0f};
  const F32Tensor first[] = {{"one", {1}, one}}, second[] = {{"two", {2}, two}};
  REQUIRE(write_safetensors(folder.path / "m-1.safetensors", first).is_ok());
  REQUIRE(write_safetensors(folder.path / "m-2.safetensors", second).is_ok());
  CHECK(Safetensors::open_folder(folder.path).code() == Code::kNotFound);
  const auto with_index = [&](const std::string& text) {
    folder.write("model.safetensors.index.json", text);
    return Safetensors::open_folder(folder.path);
  };
  const auto both =
      with_index(R"({"weight_map": {"one": "m-1.safetensors", "two": "m-2.safetensors"}})");
  INFO(both.message());
  REQUIRE(both.is_ok());
  CHECK(both->tensors().size() == 2);
  CHECK(std::memcmp(both->bytes(*both->find("two")).data(), two.data(), 8) == 0);
  CHECK(both->bytes(*both->find("one")).size() == 4);
  CHECK(safetensors_files(folder.path)->size() == 3);

  CHECK_THAT(with_index("{}").message(), Contains("weight_map"));
  CHECK_THAT(with_index("[1]").message(), Contains("weight_map"));
  CHECK(with_index("{\"weight_map\"").code() == Code::kBadData);
  for (const char* file :
       {"../m-1.safetensors", "/etc/passwd", "..", "", "m-1.bin", ".safetensors"})
    CHECK_THAT(with_index(std::string(R"({"weight_map": {"one": ")") + file + "\"}}").message(),
               Contains("same folder"));
  CHECK(with_index(R"({"weight_map": {"one": "m-3.safetensors"}})").code() == Code::kNotFound);
  REQUIRE(write_safetensors(folder.path / "m-2.safetensors", first).is_ok());
  CHECK_THAT(with_index(R"({"weight_map": {"one": "m-1.safetensors", "two": "m-2.safetensors"}})")
                 .message(),
             Contains("in another file"));
}

TEST_CASE("JSON from outside is bounded") {
  CHECK(parse_json("{\"a\": [1, {\"b\": \"]]]\\\"[[[\"}]}", "x", {64, 3}).is_ok());
  std::string many = "[";
  for (int i = 0; i < 300'000; ++i) many += "{\"a\":1},";
  many.back() = ']';
  CHECK(parse_json(many, "x", {many.size(), 3})->size() == 300'000);  // must not take long
  CHECK(parse_json("[[[]]]", "x", {64, 3}).is_ok());
  CHECK_THAT(parse_json("[[[[]]]]", "x", {64, 3}).message(), Contains("3 deep at byte 3"));
  CHECK_THAT(parse_json(std::string(65, ' '), "x", {64, 3}).message(), Contains("65 bytes"));
  CHECK_THAT(parse_json("{\"a\":1,\"b\":{\"a\":2},\"a\":3}", "x", {64, 3}).message(),
             Contains("'a' twice"));
  CHECK(parse_json("", "x", {64, 3}).code() == Code::kBadData);
  CHECK(parse_json("{} {}", "x", {64, 3}).code() == Code::kBadData);
}
