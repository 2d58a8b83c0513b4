#include <cmath>
#include <fstream>

#include <catch2/catch.hpp>

#include <troupe/model/training/evaluation.h>
#include <troupe/tests/model/training/scratch_folder.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

namespace {

// Every token is the text "ab", except 0, which is special.
class TwoBytes final : public Tokenizer {
 public:
  Result<std::vector<TokenId>> encode(std::string_view text, const EncodeOptions&) const override {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<TokenId>(c));
    return ids;
  }
  Result<std::string> piece(TokenId id, bool) const override {
    return std::string(id == 0 ? "" : "ab");
  }
  std::size_t vocabulary() const override { return 128; }
  bool is_end(TokenId) const override { return false; }
  std::vector<TokenId> end_tokens() const override { return {}; }
  TokenId bos() const override { return -1; }
  TokenId eos() const override { return -1; }
};

}  // namespace

// transformers recorded the loss of both rows together (make_tiny_models.py).
TEST_CASE("scores are the recorded losses, and do not depend on threads") {
  for (const std::string family : {"llama", "gpt2", "qwen3"}) {
    INFO(family);
    const TinyModel tiny(family);
    const float recorded = read_tensor<float>(tiny.expected, "loss")[0];
    double first = 0.0;
    for (const int threads : {1, 3}) {
      const auto device = training_device(threads);
      const auto stage =
          Stage::load(*tiny.source, tiny.config, {0, tiny.config.layers}, *device, {});
      REQUIRE(stage.is_ok());
      TokenScore sum;
      for (const Example& example : tiny.batch()) {
        const auto score = score_example(**stage, example, TwoBytes());
        REQUIRE(score.is_ok());
        sum.add(*score);
      }
      CHECK(sum.tokens == 22);
      CHECK(sum.loss() == Approx(static_cast<double>(recorded)).epsilon(1e-5));
      if (first == 0.0) first = sum.nll;
      CHECK(sum.nll == first);
    }
  }
}

TEST_CASE("bits per byte count the text that the predicted tokens stand for") {
  TokenScore score;
  CHECK(score.bits_per_byte() == 0.0);
  score.nll = 8 * std::log(2.0);
  score.tokens = 3;
  score.bytes = 4;
  CHECK(score.bits_per_byte() == Approx(2.0).epsilon(1e-12));
}

TEST_CASE("a confusion matrix gives precision, recall and F1") {
  Confusion confusion(4);  // the last label occurs nowhere
  const std::size_t rows[][2] = {{0, 0}, {0, 0}, {0, 1}, {1, 1}, {1, 2}, {2, 2}};
  for (const auto& [label, answer] : rows) confusion.add(label, answer);
  CHECK(confusion.rows() == 6);
  CHECK(confusion.right() == 4);
  CHECK(confusion.precision(0) == 1.0);
  CHECK(confusion.recall(0) == Approx(2.0 / 3));
  CHECK(confusion.f1(0) == Approx(0.8));
  CHECK(confusion.f1(1) == Approx(0.5));
  CHECK(confusion.f1(2) == Approx(2.0 / 3));
  CHECK(confusion.f1(3) == 0.0);
  CHECK(confusion.macro_f1() == Approx((0.8 + 0.5 + 2.0 / 3) / 3));
}

TEST_CASE("choices are read, and only their tokens are predicted") {
  const ScratchFolder scratch;
  const auto path = scratch.path() / "choices.jsonl";
  std::ofstream(path) << R"({"prompt": "ab", "choices": ["c", "de"], "answer": "B"})"
                      << "\n\n"
                      << R"({"prompt": "ab", "choices": ["c", "d"], "answer": 2})"
                      << "\n"
                      << R"({"prompt": "ab", "choices": ["c"], "answer": 0})"
                      << "\n{\n"
                      << R"({"prompt": "x", "choices": ["y", "z"], "answer": 0})"
                      << "\n";
  const auto read = read_choice_rows(path);
  REQUIRE(read.is_ok());
  REQUIRE(read->rows.size() == 2);
  CHECK(read->rows[0].answer == 1);
  CHECK(read->rows[1].answer == 0);
  REQUIRE(read->dropped.size() == 3);
  CHECK(read->dropped[0].line == 3);
  CHECK_THAT(read->dropped[0].why, Catch::Contains("from 0 to 1, nor its letter"));
  CHECK_THAT(read->dropped[1].why, Catch::Contains("not a list of two or more texts"));
  CHECK_THAT(read->dropped[2].why, Catch::Contains("not JSON"));
  const auto example = choice_example(read->rows[0], 1, TwoBytes());
  REQUIRE(example.is_ok());
  CHECK(example->ids == std::vector<TokenId>{'a', 'b', 'd', 'e'});
  CHECK(example->targets == std::vector<TokenId>{kNoTarget, 'd', 'e', kNoTarget});
  CHECK_THAT(choice_example({7, "", {"a", "b"}, 0}, 0, TwoBytes()).message(),
             Catch::Contains("line 7: choice 0 has no token of the prompt before it"));
  std::ofstream(scratch.path() / "empty.jsonl") << "\n";
  CHECK_THAT(read_choice_rows(scratch.path() / "empty.jsonl").message(),
             Catch::Contains("is empty"));
}
