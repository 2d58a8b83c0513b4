#include <algorithm>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/tokenizer/charsmap.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/model/tokenizer/tokenizer_json.h>
#include <troupe/model/tokenizer/unigram.h>
#include <troupe/runtime/text/base64.h>

using namespace troupe;
using namespace troupe::model;
using Catch::Matchers::Contains;
using nlohmann::json;

// Ids recorded from Python's sentencepiece and tokenizers (make_unigram_golden.py).

namespace {

json golden() {
  std::ifstream file(TROUPE_TEST_DATA "/golden/unigram.json");
  REQUIRE(file.good());
  return json::parse(file);
}

GgufHeader header_of(const json& golden) {
  GgufHeader header;
  GgufMetadata& out = header.metadata;
  out["tokenizer.ggml.model"] = std::string("t5");
  out["tokenizer.ggml.tokens"] = golden["tokens"].get<std::vector<std::string>>();
  out["tokenizer.ggml.scores"] = golden["scores"].get<std::vector<double>>();
  out["tokenizer.ggml.token_type"] = golden["types"].get<std::vector<std::int64_t>>();
  out["tokenizer.ggml.unknown_token_id"] = std::uint32_t{0};
  out["tokenizer.ggml.bos_token_id"] = std::uint32_t{1};
  out["tokenizer.ggml.eos_token_id"] = std::uint32_t{2};
  out["tokenizer.ggml.add_space_prefix"] = true;
  out["tokenizer.ggml.remove_extra_whitespaces"] = true;
  std::vector<std::int64_t> map;
  const auto bytes = from_base64(golden["charsmap"].get<std::string>());
  REQUIRE(bytes.has_value());
  for (const char byte : *bytes) map.push_back(static_cast<unsigned char>(byte));
  out["tokenizer.ggml.precompiled_charsmap"] = map;
  return header;
}

std::vector<TokenId> encode(const Tokenizer& tokenizer, const std::string& text, bool special,
                            bool markup) {
  const auto ids = tokenizer.encode(text, {special, markup});
  INFO(ids.message());
  REQUIRE(ids.is_ok());
  return *ids;
}

Result<std::shared_ptr<const Tokenizer>> tokenizer_of(const json& tokenizer) {
  const std::string text = tokenizer.dump();
  TokenizerFiles files;
  files.tokenizer_json = text;
  return tokenizer_from_json(files);
}

void check_ids(const Result<std::shared_ptr<const Tokenizer>>& tokenizer, const json& recorded,
               bool special, bool markup) {
  INFO(tokenizer.message());
  REQUIRE(tokenizer.is_ok());
  REQUIRE(recorded.size() > 100);
  for (const auto& [text, ids] : recorded.items()) {
    INFO(text);
    CHECK(json(encode(**tokenizer, text, special, markup)) == ids);
  }
}

Status status_of(const json& tokenizer) { return tokenizer_of(tokenizer).status(); }

}  // namespace

TEST_CASE("a unigram tokenizer of a GGUF file gives SentencePiece's ids") {
  const json recorded = golden();
  const auto tokenizer = tokenizer_from_gguf(header_of(recorded));
  check_ids(tokenizer, recorded["sentencepiece"], /*special=*/false, /*markup=*/false);
  CHECK(encode(**tokenizer, "", true, true) == std::vector<TokenId>{2});
}

TEST_CASE("a unigram tokenizer of a folder gives the ids of tokenizers") {
  const json recorded = golden();
  check_ids(tokenizer_of(recorded["tokenizer"]), recorded["tokenizers"], /*special=*/true,
            /*markup=*/true);
}

TEST_CASE("text that looks like the markup of a unigram tokenizer is not markup") {
  const json recorded = golden();
  const auto folder = tokenizer_of(recorded["tokenizer"]);
  const auto file = tokenizer_from_gguf(header_of(recorded));
  for (const auto* tokenizer : {&folder, &file}) {
    REQUIRE(tokenizer->is_ok());
    const auto ids = encode(***tokenizer, "a</s>b", false, false);
    CHECK(std::find(ids.begin(), ids.end(), 2) == ids.end());
    const auto marked = encode(***tokenizer, "a</s>b", false, true);
    CHECK(std::find(marked.begin(), marked.end(), 2) != marked.end());
  }
}

