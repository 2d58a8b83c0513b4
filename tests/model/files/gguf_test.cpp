#include <cstdlib>
#include <random>

#include <catch2/catch.hpp>

#include <troupe/model/files/gguf.h>
#include <troupe/model/files/gguf_reader.h>
#include <troupe/runtime/file.h>
#include <troupe/tests/model/files/gguf_builder.h>

using namespace troupe;
using namespace troupe::model;
using troupe::test::bytes_of;
using troupe::test::GgufBuilder;

namespace {

constexpr std::uint32_t kF32 = 0, kQ4_1 = 3;

const std::string kDamaged = "; take another file of the model";

Result<GgufHeader> parse(const std::string& file) {
  return parse_gguf_header(bytes_of(file), file.size(), "model.gguf");
}

// Makes a file with every type of value, and two tensors with a gap of padding between them.
std::string small_file(std::uint32_t version = 3) {
  GgufBuilder file;
  file.head(2, 15, version);
  file.entry("general.architecture", "llama");
  file.entry<std::uint8_t>("u8", 0, 200).entry<std::int8_t>("i8", 1, -3);
  file.entry<std::uint16_t>("u16", 2, 60000).entry<std::int16_t>("i16", 3, -300);
  file.entry<std::uint32_t>("u32", 4, 4000000000u).entry<std::int32_t>("i32", 5, -70000);
  file.entry<float>("f32", 6, 1.5f).entry<std::uint8_t>("bool", 7, 1);
  file.entry<std::uint64_t>("u64", 10, 1ull << 63).entry<std::int64_t>("i64", 11, -5);
  file.entry<double>("f64", 12, 0.1);
  file.entry("words", std::vector<std::string>{"a", "", "\xc4\xa0t"});
  file.array<std::int32_t>("types", 5, {1, -2, 3});
  file.array<float>("scores", 6, {0.5f, -1.0f});
  file.tensor("a.weight", {3, 2}, kF32, 0).tensor("b.weight", {32}, kQ4_1, 32).pad();
  file.raw(std::string(32 + 20, 'x'));
  return file.bytes();
}

std::string message_of(const std::string& file) {
  const Result<GgufHeader> result = parse(file);
  REQUIRE_FALSE(result.is_ok());
  CHECK(result.code() == Code::kBadData);
  CHECK(result.message().starts_with("model.gguf: "));
  return result.message();
}

}  // namespace

TEST_CASE("a GGUF header gives metadata and tensors") {
  for (const std::uint32_t version : {2u, 3u}) {
    const std::string file = small_file(version);
    const Result<GgufHeader> header = parse(file);
    INFO(header.message());
    REQUIRE(header.is_ok());
    CHECK(header->version == version);
    CHECK(header->metadata.size() == 15);
    CHECK(*header->string("general.architecture") == "llama");
    CHECK(*header->u64("u8") == 200);
    CHECK(*header->u64("u16") == 60000);
    CHECK(*header->u64("u32") == 4000000000u);
    CHECK(*header->u64("u64") == 1ull << 63);
    CHECK(*header->f64("f32") == 1.5);
    CHECK(*header->f64("f64") == 0.1);
    CHECK(*header->f64("i32") == -70000.0);
    CHECK(std::get<bool>(header->metadata.at("bool")));
    CHECK(std::get<std::vector<std::string>>(header->metadata.at("words")) ==
          std::vector<std::string>{"a", "", "\xc4\xa0t"});
    CHECK(std::get<std::vector<std::int64_t>>(header->metadata.at("types")) ==
          std::vector<std::int64_t>{1, -2, 3});
    CHECK(std::get<std::vector<double>>(header->metadata.at("scores")) ==
          std::vector<double>{0.5, -1.0});
    const TensorInfo* a = header->tensor("a.weight");
    REQUIRE(a != nullptr);
    CHECK(a->shape == std::vector<std::uint64_t>{2, 3});
    CHECK(a->bytes == 24);
    CHECK(a->offset == header->header_bytes);
    const TensorInfo* b = header->tensor("b.weight");
    REQUIRE(b != nullptr);
    CHECK(b->type == quant::Type::kQ4_1);
    CHECK(b->bytes == 20);
    CHECK(b->offset == header->header_bytes + 32);
    CHECK(b->offset + b->bytes == file.size());
    CHECK(header->tensor("c.weight") == nullptr);
  }
}

