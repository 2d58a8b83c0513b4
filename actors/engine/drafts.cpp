#include <algorithm>
#include <utility>

#include <troupe/actors/engine/drafts.h>

namespace troupe::actors {
namespace {

constexpr std::size_t kMatchMin = 2, kMatchMax = 16;
// The numbers of ids that are tried: with the row before them, 2, 4 and 8 rows.
constexpr std::size_t kLengths[] = {1, 3, kDraftIdsMax};

// The costs that are assumed before a machine has shown its own. On Zen 4 with AVX2, the first row
// costs SmolLM2 0.2 of a step, and each further one 0.4 to 0.6; with AVX-512, or in a larger model,
// it is half of that or less.
constexpr std::array<double, 3> kRows = {0.25, 0.35, 0.35};
std::size_t place_of(std::size_t drafted) { return drafted < 2 ? 0 : drafted < 4 ? 1 : 2; }

// The probability that an id comes true if 2, 3, 4 to 7, or more ids matched. In answers of SmolLM2
// it was 0.31, 0.33, 0.56 and 0.95 when they were drawn at 0.8, and 0.46, 0.65, 0.73 and 0.97 when
// not.
constexpr std::array<double, 4> kLikely = {0.3, 0.45, 0.7, 0.9};
std::size_t kind_of(std::size_t matched) {
  return matched < 3 ? 0 : matched < 4 ? 1 : matched < 8 ? 2 : 3;
}

constexpr double kSavedAtFirst = 0.5, kSavedByToken = 0.015, kSavedMax = 4;

}  // namespace

Draft look_up_draft(std::span<const model::TokenId> log, std::size_t ids_max) {
  Draft draft;
  if (log.size() <= kMatchMin || ids_max == 0) return draft;
  const std::size_t last = log.size() - 1;
  std::size_t place = 0;
  for (std::size_t at = last; at-- > 0 && draft.matched < kMatchMax;) {
    if (log[at] != log[last]) continue;
    std::size_t matched = 1;
    while (matched < kMatchMax && matched <= at && log[at - matched] == log[last - matched]) {
      ++matched;
    }
    if (matched <= draft.matched) continue;
    draft.matched = matched;
    place = at;
  }
  if (draft.matched < kMatchMin) return {};
  for (std::size_t at = place + 1; draft.ids.size() < ids_max; ++at) {
    draft.ids.push_back(at <= last ? log[at] : draft.ids[at - last - 1]);
  }
  return draft;
}

DraftCosts::DraftCosts() : rows_(kRows) {}

double DraftCosts::of_row(std::size_t drafted) const { return rows_[place_of(drafted)]; }

void DraftCosts::note(std::size_t requests, std::size_t drafted, std::int64_t us) {
  if (us <= 0) return;
  const double taken = static_cast<double>(us);
  if (drafted == 0) {
    if (requests != std::exchange(requests_, requests) || plain_us_ == 0) {
      plain_us_ = taken;
      return;
    }
    // A single step that was held up must not distort the mean.
    plain_us_ += (std::clamp(taken, plain_us_ / 2, plain_us_ * 2) - plain_us_) / 8;
    // Old measurements are forgotten, so that rows that seemed expensive are tried again.
    for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i] += (kRows[i] - rows_[i]) / 512;
    return;
  }
  if (requests != requests_ || plain_us_ == 0) return;
  const double each = (taken / plain_us_ - 1) / static_cast<double>(drafted);
  double& row = rows_[place_of(drafted)];
  row += (std::clamp(each, 0.0, 1.5) - row) / 4;
}

DraftHistory::DraftHistory() : likely_(kLikely), saved_(kSavedAtFirst) {}

std::size_t DraftHistory::length(const Draft& draft, std::size_t requests,
                                 const DraftCosts& costs) const {
  const double likely = likely_[kind_of(draft.matched)];
  std::size_t best = 0;
  double most = 1;  // tokens per second, relative to a step without drafts
  for (const std::size_t wanted : kLengths) {
    const std::size_t count = std::min(wanted, draft.ids.size());
    const double cost = costs.of_row(count) * static_cast<double>(count);
    if (count <= best || cost > saved_) continue;
    // The expected number of accepted ids, and the probability that all so far are accepted.
    double expected = 0, all = 1;
    for (std::size_t i = 0; i < count; ++i) expected += all *= likely;
    const double tokens = (1 + expected / static_cast<double>(requests)) / (1 + cost);
    if (tokens <= most) continue;
    most = tokens;
    best = count;
  }
  return best;
}

void DraftHistory::note_token() {
  saved_ = std::min(kSavedMax, saved_ + kSavedByToken);
  // A kind that failed long ago is tried again at some point.
  for (std::size_t i = 0; i < likely_.size(); ++i) likely_[i] += (kLikely[i] - likely_[i]) / 256;
}

void DraftHistory::note(std::size_t matched, std::size_t drafted, std::size_t accepted,
                        std::size_t requests, const DraftCosts& costs) {
  double& likely = likely_[kind_of(matched)];
  for (std::size_t i = 0; i < accepted; ++i) likely += (1 - likely) / 8;
  if (accepted < drafted) likely -= likely / 8;
  saved_ += static_cast<double>(accepted) / static_cast<double>(requests) -
            costs.of_row(drafted) * static_cast<double>(drafted);
  saved_ = std::min(kSavedMax, saved_);
}

}  // namespace troupe::actors
