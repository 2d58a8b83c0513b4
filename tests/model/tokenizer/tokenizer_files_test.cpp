#include <fstream>
#include <map>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>

using namespace troupe;
using namespace troupe::model;
using nlohmann::json;

// Tests folders whose files disagree, or name tokens in other files, with the ids that transformers
// 5 gives. tests/oracles/make_tokenizer_files.py made them.

namespace {

const std::map<std::string, std::string_view> kKeys = {
    {"config.json", header_keys::kConfigJson},
    {"tokenizer_config.json", header_keys::kTokenizerConfigJson},
    {"special_tokens_map.json", header_keys::kSpecialTokensMapJson},
    {"added_tokens.json", header_keys::kAddedTokensJson}};

Result<std::shared_ptr<const Tokenizer>> open_case(const json& bases, const json& one) {
  json tokenizer = bases.at(one.at("base").get<std::string>());
  if (one.contains("patch")) tokenizer.merge_patch(one.at("patch"));
  GgufHeader header;
  header.metadata[std::string(header_keys::kTokenizerJson)] = tokenizer.dump();
  header.metadata[std::string(header_keys::kConfigJson)] = std::string(R"({"model_type":"llama"})");
  for (const auto& [name, content] : one.at("files").items()) {
    header.metadata[std::string(kKeys.at(name))] = content.dump();
  }
  return tokenizer_from_gguf(header);
}

}  // namespace

TEST_CASE("a folder's tokenizer gives the ids of transformers, whichever file names a token") {
  std::ifstream file(TROUPE_TEST_DATA "/golden/tokenizer_files.json");
  REQUIRE(file.good());
  const json golden = json::parse(file);
  std::map<std::string, int> kinds;
  for (const json& one : golden.at("cases")) {
    INFO(one.at("kind").get<std::string>() << ": " << one.at("name").get<std::string>());
    ++kinds[one.at("kind").get<std::string>()];
    const auto tokenizer = open_case(golden.at("bases"), one);
    INFO(tokenizer.message());
    REQUIRE(tokenizer.is_ok());
    for (const auto& [text, ids] : one.at("ids").items()) {
      INFO(text);
      const auto encoded = (*tokenizer)->encode(text, {});
      INFO(encoded.message());
      REQUIRE(encoded.is_ok());
      CHECK(json(*encoded) == ids);
    }
  }
  CHECK(kinds["named"] >= 20);
  CHECK(kinds["bert"] >= 10);
  CHECK(kinds["regex"] >= 40);
  CHECK(kinds["steps"] >= 8);
}

TEST_CASE("an end that only a file beside tokenizer.json names ends an answer") {
  std::ifstream file(TROUPE_TEST_DATA "/golden/tokenizer_files.json");
  const json golden = json::parse(file);
  const auto ends = [&](const json& files) {
    const auto tokenizer = open_case(golden.at("bases"), {{"base", "bpe"}, {"files", files}});
    REQUIRE(tokenizer.is_ok());
    return (*tokenizer)->end_tokens();
  };
  using Ends = std::vector<TokenId>;
  CHECK(ends({}) == Ends{2});  // </s>, by its text
  CHECK(ends({{"special_tokens_map.json", {{"eos_token", "<stop>"}}}}) == Ends{2, 400});
  CHECK(ends({{"special_tokens_map.json", {{"eos_token", {{"content", "<stop>"}}}}}}) ==
        Ends{2, 400});
  CHECK(ends({{"tokenizer_config.json", {{"eos_token", "<stop>"}}}}) == Ends{2, 400});
  CHECK(ends({{"added_tokens.json", {{"<|im_end|>", 400}}}}) == Ends{2, 400});
  const json decoder = {{"400", {{"content", "<|eot_id|>"}, {"special", false}}}};
  CHECK(ends({{"tokenizer_config.json", {{"added_tokens_decoder", decoder}}}}) == Ends{2, 400});
}

TEST_CASE("add_bos_token counts where tokenizer.json does not say what goes around a text") {
  std::ifstream file(TROUPE_TEST_DATA "/golden/tokenizer_files.json");
  const json golden = json::parse(file);
  const auto ids = [&](json config, json post_processor) {
    config["bos_token"] = "<s>";
    config["eos_token"] = "</s>";
    const auto tokenizer =
        open_case(golden.at("bases"), {{"base", "bpe"},
                                       {"patch", {{"post_processor", std::move(post_processor)}}},
                                       {"files", {{"tokenizer_config.json", std::move(config)}}}});
    REQUIRE(tokenizer.is_ok());
    return *(*tokenizer)->encode("x", {});
  };
  using Ids = std::vector<TokenId>;
  const json byte_level = {{"type", "ByteLevel"}, {"trim_offsets", false}};
  const json around = {{"type", "TemplateProcessing"},
                       {"single", {{{"Sequence", {{"id", "A"}}}}}},
                       {"special_tokens", json::object()}};
  CHECK(ids({}, nullptr) == Ids{90});
  CHECK(ids({{"add_bos_token", false}}, nullptr) == Ids{90});
  CHECK(ids({{"add_bos_token", true}}, nullptr) == Ids{1, 90});
  CHECK(ids({{"add_bos_token", true}}, byte_level) == Ids{1, 90});
  CHECK(ids({{"add_bos_token", true}, {"add_eos_token", true}}, byte_level) == Ids{1, 90, 2});
  CHECK(ids({{"add_eos_token", true}}, nullptr) == Ids{90, 2});
  CHECK(ids({{"add_bos_token", true}}, around) == Ids{90});  // tokenizer.json says it
}