TEST_CASE("GGUF look-ups name the key") {
  const GgufHeader header = *parse(small_file());
  CHECK(header.u64("absent").message() ==
        "the metadata key 'absent' is missing; take another file of the model");
  CHECK(header.u64("i8").message() ==
        "the metadata value of 'i8' is -3, expected 0 or more; take another file of the model");
  CHECK(header.u64("f32").message() ==
        "the metadata value of 'f32' is not an integer; take another file of the model");
  CHECK(header.u64("bool").message() ==
        "the metadata value of 'bool' is not an integer; take another file of the model");
  CHECK(header.f64("words").message() ==
        "the metadata value of 'words' is not a number; take another file of the model");
  CHECK(header.string("u8").message() ==
        "the metadata value of 'u8' is not a string; take another file of the model");
  CHECK(header.string("absent").code() == Code::kBadData);
}

TEST_CASE("a GGUF file cut at any byte is refused") {
  const std::string file = small_file();
  for (std::size_t length = 0; length < file.size(); ++length) {
    INFO("cut at " << length);
    const std::string message = message_of(file.substr(0, length));
    CHECK(message.find('\n') == std::string::npos);
  }
  // The header is complete even if the tensors of the file are not mapped.
  const GgufHeader header = *parse(file);
  CHECK(parse_gguf_header(bytes_of(file).first(header.header_bytes), file.size(), "model.gguf"));
}

TEST_CASE("bit flips in a GGUF file never do harm") {
  const std::string file = small_file();
  for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const Result<GgufHeader> header = parse(flipped);
    if (!header.is_ok()) {
      CHECK(header.code() == Code::kBadData);
      continue;
    }
    for (const TensorInfo& tensor : header->tensors) {
      CHECK(tensor.offset >= header->header_bytes);
      CHECK(tensor.offset + tensor.bytes <= flipped.size());
    }
  }
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    std::string damaged = file;
    for (int i = 0; i < 4; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
    const Result<GgufHeader> header = parse(damaged);
    if (!header.is_ok()) CHECK(header.code() == Code::kBadData);
  }
}

TEST_CASE("huge counts and lengths in a GGUF file are refused before memory is taken") {
  for (const std::uint64_t huge : {1ull << 60, ~0ull, 1ull << 32}) {
    CHECK(message_of(GgufBuilder().head(huge, 0).bytes()).find("tensor entries") !=
          std::string::npos);
    CHECK(message_of(GgufBuilder().head(0, huge).bytes()).find("key-values do not fit") !=
          std::string::npos);
    CHECK(message_of(GgufBuilder().head(0, 1).put(huge).raw("some more bytes").bytes())
              .find("metadata key 0 needs " + std::to_string(huge)) != std::string::npos);
    CHECK(message_of(GgufBuilder()
                         .head(0, 1)
                         .text("k")
                         .put<std::uint32_t>(8)
                         .put(huge)
                         .raw("some more bytes")
                         .bytes())
              .find("the value of 'k' needs " + std::to_string(huge)) != std::string::npos);
    for (const std::uint32_t type : {0u, 5u, 8u, 10u}) {
      CHECK(message_of(GgufBuilder()
                           .head(0, 1)
                           .text("k")
                           .put<std::uint32_t>(9)
                           .put(type)
                           .put(huge)
                           .raw("some more bytes")
                           .bytes())
                .find("the value of 'k' has " + std::to_string(huge)) != std::string::npos);
    }
    CHECK(message_of(GgufBuilder().head(1, 0).tensor("t", {huge, huge}, kF32, 0).bytes())
              .find(" of tensor 't' is " + std::to_string(huge)) != std::string::npos);
    CHECK(message_of(GgufBuilder().head(1, 0).tensor("t", {4}, kF32, huge & ~31ull).pad().bytes())
              .find("tensor 't' of 16 bytes lies at " + std::to_string(huge & ~31ull)) !=
          std::string::npos);
  }
}

TEST_CASE("what is not a GGUF file is said to be none") {
  CHECK(message_of("") == "model.gguf: is not a GGUF file: it has only 0 bytes; fetch it again");
  CHECK(message_of("PK\x03\x04 and more").find("model.gguf: is a zip file, as PyTorch") == 0);
  CHECK(message_of("\x7f\x45LF and more") ==
        "model.gguf: is not a GGUF file: it begins with '\\x7fELF', expected 'GGUF'; give a GGUF "
        "file, or a folder with config.json and model.safetensors");
  CHECK(message_of(GgufBuilder().head(0, 0, 1).bytes()) ==
        "model.gguf: has the GGUF version 1; take a file of version 2 or 3, which can be read");
  CHECK(message_of(GgufBuilder().head(0, 0, 0x03000000).bytes()) ==
        "model.gguf: is a big-endian GGUF file; convert it to little-endian");
}

