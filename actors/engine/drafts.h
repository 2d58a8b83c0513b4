#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>

// Speculation: what an answer may say next, and how much of that is worth trying. Drafted ids are
// rows of a step behind the row of the newest token. The last stage samples after each of them with
// the same function as without drafts, and goes on while it draws the id that was drafted. So
// drafts decide how many tokens a step brings, and never which. Pure; called by EngineState.
//
// Drafts are looked up in the request's own log: code, quotations and answers that are made from
// the prompt repeat what is there. (A draft model would be another function that returns a Draft.)

namespace troupe::actors {

enum class Speculation : std::uint8_t {
  kOff,
  kWhenItPays,
  kAlways,  // every draft is tried in full, whatever it costs: for tests
};

// The ids of one draft. A step of eight rows takes two to four times as long as one of a single row
// (docs/performance.md); beyond that, rows cost as much as they can gain.
constexpr std::size_t kDraftIdsMax = 7;
// With more answers under way than this, a step has so many rows already that the processor, not
// reading the weights, takes the time: another row costs as much as it can gain.
constexpr std::size_t kDraftRequestsMax = 4;

struct Draft {
  std::vector<model::TokenId> ids;
  std::size_t matched = 0;  // the number of ids before them that equal the log's last ones
};

// Returns the ids that followed the log's last ids where they occurred before: in the place where
// most of them agree (at least 2; 16 are as good as more), and among such places in the latest. A
// place so near to the end that fewer than `ids_max` ids follow it is taken for a loop, which goes
// on.
Draft look_up_draft(std::span<const model::TokenId> log, std::size_t ids_max);

// What drafted rows cost a deployment, learnt from its steps.
class DraftCosts {
 public:
  DraftCosts();
  // Records that a step took `us`. It had one row for each of `requests` answers and `drafted`
  // further rows, and no other step was under way.
  void note(std::size_t requests, std::size_t drafted, std::int64_t us);
  // Returns how much longer each of `drafted` rows makes a step, as a fraction of the time of a
  // step without them.
  double of_row(std::size_t drafted) const;

 private:
  std::size_t requests_ = 0;    // in the steps that plain_us_ was measured with
  double plain_us_ = 0;         // of a step without drafted rows; 0: not known
  std::array<double, 3> rows_;  // for one drafted row, for two or three, for more
};

// What became of a request's drafts.
class DraftHistory {
 public:
  DraftHistory();
  // Returns how many ids of a draft to try while `requests` answers are under way: the number that
  // promises the most tokens per second, judging by what rows cost and by how often drafts of this
  // kind came true lately. A draft is paid for in advance, with time that earlier ones saved and
  // with a small part of the time of each token: so an answer that does not repeat itself loses at
  // most that part.
  std::size_t length(const Draft& draft, std::size_t requests, const DraftCosts& costs) const;
  // Records that a token came, whether it was drafted or not.
  void note_token();
  // Records that a step had `drafted` ids of a draft, of which `accepted` came true.
  void note(std::size_t matched, std::size_t drafted, std::size_t accepted, std::size_t requests,
            const DraftCosts& costs);

 private:
  std::array<double, 4> likely_;  // the probability that an id comes true, by how many ids matched
  double saved_;                  // time, in units of a step without drafts
};

}  // namespace troupe::actors
