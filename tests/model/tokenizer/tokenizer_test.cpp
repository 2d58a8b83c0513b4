#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/bpe.h>
#include <troupe/model/tokenizer/pre_tokenizer.h>
#include <troupe/model/tokenizer/pre_tokenizer_families.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/runtime/text/utf8_stream.h>
#include <troupe/tests/model/files/gguf_builder.h>

using namespace troupe;
using namespace troupe::model;
using troupe::test::bytes_of;
using troupe::test::GgufBuilder;

namespace {

nlohmann::json golden(const std::string& name) {
  std::ifstream file(std::string(TROUPE_TEST_DATA) + "/golden/" + name);
  REQUIRE(file.good());
  return nlohmann::json::parse(file);
}

// Returns the real model's tokenizer, or nullptr with a warning that names the test.
std::shared_ptr<const Tokenizer> real_tokenizer(const char* test) {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: " << test << " (TROUPE_TEST_MODEL is not set)");
    return nullptr;
  }
  const auto source = open_gguf(path);
  INFO(source.message());
  REQUIRE(source.is_ok());
  auto tokenizer = tokenizer_from_gguf((*source)->header());
  INFO(tokenizer.message());
  REQUIRE(tokenizer.is_ok());
  return *tokenizer;
}

std::string decode(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string text;
  for (const TokenId id : ids) text += *tokenizer.piece(id, true);
  return text;
}

// Returns a random text of characters from all over Unicode, with runs that matter to regular
// expressions.
std::string random_text(std::mt19937* random, std::size_t characters) {
  static const char32_t kFavourites[] = {
      ' ',    ' ',    '\n', '\t',   '\r',   'a',    'Z',    '0',    '9',     '\'',   's', 'l',
      0x00a0, 0x200b, 0x85, 0x180e, 0x3000, 0x0301, 0x00bd, 0x2167, 0x1f642, 0x4e16, '<', '|'};
  std::string text;
  while (characters-- > 0) {
    if ((*random)() % 4 != 0) {
      append_utf8(kFavourites[(*random)() % std::size(kFavourites)], &text);
      continue;
    }
    char32_t any = (*random)() % 0x110000;
    if (any >= 0xd800 && any < 0xe000) any = 'x';
    append_utf8(any, &text);
  }
  return text;
}

// All 256 bytes, a few merges and special tokens: "abc" merges through "bc", which is no token.
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

std::vector<std::string_view> words_of(std::string_view name, std::string_view text) {
  const auto pre = find_pre_tokenizer(name);
  INFO(pre.message());
  REQUIRE(pre.is_ok());
  WordList words;
  if (!text.empty()) words.words.push_back(text);
  REQUIRE(cut_words(pre->cuts, &words));
  REQUIRE(words.made.empty());  // the words point into the text
  return words.words;
}

using Words = std::vector<std::string_view>;

}  // namespace

TEST_CASE("recorded token ids are reproduced, and decode to the text") {
  const auto tokenizer = real_tokenizer("recorded token ids");
  if (tokenizer == nullptr) return;
  const nlohmann::json cases = golden("smollm2_tokens.json");
  REQUIRE(cases.size() == 50);
  for (const nlohmann::json& one : cases) {
    const std::string text = one["text"];
    INFO(in_quotes(text));
    const auto ids = tokenizer->encode(text, {});
    REQUIRE(ids.is_ok());
    CHECK(*ids == one["ids"].get<std::vector<TokenId>>());
    CHECK(decode(*tokenizer, *ids) == text);
  }
  const nlohmann::json logits = golden("smollm2_logits.json");
  REQUIRE(logits["generations"].size() == 6);
  for (const nlohmann::json& one : logits["generations"]) {
    CHECK(*tokenizer->encode(one["prompt"].get<std::string>(), {}) ==
          one["prompt_ids"].get<std::vector<TokenId>>());
    CHECK(decode(*tokenizer, one["greedy_ids"].get<std::vector<TokenId>>()) ==
          one["greedy_text"].get<std::string>());
  }
}

TEST_CASE("the real vocabulary's ends and special tokens") {
  const auto tokenizer = real_tokenizer("ends and special tokens");
  if (tokenizer == nullptr) return;
  CHECK(tokenizer->vocabulary() == 49152);
  CHECK(tokenizer->end_tokens() == std::vector<TokenId>{0, 2});
  CHECK(tokenizer->is_end(2));
  CHECK_FALSE(tokenizer->is_end(1));
  CHECK(tokenizer->bos() == 1);
  CHECK(tokenizer->eos() == 2);
  CHECK(*tokenizer->piece(2, false) == "");
  CHECK(*tokenizer->piece(2, true) == "<|im_end|>");
  CHECK(tokenizer->piece(49152, true).code() == Code::kInvalidArgument);
  CHECK(tokenizer->piece(-1, true).code() == Code::kInvalidArgument);
  const auto plain = tokenizer->encode("<|im_end|>", {true, false});
  CHECK(plain->size() > 1);
  CHECK(decode(*tokenizer, *plain) == "<|im_end|>");
}