TEST_CASE("contradictions in a GGUF file are named") {
  const auto tensors = [](const std::vector<std::uint64_t>& sizes, std::uint32_t type,
                          std::uint64_t offset) {
    return message_of(GgufBuilder()
                          .head(2, 0)
                          .tensor("first", {8}, kF32, 0)
                          .tensor("second", sizes, type, offset)
                          .pad()
                          .raw(std::string(256, 'x'))
                          .bytes());
  };
  CHECK(tensors({8}, kF32, 0) ==
        "model.gguf: tensor 'second' at byte 128 overlaps tensor 'first'" + kDamaged);
  CHECK(tensors({8}, kF32, 36) ==
        "model.gguf: the offset of tensor 'second' is 36, which is not a multiple of the alignment "
        "32" +
            kDamaged);
  CHECK(tensors({}, kF32, 32) ==
        "model.gguf: tensor 'second' has 0 dimensions, expected 1 to 4" + kDamaged);
  CHECK(tensors({1, 1, 1, 1, 1}, kF32, 32) ==
        "model.gguf: tensor 'second' has 5 dimensions, expected 1 to 4" + kDamaged);
  CHECK(tensors({4, 0}, kF32, 32) ==
        "model.gguf: dimension 1 of tensor 'second' is 0, which cannot be" + kDamaged);
  CHECK(tensors({1 << 20, 1 << 20}, kF32, 32) ==
        "model.gguf: the file is cut off: tensor 'second' is larger than the file of 384 bytes; "
        "fetch it again");
  CHECK(tensors({33}, kQ4_1, 32).starts_with("model.gguf: tensor 'second': "));
  CHECK(tensors({256}, 15, 32)
            .starts_with("model.gguf: tensor 'second' has the type Q8_K, which this build does not "
                         "support; use a "
                         "file of the types "));
  CHECK(tensors({256}, 12345, 32).find("the type number 12345") != std::string::npos);
  CHECK(message_of(GgufBuilder()
                       .head(2, 0)
                       .tensor("same", {8}, kF32, 0)
                       .tensor("same", {8}, kF32, 32)
                       .pad()
                       .raw(std::string(64, 'x'))
                       .bytes()) == "model.gguf: tensor 'same' appears twice" + kDamaged);
  const auto entry = [](const std::string& bytes) {
    return message_of(GgufBuilder().head(0, 1).bytes() + bytes);
  };
  CHECK(entry(GgufBuilder().entry<std::uint8_t>("k", 7, 2).bytes()) ==
        "model.gguf: the value of 'k' is a bool of value 2, expected 0 or 1" + kDamaged);
  CHECK(entry(GgufBuilder().entry<std::uint8_t>("k", 13, 2).bytes()) ==
        "model.gguf: the value of 'k' has the unknown value type 13" + kDamaged);
  CHECK(entry(GgufBuilder().array<std::uint64_t>("k", 10, {1, ~0ull}).bytes()) ==
        "model.gguf: element 1 of the value of 'k' is 18446744073709551615, out of its range" +
            kDamaged);
  CHECK(entry(GgufBuilder().entry<std::uint8_t>("\xff", 0, 2).bytes()) ==
        "model.gguf: metadata key 0 is '\\xff', expected UTF-8 text" + kDamaged);
  CHECK(entry(GgufBuilder().entry<std::uint32_t>("general.alignment", 4, 33).bytes())
            .starts_with("model.gguf: 'general.alignment' is 33, expected a power of two"));
  CHECK(message_of(GgufBuilder()
                       .head(0, 2)
                       .entry<std::uint8_t>("k", 0, 1)
                       .entry<std::uint8_t>("k", 0, 1)
                       .bytes()) == "model.gguf: the metadata key 'k' appears twice" + kDamaged);
}