TEST_CASE("the first of several best ways through a word counts") {
  for (const bool single : {false, true}) {
    UnigramModel::Options options;
    options.unknown_score = -20.0;
    options.single_precision = single;
    UnigramModel model(options);
    model.add("a", 1, -1.0);
    model.add("aa", 2, -2.0);
    model.add("aaa", 3, -3.0);
    std::vector<TokenId> ids;
    model.encode("aaaa", &ids);
    CHECK(ids == std::vector<TokenId>{1, 3});
    ids.clear();
    model.encode("xya\xc3\xa9", &ids);  // neighbouring unknown characters are one token
    CHECK(ids == std::vector<TokenId>{0, 1, 0});
    ids.clear();
    model.encode("", &ids);
    CHECK(ids.empty());
  }
}

TEST_CASE("bytes stand in for unknown characters if all of them have tokens") {
  UnigramModel::Options options;
  options.unknown_score = -20.0;
  options.byte_fallback = true;
  UnigramModel model(options);
  model.add("a", 1, -1.0);
  model.set_byte(0xc3, 10);
  model.set_byte(0xa9, 11);
  std::vector<TokenId> ids;
  model.encode("a\xc3\xa9", &ids);
  model.encode("a\xc3\xa8", &ids);
  CHECK(ids == std::vector<TokenId>{1, 10, 11, 1, 0});
  CHECK(model.fewest_tokens(100) == 0);
  for (int byte = 0; byte < 256; ++byte)
    model.set_byte(static_cast<unsigned char>(byte), 100 + byte);
  CHECK(model.fewest_tokens(100) == 100);
}

TEST_CASE("a unigram model that is not whole is refused by name") {
  const json good = golden()["tokenizer"];
  const auto with = [&](const char* field, const json& value) {
    json changed = good;
    changed["model"][field] = value;
    return status_of(changed).message();
  };
  REQUIRE(status_of(good).is_ok());
  CHECK_THAT(with("unk_id", nullptr), Contains("no 'unk_id'"));
  CHECK_THAT(with("unk_id", 100000), Contains("100000"));
  CHECK_THAT(with("vocab", json::object()), Contains("no list 'vocab'"));
  CHECK_THAT(with("vocab", json::array({json::array({"a", 1.0}), json::array({"b"})})),
             Contains("token 1 of 'vocab'"));
  CHECK_THAT(with("vocab", json::array({json::array({"a", "1"})})),
             Contains("expected a text and a score"));
  json changed = good;
  changed["normalizer"]["precompiled_charsmap"] = "AAA";
  CHECK_THAT(status_of(changed).message(), Contains("not base64"));
  changed["pre_tokenizer"] = {{"type", "ByteLevel"}};
  changed["normalizer"] = nullptr;
  CHECK_THAT(status_of(changed).message(), Contains("ByteLevel with Unigram"));
  GgufHeader header = header_of(golden());
  header.metadata["tokenizer.ggml.precompiled_charsmap"] = std::vector<std::int64_t>{1, 2, 300};
  CHECK_THAT(tokenizer_from_gguf(header).message(), Contains("is not a byte"));
}

TEST_CASE("a map of characters that is cut short or changed does no harm") {
  const std::string whole = *from_base64(golden()["charsmap"].get<std::string>());
  REQUIRE(Charsmap::parse(whole).is_ok());
  const std::string text = "the \xef\xac\x81rst e\xcc\x81tude\r\n\t of 3 \xe3\x8e\x8f";
  const auto use = [&](const std::string& bytes) {
    const auto map = Charsmap::parse(bytes);
    if (!map.is_ok()) return;
    map->by_longest(text, {});
    map->by_graphemes(text);
  };
  for (std::size_t count = 0; count < whole.size(); count += 7) use(whole.substr(0, count));
  for (std::size_t i = 0; i < whole.size(); i += 3) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
    use(changed);
  }
  const std::string long_text = std::string("\4\0\0\0\0\0\0\0", 8) + std::string(300, 'a');
  CHECK_THAT(Charsmap::parse(long_text).message(), Contains("300 bytes"));
  CHECK_THAT(Charsmap::parse("ab").message(), Contains("no size"));
}