TEST_CASE("any text comes back from the real vocabulary") {
  const auto tokenizer = real_tokenizer("any text comes back");
  if (tokenizer == nullptr) return;
  std::mt19937 random(11);
  for (int round = 0; round < 400; ++round) {
    const std::string text = random_text(&random, random() % 60);
    INFO(in_quotes(text, 1000));
    const auto ids = tokenizer->encode(text, {});
    INFO(ids.message());
    REQUIRE(ids.is_ok());
    // Remove the bytes that this vocabulary has no token for.
    std::string expected = text;
    std::erase_if(expected, [](char byte) {
      return std::string_view("\x04\x06\x13\x14\x16\x1d\xf1\xf2").find(byte) !=
             std::string_view::npos;
    });
    CHECK(decode(*tokenizer, *ids) == expected);
  }
}

TEST_CASE("a text of too many tokens is given up") {
  const auto tokenizer = real_tokenizer("a text of too many tokens");
  if (!tokenizer) return;
  EncodeOptions options;
  options.tokens_max = 4096;
  for (const std::string& piece : {std::string("a"), std::string("news of the day. ")}) {
    std::string text;
    while (text.size() < 12'000'000) text += piece;
    CHECK(tokenizer->encode(text, options).code() == Code::kResourceExhausted);
  }
  // The bound itself is kept to the token.
  const std::string text = "The bound is kept to the token.";
  const auto ids = tokenizer->encode(text, {});
  REQUIRE(ids);
  options.tokens_max = ids->size();
  CHECK(*tokenizer->encode(text, options) == *ids);
  --options.tokens_max;
  CHECK(tokenizer->encode(text, options).code() == Code::kResourceExhausted);
}

TEST_CASE("loading and encoding take little time") {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: loading and encoding take little time (TROUPE_TEST_MODEL is not set)");
    return;
  }
  const auto source = open_gguf(path);
  REQUIRE(source.is_ok());
  const auto tokenizer = *tokenizer_from_gguf((*source)->header());
  // A single word of 200,000 bytes. Quadratic merging would take minutes, so a wide limit detects
  // it on any machine.
  std::mt19937 random(3);
  std::string word;
  while (word.size() < 200000) word += static_cast<char>('a' + random() % 26);
  const auto begin = std::chrono::steady_clock::now();
  const auto ids = tokenizer->encode(word, {});
  REQUIRE(ids.is_ok());
  CHECK(decode(*tokenizer, *ids) == word);
  for (const std::string& run : {std::string(200000, ' '), std::string(200000, '\n'),
                                 std::string(200000, '1'), std::string(200000, '<')}) {
    const auto run_ids = tokenizer->encode(run, {});
    REQUIRE(run_ids.is_ok());
    CHECK(decode(*tokenizer, *run_ids) == run);
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

TEST_CASE("merges follow rank, then position, also through parts that are no tokens") {
  const auto tokenizer = *Toy().load();
  const auto ids = [&](std::string_view text) { return *tokenizer->encode(text, {}); };
  CHECK(ids("abc") == std::vector<TokenId>{256});
  CHECK(ids("bc") == std::vector<TokenId>{'b', 'c'});  // "bc" is no token: its bytes
  CHECK(ids("aaaaa") == std::vector<TokenId>{257, 258});
  CHECK(ids("aaaa") == std::vector<TokenId>{257, 257});
  CHECK(ids("aaabc") == std::vector<TokenId>{257, 256});
  CHECK(ids("") == std::vector<TokenId>{});
  CHECK(decode(*tokenizer, ids("bcbc \xf0\x9f\x99\x82")) == "bcbc \xf0\x9f\x99\x82");
}

TEST_CASE("long words merge as short ones do") {
  // The heap (long words) and the scan (short ones) are two algorithms of one definition.
  std::mt19937 random(5);
  MergeTable table(400);
  for (std::uint32_t rank = 0; rank < 300; ++rank) {
    const auto below = static_cast<std::int32_t>(4 + rank / 4);
    table.put(static_cast<std::int32_t>(random() % below),
              static_cast<std::int32_t>(random() % below),
              {rank, static_cast<std::int32_t>(random() % 100)});
  }
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::int32_t> symbols(2 + random() % 90);
    for (std::int32_t& symbol : symbols) symbol = static_cast<std::int32_t>(random() % 6);
    std::vector<std::int32_t> expected = symbols;
    for (;;) {
      std::size_t best = expected.size();
      MergeTable::Merge merge;
      for (std::size_t i = 0; i + 1 < expected.size(); ++i) {
        const MergeTable::Merge found = table.find(expected[i], expected[i + 1]);
        if (found.rank < merge.rank) {
          merge = found;
          best = i;
        }
      }
      if (best == expected.size()) break;
      expected[best] = merge.joined;
      expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    symbols.resize(merge_symbols(table, symbols));
    CHECK(symbols == expected);
  }
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
      toy.tokens.resize(262);  // without the ends of its own
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
  Toy harmony;  // there, <|end|> ends one of several messages
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
    loaded(key, 4, std::uint32_t{264});  // one beyond the last token
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
                               "known; known are gpt-2, "));
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

