#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/tokenizer/detokenizer.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/model/tokenizer/tokenizer_json.h>
#include <troupe/runtime/text/utf8.h>

using namespace troupe;
using namespace troupe::model;
using nlohmann::json;
using Ids = std::vector<TokenId>;

namespace {

// Returns a tokenizer with characters and bytes as in SentencePiece, a merge, and two added tokens.
json sentence_file() {
  json vocabulary = {{"<unk>", 0}, {"<s>", 1}, {"\xe2\x96\x81", 2}, {"a", 3},     {"b", 4},
                     {"ab", 5},    {"<t>", 6}, {"<0xC3>", 7},       {"<0xA9>", 8}};
  return {{"added_tokens",
           {{{"id", 1}, {"content", "<s>"}, {"special", true}, {"normalized", false}},
            {{"id", 6}, {"content", "<t>"}, {"special", false}, {"normalized", false}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Metaspace"},
            {"replacement", "\xe2\x96\x81"},
            {"prepend_scheme", "first"},
            {"split", false}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", "\xe2\x96\x81"}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"vocab", vocabulary},
            {"merges", {"a b"}},
            {"unk_token", "<unk>"},
            {"byte_fallback", true},
            {"fuse_unk", true}}}};
}

std::shared_ptr<const Tokenizer> load(const json& file, const std::string& config = "") {
  const auto tokenizer = tokenizer_from_json({file.dump(), config});
  INFO(tokenizer.message());
  REQUIRE(tokenizer.is_ok());
  return *tokenizer;
}

// Returns the reason without the advice, which is the same for all.
std::string refusal(const json& file) {
  const auto tokenizer = tokenizer_from_json({file.dump()});
  REQUIRE_FALSE(tokenizer.is_ok());
  CHECK(tokenizer.code() == Code::kBadData);
  const std::size_t advice = tokenizer.message().find("; take the tokenizer.json of the model's");
  return tokenizer.message().substr(0, advice);
}

}  // namespace

TEST_CASE("a tokenizer.json with byte fallback encodes and streams") {
  const auto tokenizer = load(sentence_file());
  const Ids ids = *tokenizer->encode("ab \xc3\xa9", {});
  CHECK(ids == Ids{2, 5, 2, 7, 8});
  Detokenizer stream(*tokenizer, false);
  std::vector<std::string> parts;
  for (const TokenId id : ids) parts.push_back(*stream.push(id));
  CHECK(parts == std::vector<std::string>{"", "ab", " ", "", "\xc3\xa9"});
  CHECK(stream.finish().empty());
  // An answer may end with half a character.
  CHECK(*stream.push(7) == "");
  CHECK(stream.finish() == "\xef\xbf\xbd");
  CHECK(stream.push(9).code() == Code::kInvalidArgument);
}

TEST_CASE("a model's header hands its tokenizer.json on") {
  GgufHeader header;
  header.metadata[std::string(header_keys::kTokenizerJson)] = sentence_file().dump();
  header.metadata[std::string(header_keys::kTokenizerConfigJson)] = std::string(
      R"({"bos_token": {"content": "<s>"}, "eos_token": "<t>", "add_bos_token": true})");
  const auto tokenizer = tokenizer_from_gguf(header);
  INFO(tokenizer.message());
  REQUIRE(tokenizer.is_ok());
  CHECK(*(*tokenizer)->encode("ab", {}) == Ids{1, 2, 5});
  CHECK((*tokenizer)->bos() == 1);
  CHECK((*tokenizer)->end_tokens() == Ids{6});
}

TEST_CASE("markup in what a user wrote is plain text") {
  const auto tokenizer = load(sentence_file());
  const std::string text = "<s>ab<s>ab<t>";
  CHECK(*tokenizer->encode(text, {}) == Ids{1, 5, 1, 5, 6});
  EncodeOptions options;
  options.plain = {{5, 8}};  // "<s>" in the middle; "<t>" is not markup but a token of the text
  CHECK(*tokenizer->encode(text, options) == Ids{1, 5, 0, 5, 6});
  options.plain = {{7, 8}};  // it is enough that a span touches a part of the markup
  CHECK(*tokenizer->encode(text, options) == Ids{1, 5, 0, 5, 6});
  options.plain = {{3, 5}, {8, 13}};
  CHECK(*tokenizer->encode(text, options) == Ids{1, 5, 1, 5, 6});
  options.plain = {{0, text.size()}};
  CHECK(*tokenizer->encode(text, options) == *tokenizer->encode(text, {true, false}));
}

TEST_CASE("what tokenizer.json asks for and nobody knows is named") {
  json file = sentence_file();
  file["model"]["type"] = "WordLevel";
  CHECK(refusal(file) ==
        "tokenizer.json: the model has the type 'WordLevel', which is not supported; BPE, "
        "WordPiece and Unigram are");
  file = sentence_file();
  file["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
  CHECK(refusal(file) ==
        "tokenizer.json: a pre_tokenizer has the type 'UnicodeScripts', which is not supported");
  file["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "[a[:nope:]]"}}}, {"behavior", "Isolated"}};
  CHECK(refusal(file) ==
        "tokenizer.json: the pre_tokenizer Split: the regular expression '[a[:nope:]]' cannot be "
        "used: '[:' begins a name that is not known");
  file["pre_tokenizer"]["pattern"] = {{"Regex", "(a"}};
  CHECK(refusal(file).find("'(a' cannot be used") != std::string::npos);
  file = sentence_file();
  file["normalizer"] = {{"type", "Nmt"}};
  CHECK(refusal(file) == "tokenizer.json: a normalizer has the type 'Nmt', which is not supported");
  file = sentence_file();
  file["decoder"] = {{"type", "CTC"}};
  CHECK(refusal(file) == "tokenizer.json: a decoder has the type 'CTC', which is not supported");
  file = sentence_file();
  file["model"]["merges"] = {"a c"};
  CHECK(refusal(file).find("needs 'ac', which is not a token of the vocabulary") !=
        std::string::npos);
  file["model"]["merges"] = {"abc"};
  CHECK(refusal(file) == "tokenizer.json: merge 0 is '\"abc\"', expected two parts");
  file = sentence_file();
  file["model"]["vocab"]["far"] = 16'000'000;
  CHECK(refusal(file).find("the token 'far' has the id 16000000, far beyond the 10 tokens") !=
        std::string::npos);
  file = sentence_file();
  file["model"]["end_of_word_suffix"] = "</w>";
  CHECK(refusal(file).find("'end_of_word_suffix'") != std::string::npos);
  file = sentence_file();
  file["post_processor"] = {{"type", "TemplateProcessing"}, {"single", {{{"Sequence", {}}}}}};
  CHECK(load(file) != nullptr);
  file["post_processor"]["single"] = json::array();
  CHECK(refusal(file) == "tokenizer.json: the post_processor leaves the text out");
}

TEST_CASE("two tokens of one id are refused by their names") {
  json words = sentence_file();
  words["model"]["vocab"]["b"] = 3;
  CHECK(refusal(words).find("the tokens 'a' and 'b' have the same id, 3") != std::string::npos);
  json added = sentence_file();
  added["added_tokens"][1]["content"] = "<u>";
  CHECK(refusal(added).find("the tokens '<t>' and '<u>' have the same id, 6") != std::string::npos);
  json behind = sentence_file();
  for (const char* text : {"<v>", "<w>"}) {
    behind["added_tokens"].push_back({{"id", 9}, {"content", text}, {"special", true}});
  }
  CHECK(refusal(behind).find("the tokens '<v>' and '<w>' have the same id, 9") !=
        std::string::npos);
  // A token that is listed twice counts once.
  json twice = sentence_file();
  twice["added_tokens"].push_back(twice["added_tokens"][1]);
  CHECK(load(twice)->vocabulary() == 9);
}

TEST_CASE("a damaged tokenizer.json is refused at every byte") {
  const std::string whole = sentence_file().dump();
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const auto tokenizer = tokenizer_from_json({whole.substr(0, bytes)});
    REQUIRE_FALSE(tokenizer.is_ok());
    CHECK(tokenizer.message().find("tokenizer.json") != std::string::npos);
  }
  // Whatever a changed byte does to the file, encoding must end.
  for (std::size_t i = 0; i < whole.size(); ++i) {
    for (const char other : {'"', '0', 'x', '{', '9'}) {
      std::string changed = whole;
      changed[i] = other;
      const auto tokenizer = tokenizer_from_json({changed});
      if (tokenizer) CHECK((*tokenizer)->encode("ab <s> \xc3\xa9", {}).is_ok());
    }
  }
}
