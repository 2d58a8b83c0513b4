#include <catch2/catch.hpp>

#include <troupe/actors/engine/drafts.h>

// Tests what is drafted, and how much of it is tried.

using namespace troupe;
using namespace troupe::actors;

namespace {

using Ids = std::vector<model::TokenId>;

Draft draft_of(std::size_t matched, std::size_t count = kDraftIdsMax) {
  return {Ids(count, 1), matched};
}

// Notes steps of 1,000 us, which each drafted row makes this much longer.
void note_row_cost(DraftCosts* costs, std::int64_t us) {
  for (int i = 0; i < 20; ++i) {
    costs->note(1, 0, 1000);
    for (const int drafted : {1, 3, 7}) {
      costs->note(1, static_cast<std::size_t>(drafted), 1000 + us * drafted);
    }
  }
}

}  // namespace

TEST_CASE("drafts: what followed the last ids before follows them again") {
  const Ids log = {1, 2, 3, 4, 5, 6, 7, 8, 2, 3};
  const Draft draft = look_up_draft(log, 3);
  CHECK(draft.ids == Ids{4, 5, 6});
  CHECK(draft.matched == 2);
  CHECK(look_up_draft(log, 7).ids == Ids{4, 5, 6, 7, 8, 2, 3});
  CHECK(look_up_draft(log, 0).ids.empty());
}

TEST_CASE("drafts: the longest match counts, and the latest of equal ones") {
  const Ids longest = {9, 2, 3, 4, 8, 2, 3, 5, 9, 2, 3};
  CHECK(look_up_draft(longest, 1).ids == Ids{4});
  CHECK(look_up_draft(longest, 1).matched == 3);
  const Ids latest = {7, 2, 3, 4, 8, 2, 3, 5, 9, 2, 3};
  CHECK(look_up_draft(latest, 1).ids == Ids{5});
  CHECK(look_up_draft(latest, 1).matched == 2);
}

TEST_CASE("drafts: a loop goes on") {
  const Ids log = {5, 1, 2, 1, 2, 1, 2};
  CHECK(look_up_draft(log, 5).ids == Ids{1, 2, 1, 2, 1});
  CHECK(look_up_draft(Ids(40, 3), 4).ids == Ids{3, 3, 3, 3});
  CHECK(look_up_draft(Ids(40, 3), 4).matched == 16);
}

TEST_CASE("drafts: there is none where nothing was said twice") {
  for (const Ids& log : {Ids{}, Ids{1}, Ids{1, 1}, Ids{1, 2, 3, 4}, Ids{1, 2, 3, 2}}) {
    CHECK(look_up_draft(log, 4).ids.empty());
    CHECK(look_up_draft(log, 4).matched == 0);
  }
}

TEST_CASE("drafts: the length follows what rows cost and what came true") {
  DraftCosts costs;
  CHECK(costs.of_row(1) == Approx(0.25));
  CHECK(costs.of_row(7) == Approx(0.35));
  DraftHistory history;
  // The first draft is short: no time has been saved yet.
  CHECK(history.length(draft_of(16), 1, costs) == 1);
  CHECK(history.length(draft_of(2), 1, costs) == 1);
  history.note(2, 1, 0, 1, costs);
  history.note(2, 1, 0, 1, costs);
  CHECK(history.length(draft_of(2), 1, costs) == 0);
  history.note(16, 1, 1, 1, costs);
  history.note(16, 3, 1, 1, costs);
  for (int i = 0; i < 8; ++i) history.note(16, 3, 3, 1, costs);
  CHECK(history.length(draft_of(16), 1, costs) == 7);
  CHECK(history.length(draft_of(16, 4), 1, costs) == 4);
  CHECK(history.length(draft_of(16, 0), 1, costs) == 0);
  // Beside other answers, a token saves less of a step.
  CHECK(history.length(draft_of(16), 4, costs) == 0);
  CHECK(history.length(draft_of(16), 2, costs) > 0);
  note_row_cost(&costs, 60);  // a large model, whose weights are read once for all rows
  CHECK(costs.of_row(7) == Approx(0.06).margin(0.02));
  CHECK(history.length(draft_of(16), 4, costs) > 0);
  note_row_cost(&costs, 1200);
  CHECK(costs.of_row(1) > 1);
  CHECK(history.length(draft_of(16), 1, costs) == 0);
  // Measurements are forgotten over time.
  for (int i = 0; i < 2000; ++i) costs.note(1, 0, 1000);
  CHECK(costs.of_row(1) == Approx(0.25).margin(0.05));
}

TEST_CASE("drafts: a kind that does not come true is given up, and tried again later") {
  DraftCosts costs;
  DraftHistory history;
  for (int i = 0; i < 8; ++i) history.note(16, 7, 7, 1, costs);
  REQUIRE(history.length(draft_of(16), 1, costs) == 7);
  std::size_t tried = 0;
  while (history.length(draft_of(16), 1, costs) > 0 && ++tried < 100)
    history.note(16, 1, 0, 1, costs);
  CHECK(tried < 12);
  CHECK(history.length(draft_of(16), 1, costs) == 0);
  for (int i = 0; i < 1000; ++i) history.note_token();
  CHECK(history.length(draft_of(16), 1, costs) > 0);
}

TEST_CASE("drafts: an answer whose drafts never come true loses three percent at most") {
  for (const std::int64_t row_us : {50, 150, 400, 1000}) {
    DraftCosts costs;
    note_row_cost(&costs, row_us);
    DraftHistory history;
    double lost = 0;  // in steps
    for (int token = 1; token <= 1000; ++token) {
      const std::size_t length = history.length(draft_of(2 + token % 9), 1, costs);
      costs.note(1, length, 1000 + row_us * static_cast<std::int64_t>(length));
      history.note_token();
      if (length > 0) history.note(2 + token % 9, length, 0, 1, costs);
      lost += static_cast<double>(row_us) / 1000 * static_cast<double>(length);
      INFO("a row of " << row_us << " us, token " << token);
      CHECK(lost <= 0.55 + 0.0165 * token);
    }
  }
}

TEST_CASE("drafts: a step that was held up changes little") {
  DraftCosts costs;
  note_row_cost(&costs, 200);
  const double before = costs.of_row(1);
  costs.note(1, 0, 400'000);
  costs.note(1, 1, 1200);
  CHECK(costs.of_row(1) < before);
  CHECK(costs.of_row(1) > before / 2);
  costs.note(1, 1, 400'000);
  CHECK(costs.of_row(1) < 0.6);
  const double known = costs.of_row(1);
  costs.note(1, 0, 0);     // clocks may stand still
  costs.note(2, 1, 5000);  // nothing is known about steps of two requests
  CHECK(costs.of_row(1) == known);
}
