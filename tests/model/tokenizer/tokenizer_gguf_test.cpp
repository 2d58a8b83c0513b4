#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/tests/model/files/gguf_builder.h>
#include <troupe/tests/model/tokenizer/decode.h>

using namespace troupe;
using namespace troupe::model;
using troupe::model::test::decode;
using troupe::test::bytes_of;
using troupe::test::GgufBuilder;

namespace {

// All 256 bytes, a few merges and special tokens: "abc" merges through "bc", which is not a token.
struct Toy {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  std::vector<std::string> merges = {"b c", "a bc", "a a", "aa a"};
  std::string pre = "gpt-2";
  std::string extra;  // further metadata
  std::uint64_t extra_entries = 0;

  Toy() {
    char16_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      append_utf8(printable ? static_cast<char16_t>(byte) : next++, &tokens.emplace_back());
      types.push_back(1);
    }
    add("abc", 1);         // 256
    add("aa", 1);          // 257
    add("aaa", 1);         // 258
    add("<s>", 3);         // 259
    add("<s>more", 3);     // 260
    add("<tool>", 4);      // 261
    add("<|eot_id|>", 3);  // 262
    add("<|end|>", 1);     // 263: normal, and an end all the same
  }
  void add(const std::string& token, int type) {
    tokens.push_back(token);
    types.push_back(type);
  }
  Result<std::shared_ptr<const Tokenizer>> load() const {
    GgufBuilder file;
    file.head(0, 5 + extra_entries).entry("tokenizer.ggml.model", "gpt2");
    file.entry("tokenizer.ggml.pre", pre).entry("tokenizer.ggml.tokens", tokens);
    file.entry("tokenizer.ggml.merges", merges);
    file.array<std::int32_t>("tokenizer.ggml.token_type", 5, types).raw(extra);
    const auto header = parse_gguf_header(bytes_of(file.bytes()), file.bytes().size(), "toy");
    INFO(header.message());
    REQUIRE(header.is_ok());
    return tokenizer_from_gguf(*header);
  }
};

}  // namespace

TEST_CASE("merges follow rank, then position, also through parts that are no tokens") {
  const auto tokenizer = *Toy().load();
  const auto ids = [&](std::string_view text) { return *tokenizer->encode(text, {}); };
  CHECK(ids("abc") == std::vector<TokenId>{256});
  // "bc" is not a token, so its bytes stand for it.
  CHECK(ids("bc") == std::vector<TokenId>{'b', 'c'});
  CHECK(ids("aaaaa") == std::vector<TokenId>{257, 258});
  CHECK(ids("aaaa") == std::vector<TokenId>{257, 257});
  CHECK(ids("aaabc") == std::vector<TokenId>{257, 256});
  CHECK(ids("") == std::vector<TokenId>{});
  CHECK(decode(*tokenizer, ids("bcbc \xf0\x9f\x99\x82")) == "bcbc \xf0\x9f\x99\x82");
}

TEST_CASE("special tokens match longest first, and only where they may") {
  const auto tokenizer = *Toy().load();
  const EncodeOptions plain{true, false};
  CHECK(*tokenizer->encode("<s>x<s>more<s>mor", {}) ==
        std::vector<TokenId>{259, 'x', 260, 259, 'm', 'o', 'r'});
  CHECK(*tokenizer->encode("<s>", plain) == std::vector<TokenId>{'<', 's', '>'});
  // A user-defined token is found in plain text, too.
  CHECK(*tokenizer->encode("<tool>a", plain) == std::vector<TokenId>{261, 'a'});
  CHECK(*tokenizer->piece(261, false) == "<tool>");
  CHECK(*tokenizer->piece(259, false) == "");
  CHECK(*tokenizer->piece(259, true) == "<s>");
  CHECK(tokenizer->end_tokens() == std::vector<TokenId>{262, 263});
  CHECK(tokenizer->bos() == -1);
}

TEST_CASE("BOS and EOS follow the file") {
  Toy toy;
  GgufBuilder extra;
  extra.entry<std::uint32_t>("tokenizer.ggml.bos_token_id", 4, 259);
  extra.entry<std::uint32_t>("tokenizer.ggml.eos_token_id", 4, 260);
  extra.entry<std::uint32_t>("tokenizer.ggml.eot_token_id", 4, 261);
  toy.extra = extra.bytes();
  toy.extra_entries = 3;
  CHECK(*(*toy.load())->encode("a", {}) == std::vector<TokenId>{'a'});
  CHECK((*toy.load())->end_tokens() == std::vector<TokenId>{260, 261, 262, 263});
  toy.pre = "llama-bpe";  // adds BOS unless told otherwise
  CHECK(*(*toy.load())->encode("a", {}) == std::vector<TokenId>{259, 'a'});
  extra.entry<std::uint8_t>("tokenizer.ggml.add_bos_token", 7, 1);
  extra.entry<std::uint8_t>("tokenizer.ggml.add_eos_token", 7, 1);
  toy.extra = extra.bytes();
  toy.extra_entries = 5;
  CHECK(*(*toy.load())->encode("a", {}) == std::vector<TokenId>{259, 'a', 260});
  CHECK(*(*toy.load())->encode("a", {false, true}) == std::vector<TokenId>{'a'});
}

