#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/training/evaluation.h>
#include <troupe/model/training/token_rows.h>
#include <troupe/tests/model/training/scratch_folder.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

// There is a token for each two bytes of a word, and 1 and 2 around a text; '~' gives none.
class PairTokenizer final : public Tokenizer {
 public:
  Result<std::vector<TokenId>> encode(std::string_view text,
                                      const EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    if (options.add_special) ids.push_back(1);
    if (text.starts_with(' ')) text.remove_prefix(1);
    for (std::size_t i = 0; i < text.size(); i += 2)
      if (text[i] != '~') ids.push_back(static_cast<unsigned char>(text[i]));
    if (options.add_special) ids.push_back(2);
    return ids;
  }
  Result<std::string> piece(TokenId, bool) const override { return std::string("xx"); }
  std::size_t vocabulary() const override { return 256; }
  bool is_end(TokenId) const override { return false; }
  std::vector<TokenId> end_tokens() const override { return {}; }
  TokenId bos() const override { return -1; }
  TokenId eos() const override { return -1; }
};

std::vector<std::string> texts_of(const std::vector<TextWord>& words) {
  std::vector<std::string> texts;
  for (const TextWord& word : words) texts.push_back(word.text);
  return texts;
}

TokenRows read(const ScratchFolder& folder, const std::string& content,
               const TokenFields& fields = {}) {
  auto rows = read_token_rows(folder.write("rows.jsonl", content), fields);
  INFO(rows.message());
  REQUIRE(rows.is_ok());
  return std::move(*rows);
}

}  // namespace

TEST_CASE("words are cut where BERT's tokenizers cut, and counted in characters") {
  const auto words = words_of("Zoë's  U.S. 東京!");
  CHECK(texts_of(words) ==
        std::vector<std::string>{"Zoë", "'", "s", "U", ".", "S", ".", "東", "京", "!"});
  CHECK((words[0].begin == 0 && words[0].end == 3));
  CHECK((words[1].begin == 3 && words[3].begin == 7 && words.back().begin == 14));
  CHECK(words_of("").empty());
  const auto listed = words_of(std::vector<std::string>{"New York", "é", "!"});
  CHECK((listed[1].begin == 9 && listed[1].end == 10 && listed[2].begin == 11));
}

TEST_CASE("rows of tokens and of entities become labels of first sub-words") {
  const ScratchFolder folder;
  const TokenRows rows = read(
      folder,
      "{\"tokens\": [\"Ada\", \"~\", \"runs\", \"x\"], \"tags\": [\"B-P\", \"O\", \"O\", null]}\n"
      "{\"text\": \"Hi Ada Byron.\", \"entities\": [{\"start\": 3, \"end\": 12, "
      "\"label\": \"P\"}]}\n"
      "{\"tokens\": [\"q\"], \"ner_tags\": [\"O\"]}\n");
  CHECK(rows.dropped.empty());
  const auto labels = token_label_names(rows);
  CHECK(labels == std::vector<std::string>{"B-P", "I-P", "O"});
  const auto data = token_dataset(rows, PairTokenizer(), {}, labels);
  REQUIRE(data.is_ok());
  REQUIRE(data->examples.size() == 3);
  const TokenId no = kNoTarget;
  CHECK(data->examples[0].ids == std::vector<TokenId>{1, 'A', 'a', 'r', 'n', 'x', 2});
  CHECK(data->examples[0].targets == std::vector<TokenId>{no, 0, no, 2, no, no, no});
  CHECK(data->examples[1].ids == std::vector<TokenId>{1, 'H', 'A', 'a', 'B', 'r', 'n', '.', 2});
  CHECK(data->examples[1].targets == std::vector<TokenId>{no, 2, 0, no, 1, no, no, 2, no});
  CHECK(*class_weights("balanced", *data) ==
        std::vector<float>{7.0f / 6.0f, 7.0f / 3.0f, 7.0f / 12.0f});
}