TEST_CASE("what nobody reads may be in a header in any form") {
  // Each inner array is written as its element type, its count and its elements.
  const auto pairs = [](GgufBuilder* file) {
    file->text("pairs").put<std::uint32_t>(9).put<std::uint32_t>(9).put<std::uint64_t>(2);
    file->put<std::uint32_t>(8).put<std::uint64_t>(2).text("a").text("b");
    file->put<std::uint32_t>(8).put<std::uint64_t>(1).text("c");
  };
  const auto numbers = [](GgufBuilder* file) {
    file->text("numbers").put<std::uint32_t>(9).put<std::uint32_t>(9).put<std::uint64_t>(3);
    file->put<std::uint32_t>(5).put<std::uint64_t>(1).put<std::int32_t>(7);
    file->put<std::uint32_t>(12).put<std::uint64_t>(0);
    file->put<std::uint32_t>(7).put<std::uint64_t>(2).put<std::uint8_t>(1).put<std::uint8_t>(9);
  };
  const auto deep = [](GgufBuilder* file, int levels) {
    file->text("deep").put<std::uint32_t>(9);
    for (int i = 0; i < levels; ++i) file->put<std::uint32_t>(9).put<std::uint64_t>(1);
    file->put<std::uint32_t>(4).put<std::uint64_t>(1).put<std::uint32_t>(5);
  };
  GgufBuilder file;
  file.head(2, 6).entry<std::uint8_t>("first", 0, 1);
  pairs(&file);
  numbers(&file);
  deep(&file, 5);
  file.text("empty").put<std::uint32_t>(9).put<std::uint32_t>(9).put<std::uint64_t>(0);
  file.entry<std::uint8_t>("last", 0, 2);
  file.tensor("custom.i32", {4}, 26, 0).tensor("custom.f64", {2}, 28, 32).pad();
  file.raw(std::string(48, 'x'));
  const auto header = parse_gguf_header(bytes_of(file.bytes()), file.bytes().size(), "model.gguf");
  INFO(header.message());
  REQUIRE(header.is_ok());
  CHECK(header->metadata.size() == 2);
  CHECK(*header->u64("last") == 2);
  CHECK(header->tensors.empty());
  GgufBuilder deeper;
  deeper.head(0, 1);
  deep(&deeper, 12);
  CHECK(message_of(deeper.bytes()).starts_with("model.gguf: the value of 'deep' is nested"));
  // Every truncation is noticed.
  GgufBuilder whole;
  whole.head(0, 1);
  pairs(&whole);
  for (std::size_t bytes = 40; bytes < whole.bytes().size(); ++bytes) {
    INFO(bytes << " " << message_of(whole.bytes().substr(0, bytes)));
    CHECK(message_of(whole.bytes().substr(0, bytes)).find("cut off") != std::string::npos);
  }
  // Tensors with the names of a model's parts must have types that this build computes with.
  CHECK(message_of(GgufBuilder().head(1, 0).tensor("blk.0.x", {4}, 26, 0).pad().bytes())
            .find("the type I32") != std::string::npos);
}

TEST_CASE("an array with one value for each layer is that value if all are equal") {
  const auto value = [](const std::vector<std::int32_t>& values) {
    GgufBuilder file;
    file.head(0, 1).array<std::int32_t>("k", 5, values);
    return parse_gguf_header(bytes_of(file.bytes()), file.bytes().size(), "m")->u64("k");
  };
  CHECK(*value({64}) == 64);
  CHECK(*value({2, 2, 2}) == 2);
  CHECK(*value({0, 0}) == 0);
  CHECK(value({2, 3}).message() ==
        "the metadata value of 'k' differs from layer to layer (2 and 3), which this version "
        "cannot run yet; take another model, or a newer version of Troupe");
  CHECK(value({}).code() == Code::kBadData);
  CHECK(value({-1, -1}).code() == Code::kBadData);
}

TEST_CASE("the real model's header is read") {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: the real model's header (TROUPE_TEST_MODEL is not set)");
    return;
  }
  const MappedFile file = *MappedFile::open(path);
  const Result<GgufHeader> header = parse_gguf_header(file.bytes(), file.bytes().size(), path);
  INFO(header.message());
  REQUIRE(header.is_ok());
  CHECK(header->tensors.size() == 272);
  CHECK(header->metadata.size() == 33);
  CHECK(*header->u64("llama.block_count") == 30);
  CHECK(header->tensor("token_embd.weight")->shape == std::vector<std::uint64_t>{49152, 576});
  // Cut the file at a hundred places, the last one byte before the end.
  for (std::size_t cut = 0; cut < file.bytes().size(); cut += 1000003) {
    CHECK_FALSE(parse_gguf_header(file.bytes().first(cut), cut, path).is_ok());
  }
  const std::size_t all_but_one = file.bytes().size() - 1;
  CHECK_FALSE(parse_gguf_header(file.bytes().first(all_but_one), all_but_one, path).is_ok());
}
