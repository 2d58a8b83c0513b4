#include <algorithm>
#include <initializer_list>

#include <catch2/catch.hpp>

#include <troupe/model/training/data_rows.h>
#include <troupe/model/training/dataset.h>
#include <troupe/model/training/run_plan.h>
#include <troupe/tests/model/training/scratch_folder.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

enum class Marks { kNone, kBefore, kAfter, kBoth };

// Each byte is a token; the marks 256 and 257 go before and after a text.
class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(Marks marks) : marks_(marks) {}
  Result<std::vector<TokenId>> encode(std::string_view text,
                                      const EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    if (options.add_special && is_any({Marks::kBefore, Marks::kBoth})) ids.push_back(256);
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    if (options.add_special && is_any({Marks::kAfter, Marks::kBoth})) ids.push_back(257);
    return ids;
  }
  Result<std::string> piece(TokenId id, bool) const override {
    return std::string(1, static_cast<char>(id));
  }
  std::size_t vocabulary() const override { return 258; }
  bool is_end(TokenId) const override { return false; }
  std::vector<TokenId> end_tokens() const override { return {}; }
  TokenId bos() const override { return -1; }
  TokenId eos() const override { return -1; }

 private:
  bool is_any(std::initializer_list<Marks> wanted) const {
    return std::find(wanted.begin(), wanted.end(), marks_) != wanted.end();
  }
  const Marks marks_;
};

}  // namespace

TEST_CASE("rows are read from JSONL, CSV and plain text") {
  const ScratchFolder folder;
  DataFields labelled;
  labelled.with_labels = true;
  const auto json = read_data_rows(
      folder.write("rows.jsonl",
                   "{\"text\":\"a\",\"label\":\"x\"}\r\n\n{\"text\":\"b\",\"label\":3}\n"),
      labelled);
  REQUIRE(json.is_ok());
  REQUIRE(json->rows.size() == 2);
  CHECK(json->rows[1].line == 3);
  CHECK(json->rows[1].label == "3");
  DataFields named{"body", "kind", true};
  const auto csv = read_data_rows(
      folder.write("rows.csv", "kind,body\nx,\"one, \"\"two\"\"\nthree\"\ny,four\nbroken\n"),
      named);
  REQUIRE(csv.is_ok());
  REQUIRE(csv->rows.size() == 2);
  CHECK(csv->rows[0].text == "one, \"two\"\nthree");
  CHECK(csv->rows[1].label == "y");
  REQUIRE(csv->dropped.size() == 1);
  CHECK(csv->dropped[0].line == 5);
  const auto text = read_data_rows(folder.write("notes.txt", "one\ntwo\n"), {});
  REQUIRE(text.is_ok());
  CHECK(text->rows[0].text == "one\ntwo\n");
}

TEST_CASE("rows that cannot be used are named, and files without any are refused") {
  const ScratchFolder folder;
  DataFields labelled;
  labelled.with_labels = true;
  const auto some = read_data_rows(
      folder.write("some.jsonl",
                   "{\"text\":\"a\",\"label\":\"x\"}\n{broken\n{\"text\":\"a\"}\n[1]\n"
                   "{\"text\":{},\"label\":\"x\"}\n"),
      labelled);
  REQUIRE(some.is_ok());
  REQUIRE(some->dropped.size() == 4);
  CHECK(some->dropped[0].line == 2);
  CHECK_THAT(some->dropped[1].why, Contains("no field 'label'"));
  CHECK_THAT(some->dropped[2].why, Contains("not an object"));
  CHECK_THAT(some->dropped[3].why, Contains("'text' is not text"));
  const auto message = [&](const std::string& name, const std::string& content) {
    const auto rows = read_data_rows(folder.write(name, content), labelled);
    REQUIRE_FALSE(rows.is_ok());
    return rows.message();
  };
  CHECK_THAT(message("empty.jsonl", " \n"), Contains("is empty"));
  CHECK_THAT(message("none.jsonl", "{\"text\":\"a\"}\n"),
             Contains("line 1") && Contains("'label'"));
  CHECK_THAT(message("latin.jsonl", "{\"text\":\"\xe4\"}"), Contains("not UTF-8 at byte 9"));
  CHECK_THAT(message("plain.txt", "text"), Contains("no labels"));
  CHECK_THAT(message("columns.csv", "a,b\n1,2\n"), Contains("no column 'text'"));
}

TEST_CASE("running text is cut into windows, each position of which predicts the next") {
  DataRows rows;
  rows.rows = {{1, "abcdefg", ""}, {2, "x", ""}, {3, "hi", ""}};
  const auto data = language_dataset(rows, ByteTokenizer(Marks::kNone), {3, Truncation::kRight});
  REQUIRE(data.is_ok());
  REQUIRE(data->examples.size() == 3);  // abc, def (g alone predicts nothing), hi
  CHECK(data->examples[1].ids == std::vector<TokenId>{'d', 'e', 'f'});
  CHECK(data->examples[1].targets == std::vector<TokenId>{'e', 'f', kNoTarget});
  REQUIRE(data->dropped.size() == 1);
  CHECK(data->dropped[0].line == 2);
}

