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
  // An end token without a row is never generated.
  header.metadata[std::string(header_keys::kEndTokenIds)] =
      std::vector<std::int64_t>{2, 100, 5000000000};
  CHECK((*open_tokenizer(header, 100))->end_tokens() == std::vector<TokenId>{2});
  header.metadata[std::string(header_keys::kEndTokenIds)] = std::vector<std::int64_t>{100};
  CHECK((*open_tokenizer(header, 100))->end_tokens().empty());
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

TEST_CASE("a model may have fewer rows than its tokenizer has tokens") {
  GgufHeader header;
  header.metadata["tokenizer.ggml.model"] = std::string("gpt2");
  header.metadata["tokenizer.ggml.pre"] = std::string("gpt-2");
  header.metadata["tokenizer.ggml.tokens"] =
      std::vector<std::string>{"H", "e", "He", "<a>", "<b>", "</s>"};
  header.metadata["tokenizer.ggml.token_type"] = std::vector<std::int64_t>{1, 1, 1, 3, 4, 3};
  header.metadata["tokenizer.ggml.merges"] = std::vector<std::string>{"H e"};
  header.metadata["tokenizer.ggml.bos_token_id"] = std::uint32_t{3};
  header.metadata["tokenizer.ggml.eos_token_id"] = std::uint32_t{5};
  for (const std::size_t rows : {1, 2, 3, 4, 5}) {
    INFO(rows);
    const auto opened = open_tokenizer(header, rows);
    REQUIRE(opened.is_ok());
    CHECK((*opened)->vocabulary() == rows);
    CHECK((*opened)->encode("He", {}).is_ok() == (rows > 2));
    CHECK((*opened)->encode("<a>", {}).is_ok() == (rows > 3));
    CHECK((*opened)->encode("H<b>", {}).is_ok() == (rows > 4));
    CHECK((*opened)->bos() == (rows > 3 ? 3 : -1));
    CHECK((*opened)->eos() == -1);
    CHECK((*opened)->end_tokens().empty());
    CHECK((*opened)->piece(static_cast<TokenId>(rows), true).code() == Code::kInvalidArgument);
  }
  CHECK((*open_tokenizer(header, 2))->encode("He", {}).message() ==
        "the text has the token 'He' of id 2, for which the model has no row (its tensor "
        "token_embd.weight has 2); leave it out, or take a model whose tokenizer fits");
}