TEST_CASE("labels may be numbers, whose names are those that transformers gives") {
  const ScratchFolder folder;
  const TokenRows rows =
      read(folder, "{\"tokens\": [\"a\", \"b\", \"c\"], \"ner_tags\": [0, -100, 3]}\n");
  const auto labels = token_label_names(rows);
  CHECK(labels == std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"});
  // A model whose labels have names accepts numbers, too.
  const auto data = token_dataset(rows, PairTokenizer(), {}, {"w", "x", "y", "z"});
  REQUIRE(data.is_ok());
  CHECK(data->examples[0].targets == std::vector<TokenId>{kNoTarget, 0, kNoTarget, 3, kNoTarget});
  const auto unknown = token_dataset(rows, PairTokenizer(), {}, {"w", "x", "y"});
  REQUIRE_FALSE(unknown.is_ok());
  CHECK_THAT(unknown.message(), Contains("line 1") && Contains("none of the 3"));
}

TEST_CASE("rows of words that are too long are cut at a word, or dropped") {
  const ScratchFolder folder;
  const TokenRows rows =
      read(folder,
           "{\"tokens\": [\"aabb\", \"cc\", \"ddee\", \"ff\"], \"tags\": [\"x\", \"y\", \"x\", "
           "\"y\"]}\n");
  const auto labels = token_label_names(rows);
  const auto ids = [&](Truncation truncation, std::size_t length_max) {
    const auto data = token_dataset(rows, PairTokenizer(), {length_max, truncation}, labels);
    REQUIRE(data.is_ok());
    CHECK(data->truncated == 1);
    return data->examples[0].ids;
  };
  CHECK(ids(Truncation::kRight, 6) == std::vector<TokenId>{1, 'a', 'b', 'c', 2});
  CHECK(ids(Truncation::kLeft, 6) == std::vector<TokenId>{1, 'c', 'd', 'e', 'f', 2});
  CHECK(ids(Truncation::kRight, 3) == std::vector<TokenId>{1, 'a', 2});
  CHECK(ids(Truncation::kLeft, 3) == std::vector<TokenId>{1, 'f', 2});
  const auto dropped = token_dataset(rows, PairTokenizer(), {6, Truncation::kDrop}, labels);
  REQUIRE_FALSE(dropped.is_ok());
  CHECK_THAT(dropped.message(), Contains("no row is left"));
  const auto none = token_dataset(rows, PairTokenizer(), {2, Truncation::kRight}, labels);
  REQUIRE_FALSE(none.is_ok());
  CHECK_THAT(none.message(), Contains("leaves no room"));
}

TEST_CASE("rows of words that cannot be used are named with their reason") {
  const ScratchFolder folder;
  const TokenRows rows =
      read(folder,
           "{\"tokens\": [\"a\", \"b\"], \"tags\": [\"x\", \"y\"]}\n"
           "{\"tokens\": [\"a\", \"b\"], \"tags\": [\"x\"]}\n"
           "{\"tokens\": [\"a\"], \"tags\": [1.5]}\n"
           "{\"tokens\": [\"a\", \"b\"], \"tags\": [\"x\", 1]}\n"
           "{\"tokens\": \"a\", \"tags\": [\"x\"]}\n"
           "{\"tokens\": [\"a\"]}\n"
           "{\"text\": \"a b\"}\n"
           "{\"text\": \"Ada\", \"entities\": [{\"start\": 0, \"end\": 2, \"label\": \"P\"}]}\n"
           "{\"text\": \"Ada\", \"entities\": [{\"start\": 0, \"end\": 9, \"label\": \"P\"}]}\n"
           "{\"text\": \"Ada\", \"entities\": [{\"start\": 3, \"end\": 0, \"label\": \"P\"}]}\n"
           "{\"text\": \"Ada\", \"entities\": [{\"start\": 0, \"end\": 3, \"label\": \"P\"}, "
           "{\"start\": 0, \"end\": 3, \"label\": \"Q\"}]}\n"
           "{\"text\": \"a  b\", \"entities\": [{\"start\": 1, \"end\": 2, \"label\": \"P\"}]}\n"
           "{\"text\": \"Ada\", \"entities\": [3]}\n"
           "[1]\n"
           "nonsense\n");
  REQUIRE(rows.rows.size() == 1);
  const char* const reasons[] = {"it has 2 tokens, but 1 labels in 'tags'",
                                 "neither a name nor a number",
                                 "has both names and numbers",
                                 "'tokens' is not a list",
                                 "no field 'tags' or 'ner_tags'",
                                 "no field 'entities'",
                                 "begins or ends inside the word 'Ada'",
                                 "but the text has 3 characters",
                                 "is from 3 to 0",
                                 "overlaps another one",
                                 "holds no word",
                                 "not an object",
                                 "not an object",
                                 "it is not JSON"};
  REQUIRE(rows.dropped.size() == std::size(reasons));
  for (std::size_t i = 0; i < std::size(reasons); ++i) {
    CHECK(rows.dropped[i].line == i + 2);
    CHECK_THAT(rows.dropped[i].why, Contains(reasons[i]));
  }
  const auto refusal = [&](const std::string& content, const TokenFields& fields = {}) {
    const auto refused = read_token_rows(folder.write("bad.jsonl", content), fields);
    REQUIRE_FALSE(refused.is_ok());
    return refused.message();
  };
  CHECK_THAT(refusal("{\"tokens\": [\"a\"], \"tags\": [\"x\"]}\n"
                     "{\"tokens\": [\"a\"], \"tags\": [1]}\n"),
             Contains("names of labels in line 1, but numbers in line 2"));
  CHECK_THAT(refusal(""), Contains("it is empty"));
  CHECK_THAT(refusal("{\"words\": []}\n"), Contains("neither a field 'tokens' nor a field 'text'"));
  CHECK_THAT(refusal("{\"tokens\": [\"a\"], \"tags\": [\"x\"]}\n", {"text", "pos", true}),
             Contains("no field 'pos'"));
  const TokenRows one = read(folder, "{\"tokens\": [\"a\"], \"tags\": [\"x\"]}\n");
  const auto single = token_dataset(one, PairTokenizer(), {}, token_label_names(one));
  REQUIRE_FALSE(single.is_ok());
  CHECK_THAT(single.message(), Contains("one label, 'x'; a classifier needs at least two"));
  const TokenRows empty =
      read(folder, "{\"tokens\": [\"~\"], \"tags\": [\"x\"]}\n{\"tokens\": [], \"tags\": []}\n");
  const auto nothing = token_dataset(empty, PairTokenizer(), {}, {"x", "y"});
  REQUIRE_FALSE(nothing.is_ok());
  CHECK_THAT(nothing.message(), Contains("no row is left"));
}

TEST_CASE("words and entities are scored as scikit-learn and seqeval score them") {
  const auto golden =
      nlohmann::json::parse(std::ifstream(TROUPE_TEST_DATA "/golden/tag_scores.json"));
  for (const auto& one : golden["cases"]) {
    const std::vector<std::string> names = one["names"];
    Confusion confusion(names.size());
    EntityScore entities;
    const auto number = [&](const std::string& name) {
      return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    };
    for (std::size_t text = 0; text < one["labels"].size(); ++text) {
      const std::vector<std::string> labels = one["labels"][text], answers = one["answers"][text];
      for (std::size_t i = 0; i < labels.size(); ++i)
        confusion.add(number(labels[i]), number(answers[i]));
      entities.add(labels, answers);
    }
    const std::size_t outside = number("O");
    CHECK(confusion.micro_f1(outside) == Approx(one["micro_f1"].get<double>()).epsilon(1e-12));
    CHECK(confusion.macro_f1(outside) == Approx(one["macro_f1"].get<double>()).epsilon(1e-12));
    CHECK(confusion.macro_f1() == Approx(one["macro_f1_all"].get<double>()).epsilon(1e-12));
    CHECK(confusion.micro_f1() == Approx(one["accuracy"].get<double>()).epsilon(1e-12));
    CHECK(entities.precision() == Approx(one["entity_precision"].get<double>()).epsilon(1e-12));
    CHECK(entities.recall() == Approx(one["entity_recall"].get<double>()).epsilon(1e-12));
    CHECK(entities.f1() == Approx(one["entity_f1"].get<double>()).epsilon(1e-12));
  }
}