TEST_CASE("an end mark ends an answer whatever type the file gives it") {
  const std::vector<std::string> marks = {"<|im_end|>",
                                          "<|eot_id|>",
                                          "<|eom_id|>",
                                          "<|end|>",
                                          "<|endoftext|>",
                                          "<EOT>",
                                          "_<EOT>",
                                          "[EOT]",
                                          "[EOS]",
                                          "<eos>",
                                          "</s>",
                                          "<|call|>",
                                          "<|calls|>",
                                          "<|flush|>",
                                          "<|end_of_text|>",
                                          "<|return|>",
                                          "<turn|>",
                                          "<end_of_turn>",
                                          "<end_of_utterance>",
                                          "<|tool_response>"};
  for (const std::string& mark : marks) {
    for (const int type : {0, 1, 2, 3, 4, 5}) {
      INFO(mark << " of type " << type);
      Toy toy;
      toy.tokens.resize(262);  // without its own end tokens
      toy.types.resize(262);
      toy.add(mark, type);
      const auto tokenizer = *toy.load();
      CHECK(tokenizer->end_tokens() == std::vector<TokenId>{262});
      CHECK(*tokenizer->encode("a" + mark, {}) == std::vector<TokenId>{'a', 262});
      CHECK(tokenizer->encode("a" + mark, {true, false})->size() == 1 + mark.size());
      CHECK(*tokenizer->piece(262, false) == "");
      CHECK(*tokenizer->piece(262, true) == mark);
    }
  }
  Toy harmony;  // in the harmony format, <|end|> ends one of several messages
  harmony.add("<|return|>", 1);
  CHECK((*harmony.load())->end_tokens() == std::vector<TokenId>{262, 263, 264});
  harmony.add("<|call|>", 3);
  CHECK((*harmony.load())->end_tokens() == std::vector<TokenId>{262, 264, 265});
  Toy like;  // texts that only look like marks
  like.add("<|im_end|>x", 1);
  like.add("</S>", 4);
  CHECK((*like.load())->end_tokens() == std::vector<TokenId>{262, 263});
}

TEST_CASE("a special id outside the vocabulary stands for no token") {
  const auto loaded = [](const char* key, std::uint32_t type, auto value) {
    Toy toy;
    GgufBuilder extra;
    extra.entry("tokenizer.ggml." + std::string(key), type, value);
    extra.entry<std::uint8_t>("tokenizer.ggml.add_bos_token", 7, 1);
    extra.entry<std::uint8_t>("tokenizer.ggml.add_eos_token", 7, 1);
    toy.extra = extra.bytes();
    toy.extra_entries = 3;
    const auto tokenizer = toy.load();
    INFO(key << ": " << tokenizer.message());
    REQUIRE(tokenizer.is_ok());
    CHECK(*(*tokenizer)->encode("a", {}) == std::vector<TokenId>{'a'});
    CHECK((*tokenizer)->end_tokens() == std::vector<TokenId>{262, 263});
    CHECK((*tokenizer)->bos() == -1);
    CHECK((*tokenizer)->eos() == -1);
    CHECK((*tokenizer)->pad() == -1);
  };
  for (const char* key : {"bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id",
                          "padding_token_id", "unknown_token_id"}) {
    loaded(key, 4, std::uint32_t{4294967295});
    loaded(key, 5, std::int32_t{-1});
    loaded(key, 11, std::int64_t{-1});
    loaded(key, 10, std::uint64_t{18446744073709551615u});
    loaded(key, 4, std::uint32_t{264});  // an id beyond the last token
    loaded(key, 1, std::int8_t{-1});
  }
}

TEST_CASE("a text that is not UTF-8 is refused with its byte") {
  const auto tokenizer = *Toy().load();
  CHECK(tokenizer->encode("ab\xff", {}).message() ==
        "the text is not UTF-8: byte 2 is not part of a character");
  CHECK(tokenizer->encode("ab\xe4\xb8", {}).code() == Code::kInvalidArgument);
  CHECK(tokenizer->encode("\xed\xa0\x80", {}).code() == Code::kInvalidArgument);  // a surrogate
}