TEST_CASE("pre-tokenizers cut as their families do") {
  CHECK(words_of("gpt-2", "Hello  world's 123\n") ==
        Words{"Hello", " ", " world", "'s", " 123", "\n"});
  CHECK(words_of("smollm", "a 12 b") == Words{"a", " ", "1", "2", " b"});
  CHECK(words_of("smollm", "x  7") == Words{"x", "  ", "7"});
  CHECK(words_of("llama-bpe", "It'S 12345\n\n  x!\n") ==
        Words{"It", "'S", " ", "123", "45", "\n\n", " ", " x", "!\n"});
  CHECK(words_of("qwen2", "It'S 12 x") == Words{"It", "'S", " ", "1", "2", " x"});
  CHECK(words_of("deepseek-v3", "1234 a_b \xe4\xb8\x96x") ==
        Words{"123", "4", " a", "_b", " ", "\xe4\xb8\x96", "x"});
  CHECK(words_of("deepseek-coder", "a 12\nb!") == Words{"a", " ", "1", "2", "\n", "b", "!"});
  // U+180E is no white space (since Unicode 6.3); U+0085 and U+3000 are.
  CHECK(words_of("gpt-2", "a\xe1\xa0\x8e") == Words{"a", "\xe1\xa0\x8e"});
  CHECK(words_of("gpt-2", "\xc2\x85 a") == Words{"\xc2\x85", " a"});
  CHECK(words_of("gpt-2", "!\xe1\xa0\x8e!") == Words{"!\xe1\xa0\x8e!"});
  CHECK(words_of("gpt-2", "!\xe3\x80\x80!") == Words{"!", "\xe3\x80\x80", "!"});
  CHECK(words_of("gpt-2", "") == Words{});
}

TEST_CASE("words are the text, whatever the pre-tokenizer") {
  std::mt19937 random(17);
  for (const char* name : {"gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-llm",
                           "deepseek-coder", "deepseek-v3", "starcoder"}) {
    for (int round = 0; round < 100; ++round) {
      const std::string text = random_text(&random, random() % 50);
      std::string joined;
      for (const std::string_view word : words_of(name, text)) {
        CHECK_FALSE(word.empty());
        joined += word;
      }
      CHECK(joined == text);
    }
  }
}

TEST_CASE("the stream never emits half a character") {
  std::mt19937 random(23);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = random_text(&random, random() % 20);
    // Damage the text in every second round.
    if (round % 2 == 1) {
      for (int i = 0; i < 3 && !bytes.empty(); ++i) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      bytes = bytes.substr(0, random() % (bytes.size() + 1));
    }
    Utf8Stream whole;
    std::string expected = whole.push(bytes);
    expected += whole.finish();
    CHECK(utf8_valid_prefix(expected) == expected.size());
    if (round % 2 == 0) CHECK(expected == bytes);
    Utf8Stream stream;
    std::string got;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t count = std::min<std::size_t>(random() % 4, bytes.size() - at);
      const std::string part = stream.push(std::string_view(bytes).substr(at, count));
      CHECK(utf8_valid_prefix(part) == part.size());
      got += part;
      at += count;
    }
    got += stream.finish();
    CHECK(got == expected);
  }
}

TEST_CASE("damaged bytes become one U+FFFD for each longest prefix") {
  const auto clean = [](std::string_view bytes) {
    Utf8Stream stream;
    std::string text = stream.push(bytes);
    return text + stream.finish();
  };
  const std::string bad = "\xef\xbf\xbd";
  CHECK(clean("a\xff"
              "b") == "a" + bad + "b");
  CHECK(clean("\xf0\x9f\x99") == bad);
  CHECK(clean("\xf0\x9f\x99x") == bad + "x");
  CHECK(clean("\xe0\x80\x80") == bad + bad + bad);  // overlong
  CHECK(clean("\xed\xa0\x80") == bad + bad + bad);  // surrogate
  CHECK(clean("\xf4\x90\x80\x80") == bad + bad + bad + bad);
  CHECK(clean("\xc3") == bad);
  Utf8Stream stream;
  CHECK(stream.push("\xc3") == "");
  CHECK(stream.push("\xa9") == "\xc3\xa9");
  CHECK(stream.finish() == "");
}
