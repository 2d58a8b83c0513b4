#include <catch2/catch.hpp>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/tokenizer/open_tokenizer.h>

using namespace troupe;
using namespace troupe::model;
using Catch::Matchers::Contains;

TEST_CASE("a model without a tokenizer takes and gives ids") {
  GgufHeader header;
  header.metadata[std::string(header_keys::kEndTokenIds)] = std::vector<std::int64_t>{2, -1, 7};
  const auto tokenizer = open_tokenizer(header, 100);
  REQUIRE(tokenizer.is_ok());
  CHECK((*tokenizer)->vocabulary() == 100);
  CHECK((*tokenizer)->encode("text", {}).code() == Code::kFailedPrecondition);
  CHECK_THAT((*tokenizer)->encode("text", {}).message(), Contains("--prompt-ids"));
  CHECK((*tokenizer)->piece(99, true)->empty());
  CHECK((*tokenizer)->piece(100, true).code() == Code::kInvalidArgument);
  CHECK((*tokenizer)->piece(-1, true).code() == Code::kInvalidArgument);
  CHECK((*tokenizer)->end_tokens() == std::vector<TokenId>{2, 7});
  CHECK((*tokenizer)->is_end(7));
  CHECK_FALSE((*tokenizer)->is_end(3));
  CHECK((*tokenizer)->eos() == 2);
  CHECK((*tokenizer)->bos() == -1);
  CHECK((*open_tokenizer({}, 5))->eos() == -1);
  header.what = "a/folder";
  for (const std::int64_t id : {std::int64_t{100}, std::int64_t{5000000000}}) {
    header.metadata[std::string(header_keys::kEndTokenIds)] = std::vector<std::int64_t>{2, id};
    const auto refused = open_tokenizer(header, 100);
    CHECK(refused.code() == Code::kBadData);
    CHECK_THAT(refused.message(),
               Contains("a/folder: ") && Contains("eos_token_id") && Contains(std::to_string(id)));
  }
}

TEST_CASE("a tokenizer that is there but damaged is an error") {
  GgufHeader header;
  header.metadata["tokenizer.ggml.model"] = std::string("klingon");
  const auto tokenizer = open_tokenizer(header, 100);
  REQUIRE_FALSE(tokenizer.is_ok());
  CHECK_THAT(tokenizer.message(), Contains("klingon"));
}

TEST_CASE("a model may have more rows than its tokenizer has tokens") {
  GgufHeader header;
  header.metadata["tokenizer.ggml.model"] = std::string("gpt2");
  header.metadata["tokenizer.ggml.pre"] = std::string("gpt-2");
  header.metadata["tokenizer.ggml.tokens"] = std::vector<std::string>{"H", "e", "He"};
  header.metadata["tokenizer.ggml.merges"] = std::vector<std::string>{"H e"};
  const auto padded = open_tokenizer(header, 8);
  REQUIRE(padded.is_ok());
  CHECK((*padded)->vocabulary() == 8);
  CHECK(*(*padded)->encode("He", {}) == std::vector<TokenId>{2});
  CHECK(*(*padded)->piece(2, false) == "He");
  CHECK((*padded)->piece(7, false)->empty());
  CHECK((*padded)->piece(8, false).code() == Code::kInvalidArgument);
  CHECK((*padded)->piece(-1, false).code() == Code::kInvalidArgument);
}