TEST_CASE("keys that some converters leave out or write in another type") {
  GgufHeader header;
  header.metadata["tokenizer.ggml.model"] = std::string("gpt2");
  header.metadata["tokenizer.ggml.tokens"] =
      std::vector<std::string>{"a", "b", "ab", "\u0120b", "\u0120"};
  const auto ids = [&](const std::string& text) {
    const auto tokenizer = tokenizer_from_gguf(header);
    INFO(tokenizer.message());
    REQUIRE(tokenizer.is_ok());
    return *(*tokenizer)->encode(text, {});
  };
  using Ids = std::vector<TokenId>;
  CHECK(ids("ab") == Ids{0, 1});  // no merges, and no pre-tokenizer
  header.metadata["tokenizer.ggml.merges"] = std::vector<std::int64_t>{};
  CHECK(ids("ab") == Ids{0, 1});
  header.metadata["tokenizer.ggml.merges"] = std::vector<std::string>{"a b", "\u0120 b"};
  for (const char* pre : {"", "default"}) {
    if (*pre != '\0') header.metadata["tokenizer.ggml.pre"] = std::string(pre);
    CHECK(ids("ab b") == Ids{2, 3});
    CHECK(ids("ab123") == Ids{2});
  }
  header.metadata["tokenizer.ggml.bos_token_id"] = std::uint32_t{0};
  header.metadata["tokenizer.ggml.eos_token_id"] = std::uint32_t{1};
  for (const GgufValue& yes : {GgufValue(true), GgufValue(std::uint8_t{1}),
                               GgufValue(std::uint32_t{1}), GgufValue(std::int32_t{1})}) {
    header.metadata["tokenizer.ggml.add_bos_token"] = yes;
    header.metadata["tokenizer.ggml.add_eos_token"] = yes;
    CHECK(ids("ab") == Ids{0, 2, 1});
  }
  header.metadata["tokenizer.ggml.add_bos_token"] = std::uint32_t{0};
  CHECK(ids("ab") == Ids{2, 1});
  header.metadata["tokenizer.ggml.add_bos_token"] = std::uint32_t{2};
  CHECK(tokenizer_from_gguf(header).message() ==
        "the metadata value of 'tokenizer.ggml.add_bos_token' is neither a bool nor 0 or 1; take "
        "another file of the model");

  GgufHeader sentence;
  sentence.metadata["tokenizer.ggml.model"] = std::string("llama");
  sentence.metadata["tokenizer.ggml.tokens"] =
      std::vector<std::string>{"<unk>", "a", "b", "ab", "ba", "\xe2\x96\x81"};
  sentence.metadata["tokenizer.ggml.token_type"] = std::vector<std::int64_t>{2, 1, 0, 1, 1, 1};
  const auto tokenizer = tokenizer_from_gguf(sentence);  // without scores
  INFO(tokenizer.message());
  REQUIRE(tokenizer.is_ok());
  CHECK(*(*tokenizer)->encode("aba", {}) == Ids{5, 3, 1});
}

TEST_CASE("damaged tokenizer metadata is named") {
  const auto message = [](const Toy& toy) {
    const auto tokenizer = toy.load();
    REQUIRE_FALSE(tokenizer.is_ok());
    CHECK(tokenizer.code() == Code::kBadData);
    return tokenizer.message();
  };
  Toy toy;
  toy.pre = "klingon";
  CHECK(
      message(toy).starts_with("toy: tokenizer.ggml.pre is 'klingon', a pre-tokenizer that is not "
                               "known; take the folder of the model "));
  toy = Toy();
  toy.merges.push_back("nospace");
  CHECK(
      message(toy) ==
      "toy: merge 4 of tokenizer.ggml.merges is 'nospace', expected two parts with a space between "
      "them; take another file of the model");
  toy = Toy();
  toy.types.pop_back();
  CHECK(message(toy) ==
        "toy: tokenizer.ggml.token_type has 263 entries, tokenizer.ggml.tokens 264; take another "
        "file of the model");
  toy = Toy();
  toy.types[3] = 9;
  CHECK(message(toy) ==
        "toy: tokenizer.ggml.token_type of token 3 is 9, expected 0 to 6; take another file of the "
        "model");
  CHECK(tokenizer_from_gguf(GgufHeader{}).message() ==
        "the metadata key 'tokenizer.ggml.model' is missing; take another file of the model");
  GgufHeader spm;
  spm.metadata["tokenizer.ggml.model"] = std::string("llama");
  CHECK(tokenizer_from_gguf(spm).code() == Code::kBadData);
}