TEST_CASE("long texts of a classifier keep their marks when they are cut") {
  DataRows rows;
  rows.rows = {{1, "abcdef", "one"}, {2, "gh", "two"}};
  const ByteTokenizer tokenizer(Marks::kBoth);
  const auto ids = [&](Truncation truncation) {
    const auto data = classification_dataset(rows, tokenizer, {5, truncation});
    REQUIRE(data.is_ok());
    return data->examples[0].ids;
  };
  CHECK(ids(Truncation::kRight) == std::vector<TokenId>{256, 'a', 'b', 'c', 257});
  CHECK(ids(Truncation::kLeft) == std::vector<TokenId>{256, 'd', 'e', 'f', 257});
  CHECK(ids(Truncation::kDrop) == std::vector<TokenId>{256, 'g', 'h', 257});
  const auto cut = [&](Marks marks, Truncation truncation) {
    const auto data = classification_dataset(rows, ByteTokenizer(marks), {5, truncation});
    REQUIRE(data.is_ok());
    return data->examples[0].ids;
  };
  CHECK(cut(Marks::kBefore, Truncation::kRight) == std::vector<TokenId>{256, 'a', 'b', 'c', 'd'});
  CHECK(cut(Marks::kBefore, Truncation::kLeft) == std::vector<TokenId>{256, 'c', 'd', 'e', 'f'});
  CHECK(cut(Marks::kAfter, Truncation::kRight) == std::vector<TokenId>{'a', 'b', 'c', 'd', 257});
  CHECK(cut(Marks::kAfter, Truncation::kLeft) == std::vector<TokenId>{'c', 'd', 'e', 'f', 257});
  const auto dropped = classification_dataset(rows, tokenizer, {5, Truncation::kDrop});
  REQUIRE(dropped->dropped.size() == 1);
  CHECK(dropped->dropped[0].line == 1);
  CHECK(dropped->labels == std::vector<std::string>{"one", "two"});
}

TEST_CASE("one class, and labels that training did not have, are refused") {
  DataRows rows;
  rows.rows = {{1, "a", "one"}, {7, "b", "one"}};
  const ByteTokenizer tokenizer(Marks::kBoth);
  const auto one = classification_dataset(rows, tokenizer, {});
  REQUIRE_FALSE(one.is_ok());
  CHECK_THAT(one.message(), Contains("'one'") && Contains("at least two labels"));
  const auto unseen = classification_dataset(rows, tokenizer, {}, {"two", "three"});
  REQUIRE_FALSE(unseen.is_ok());
  CHECK_THAT(unseen.message(), Contains("line 1") && Contains("'one'"));
}

TEST_CASE("a run's batches follow from the step alone") {
  RunOptions options;
  options.batch_size = 4;
  options.epochs = 3;
  options.seed = 5;
  RunPlan straight(10, options), resumed(10, options);
  REQUIRE(straight.steps() == 9);
  std::vector<std::vector<std::size_t>> batches;
  for (std::uint64_t step = 0; step < 9; ++step) batches.push_back(straight.batch(step));
  for (std::uint64_t step = 5; step < 9; ++step) CHECK(resumed.batch(step) == batches[step]);
  CHECK(batches[2].size() == 2);  // the rest of 10
  std::vector<std::vector<std::size_t>> epochs(3);
  for (std::size_t step = 0; step < 9; ++step)
    epochs[step / 3].insert(epochs[step / 3].end(), batches[step].begin(), batches[step].end());
  CHECK(epochs[0] != epochs[1]);
  for (auto& epoch : epochs) {
    std::sort(epoch.begin(), epoch.end());
    CHECK(epoch == std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  }
  options.drops_last = true;
  options.shuffled = false;
  RunPlan dropping(10, options);
  CHECK(dropping.steps() == 6);
  CHECK(dropping.batch(2) == std::vector<std::size_t>{0, 1, 2, 3});  // of the second epoch
}

TEST_CASE("schedules rise and fall as transformers' do") {
  Schedule linear{ScheduleKind::kLinear, 1.0, 2, 10};
  CHECK(linear.at(0) == 0.0);
  CHECK(linear.at(1) == 0.5);
  CHECK(linear.at(2) == 1.0);
  CHECK(linear.at(6) == 0.5);
  CHECK(linear.at(10) == 0.0);
  Schedule cosine{ScheduleKind::kCosine, 1.0, 2, 10};
  CHECK(cosine.at(2) == Approx(1.0));
  CHECK(cosine.at(6) == Approx(0.5));
  CHECK(cosine.at(4) == Approx(0.8535533905932737));
  CHECK(Schedule{ScheduleKind::kConstant, 0.3, 0, 10}.at(9) == 0.3);
}

TEST_CASE("validation rows are drawn by the seed alone, at least one and not all") {
  const auto drawn = [](std::size_t count, double part, std::uint64_t seed) {
    return draw_validation_rows(count, part, seed);
  };
  const auto taken = [&](std::size_t count, double part) {
    const std::vector<bool> rows = drawn(count, part, 7);
    return std::count(rows.begin(), rows.end(), true);
  };
  CHECK(taken(1000, 0.1) == 100);
  CHECK(taken(10, 0.001) == 1);
  CHECK(taken(10, 0.999) == 9);
  CHECK(taken(1, 0.5) == 0);
  CHECK(drawn(1000, 0.1, 7) == drawn(1000, 0.1, 7));
  CHECK(drawn(1000, 0.1, 7) != drawn(1000, 0.1, 8));
}
