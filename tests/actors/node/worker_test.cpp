#include "../engine/tiny_path.h"

// Tests what a stage's worker takes from a step, and what it refuses.

using namespace troupe;
using namespace troupe::actors;

namespace {

// Returns the rows of one request, whose sequence begins with them.
Step step_of(std::uint64_t request, std::uint32_t position, std::uint32_t count,
             std::vector<std::uint32_t> blocks) {
  Step step;
  step.segments.push_back({request, position, count, 1, false, {}, true, std::move(blocks)});
  step.token_ids.assign(count, 1);
  return step;
}

}  // namespace

TEST_CASE("worker: a sequence begins at a shared position with what sampling looks at") {
  TinyPath path;
  path.run(step_of(1, 0, 70, {0, 1}));
  Step step = step_of(2, 64, 2, {0, 2});
  StepSegment& segment = step.segments[0];
  segment.sample = true;
  segment.sampling.presence_penalty = 0.5f;
  CHECK(path.worker->admit(step).code() == Code::kBadData);  // without the ids before
  segment.history.assign(64, 1);
  REQUIRE(path.run(step).tokens.size() == 1);
  CHECK(path.worker->log(2, 66)->size() == 66);
  CHECK(path.worker->sequences() == 2);
  Step end;
  end.closed = {1, 2};
  end.freed = {0, 1, 2};
  path.run(end);
  CHECK(path.worker->sequences() == 0);
  CHECK(path.stage->kv_bytes() == 0);
}

TEST_CASE("worker: a step ends sequences and frees blocks before it takes others") {
  TinyPath path;
  path.run(step_of(1, 0, 3, {0}));
  // Request 1 was preempted, its block went to request 2, and it begins again.
  Step step = step_of(2, 0, 2, {0});
  step.segments.push_back({1, 0, 3, 1, false, {}, true, {1}});
  step.token_ids.resize(5, 1);
  step.closed = {1};
  step.freed = {0};
  path.run(step);
  CHECK(path.worker->sequences() == 2);
  Step more;
  more.segments.push_back({1, 3, 1, 1, false, {}});
  more.segments.push_back({2, 2, 63, 1, false, {}, false, {5}});
  more.token_ids.assign(64, 1);
  path.run(more);
}

TEST_CASE("worker: what does not go together is refused") {
  TinyPath path;
  const auto code_of = [&](const Step& step) { return path.worker->admit(step).code(); };
  CHECK(code_of(step_of(1, 64, 1, {0, 1})) == Code::kFailedPrecondition);  // nobody wrote block 0
  CHECK(code_of(step_of(1, 10, 1, {0})) == Code::kBadData);
  CHECK(code_of(step_of(1, 64, 1, {0})) == Code::kBadData);
  CHECK(code_of(step_of(1, 0, 1, {})) == Code::kBadData);
  CHECK(code_of(step_of(1, 0, 0, {0})) == Code::kBadData);
  Step rows = step_of(1, 0, 2, {0});
  rows.token_ids.pop_back();
  CHECK(code_of(rows) == Code::kBadData);
  Step unknown = step_of(1, 5, 1, {});
  unknown.segments[0].begins = false;
  CHECK(code_of(unknown) == Code::kFailedPrecondition);
  CHECK(path.worker->sequences() == 0);
  // Refuse scores of rows that are not there, of too many ids, or of ids that do not exist.
  Step scored = step_of(1, 0, 2, {0});
  scored.segments[0].scored_end = 3;
  CHECK(code_of(scored) == Code::kBadData);
  scored.segments[0].scored_end = 2;
  scored.segments[0].scored_top = 21;
  CHECK(code_of(scored) == Code::kBadData);
  scored.segments[0].scored_top = 1;
  for (const model::TokenId id : {-1, 97}) {
    scored.segments[0].next = id;
    CHECK(code_of(scored) == Code::kBadData);
  }
  CHECK(path.worker->sequences() == 0);
  // If rows lie beyond the blocks, the stage says so, and nothing is written.
  const auto admitted = path.worker->admit(step_of(1, 0, 65, {0}));
  REQUIRE(admitted);
  const std::vector<model::Segment> segments = {{(*admitted)[0].get(), 0, 65}};
  const std::vector<model::TokenId> ids(65, 1);
  model::StepInput input;
  input.segments = segments;
  input.token_ids = ids;
  model::StepOutput output;
  CHECK(path.stage->forward(input, &output).code() == Code::kFailedPrecondition);
}

TEST_CASE("worker: the next step says which rows of drafted ids are forgotten") {
  TinyPath path;
  const auto decode = [](std::uint32_t position, std::uint32_t drafted, std::uint32_t turn) {
    Step step;
    step.segments.push_back({1, position, 1 + drafted, 1, true});
    step.segments[0].sampling.presence_penalty = 0.5f;
    step.segments[0].drafted = drafted;
    step.segments[0].turn = turn;
    for (std::uint32_t i = 0; i <= drafted; ++i) {
      step.token_ids.push_back(static_cast<model::TokenId>(position + i));
    }
    return step;
  };
  Step begin = decode(0, 0, 0);
  begin.segments[0].begins = true;
  begin.segments[0].blocks = {0};
  path.run(begin);
  path.run(decode(1, 5, 1));
  CHECK(path.worker->log(1, 7).is_ok());
  CHECK(path.sequences[0]->length() == 7);
  // The request's own row is not a drafted one, and rows that were not sent cannot be there.
  CHECK(path.worker->admit(decode(1, 0, 2)).code() == Code::kFailedPrecondition);
  CHECK(path.worker->admit(decode(8, 0, 2)).code() == Code::kFailedPrecondition);
  // A step in between was lost: nobody knows which rows are right.
  CHECK(path.worker->admit(decode(4, 0, 3)).code() == Code::kFailedPrecondition);
  CHECK(path.worker->admit(decode(7, 0, 3)).code() == Code::kFailedPrecondition);
  CHECK(path.sequences[0]->length() == 7);
  path.run(decode(4, 2, 2));
  CHECK(path.sequences[0]->length() == 7);
  path.run(decode(7, 0, 3));
  CHECK(path.sequences[0]->length() == 8);
  CHECK(path.worker->log(1, 9).code() == Code::kFailedPrecondition);
  CHECK(*path.worker->log(1, 8) == std::vector<model::TokenId>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(path.worker->admit(decode(7, 0, 4)).code() == Code::kFailedPrecondition);
  // Values that do not fit together.
  Step all = decode(8, 2, 4);
  all.segments[0].drafted = 3;
  CHECK(path.worker->admit(all).code() == Code::kBadData);
  Step silent = decode(8, 2, 4);
  silent.segments[0].sample = false;
  CHECK(path.worker->admit(silent).code() == Code::kBadData);
  path.run(decode(8, 2, 4));
}
