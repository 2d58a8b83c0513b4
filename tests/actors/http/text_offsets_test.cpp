#include <catch2/catch.hpp>

#include <troupe/actors/http/text_offsets.h>

// Tests where the tokens of a prompt lie in its text, for the ways in which tokenizers cut it.

using namespace troupe;

namespace {

// A tokenizer whose tokens are given as a list in the order of their ids; the first one is a
// special token.
class Pieces : public model::Tokenizer {
 public:
  explicit Pieces(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {}
  Result<std::vector<model::TokenId>> encode(std::string_view,
                                             const model::EncodeOptions&) const override {
    return Status(Code::kInvalidArgument, "not used");
  }
  Result<std::string> piece(model::TokenId id, bool with_special) const override {
    return id == 0 && !with_special ? std::string() : pieces_.at(static_cast<std::size_t>(id));
  }
  std::size_t vocabulary() const override { return pieces_.size(); }
  bool is_end(model::TokenId) const override { return false; }
  std::vector<model::TokenId> end_tokens() const override { return {}; }
  model::TokenId bos() const override { return 0; }
  model::TokenId eos() const override { return -1; }

 private:
  std::vector<std::string> pieces_;
};

using Offsets = std::vector<std::size_t>;

}  // namespace

TEST_CASE("text offsets: they count characters, also of a character that two tokens share") {
  const Pieces tokenizer({"<s>", "na", "\xC3", "\xAF", "ve", " caf\xC3\xA9", "!"});
  CHECK(http::text_offsets(tokenizer, {1, 2, 3, 4, 5, 6}, "na\xC3\xAFve caf\xC3\xA9!") ==
        Offsets{0, 2, 3, 3, 5, 10});
  CHECK(http::count_characters("na\xC3\xAFve") == 5);
  CHECK(http::text_offsets(tokenizer, {}, "").empty());
}

TEST_CASE("text offsets: what the tokenizer adds takes no place, what the text contains does") {
  const Pieces tokenizer({"<s>", " The", " end", "x"});
  CHECK(http::text_offsets(tokenizer, {0, 1, 2}, "The end") == Offsets{0, 0, 3});
  CHECK(http::text_offsets(tokenizer, {0, 1, 2}, "<s> The end") == Offsets{0, 3, 7});
  CHECK(http::text_offsets(tokenizer, {1, 1}, "The The") == Offsets{0, 3});
}

TEST_CASE("text offsets: they stay within a text that the tokenizer has changed") {
  const Pieces tokenizer({"<s>", "hello", "world"});
  CHECK(http::text_offsets(tokenizer, {1, 2, 2}, "HELLO wo") == Offsets{0, 5, 8});
}
