#include <catch2/catch.hpp>

#include <troupe/model/training/pair_rows.h>
#include <troupe/tests/model/training/scratch_folder.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

TEST_CASE("pairs are read, and rows that do not fit are named") {
  const ScratchFolder scratch;
  const auto path = scratch.write("pairs.jsonl",
                                  R"({"anchor": "a", "positive": "b", "negative": ["c", "d"]}
{"query": "e", "positive": "f", "negative": ["g", "h"], "id": 7}

{"anchor": "a", "positive": "b", "negative": "c"}
{"anchor": "a", "positive": 3}
{"positive": "b"}
{"anchor": "a", "positive": "b", "negative": [1]}
[]
no
)");
  const auto rows = read_pair_rows(path);
  REQUIRE(rows.is_ok());
  CHECK(rows->negatives == 2);
  REQUIRE(rows->rows.size() == 2);
  CHECK(rows->rows[1].texts == std::vector<std::string>{"e", "f", "g", "h"});
  REQUIRE(rows->dropped.size() == 6);
  CHECK(rows->dropped[0].line == 4);
  CHECK(rows->dropped[0].why == "the number of its negatives is 1, but that of line 1 is 2");
  CHECK(rows->dropped[1].why == "its field 'positive' is not text");
  CHECK(rows->dropped[2].why == "it has no field 'anchor'");
  CHECK_THAT(rows->dropped[3].why, Contains("neither a text nor a list"));
  CHECK_THAT(rows->dropped[4].why, Contains("not an object"));
  CHECK_THAT(rows->dropped[5].why, Contains("not JSON"));
  CHECK(rows->dropped[5].line == 9);
  const auto empty = read_pair_rows(scratch.write("empty.jsonl", "\n{}\n"));
  REQUIRE_FALSE(empty.is_ok());
  CHECK_THAT(empty.message(), Contains("no pair that can be trained on: of line 2"));
  const auto latin = read_pair_rows(scratch.write("latin.jsonl", "{\"anchor\": \"\xe9\"}\n"));
  REQUIRE_FALSE(latin.is_ok());
  CHECK_THAT(latin.message(), Contains("is not UTF-8 at byte 12"));
}
