#include <catch2/catch.hpp>

#include <troupe/model/chat/prompt.h>
#include <troupe/tests/model/tokenizer/letter_tokenizer.h>

using namespace troupe;
using namespace troupe::model;

TEST_CASE("a byte that is not text is counted in what was given, not in the filled template") {
  const auto chat = *ChatTemplate::parse(
      "a long beginning: {% for m in messages %}{{ m.content }}"
      "{% endfor %}");
  const LetterTokenizer tokenizer;
  Prompt prompt;
  prompt.text = "caf\xe9 au lait";
  for (const bool raw : {true, false}) {
    prompt.raw = raw;
    const auto ids = prompt_tokens(prompt, tokenizer, chat.get());
    CHECK(ids.code() == Code::kInvalidArgument);
    CHECK(ids.message() == "the prompt is not UTF-8: its byte 3 is not part of a character");
  }
  prompt.text = "fine";
  prompt.system = "\xff";
  CHECK(prompt_tokens(prompt, tokenizer, chat.get()).message() ==
        "the system message is not UTF-8: its byte 0 is not part of a character");
  prompt.text.clear();
  prompt.system.clear();
  prompt.messages = {{"user", "fine"}, {"assistant", "na\xefve"}};
  CHECK(prompt_tokens(prompt, tokenizer, chat.get()).message() ==
        "message 2 is not UTF-8: its byte 2 is not part of a character");
}

TEST_CASE("a prompt is ids, raw text, or a chat that the template fills in") {
  const auto chat =
      *ChatTemplate::parse("{% for m in messages %}{{ m.role[0] }}{{ m.content }}{% endfor %}");
  const LetterTokenizer tokenizer;
  Prompt prompt;
  CHECK(prompt_tokens(prompt, tokenizer, chat.get()).code() == Code::kInvalidArgument);
  prompt.text = "bc";
  CHECK(*prompt_tokens(prompt, tokenizer, chat.get()) == std::vector<TokenId>{'u' - 'a', 1, 2});
  CHECK(prompt_tokens(prompt, tokenizer, nullptr).code() == Code::kFailedPrecondition);
  prompt.system = "d";
  CHECK(*prompt_tokens(prompt, tokenizer, chat.get()) ==
        std::vector<TokenId>{'s' - 'a', 3, 'u' - 'a', 1, 2});
  prompt.raw = true;
  CHECK(*prompt_tokens(prompt, tokenizer, nullptr) == std::vector<TokenId>{1, 2});
  prompt.token_ids = {7};
  CHECK(prompt_tokens(prompt, tokenizer, nullptr).code() == Code::kInvalidArgument);
  prompt.text.clear();
  CHECK(*prompt_tokens(prompt, tokenizer, nullptr) == std::vector<TokenId>{7});
}

TEST_CASE("a text far too long is told so, and a template that takes too much is not") {
  // Refuses texts that are too long, as the real ones do.
  class Bounded final : public LetterTokenizer {
    Result<std::vector<TokenId>> encode(std::string_view text,
                                        const EncodeOptions& options) const override {
      if (options.tokens_max != 0 && text.size() > options.tokens_max) {
        return Status(Code::kResourceExhausted, "too many tokens");
      }
      return LetterTokenizer::encode(text, options);
    }
  };
  const Bounded tokenizer;
  Prompt prompt;
  prompt.raw = true;
  prompt.text = std::string(5000, 'a');
  CHECK(prompt_tokens(prompt, tokenizer, nullptr)->size() == 5000);
  const auto refused = prompt_tokens(prompt, tokenizer, nullptr, {}, 100);
  CHECK(refused.code() == Code::kInvalidArgument);
  CHECK(refused.message().find("5000 bytes") != std::string::npos);
  CHECK(refused.message().find("the context only 100") != std::string::npos);
  prompt.raw = false;
  const auto endless = *ChatTemplate::parse(
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}");
  const auto exhausted = prompt_tokens(prompt, tokenizer, endless.get(), {}, 100);
  CHECK(exhausted.code() == Code::kResourceExhausted);
  CHECK(exhausted.message().find("bytes") == std::string::npos);
}
