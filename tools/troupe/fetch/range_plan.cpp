#include <algorithm>

#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/fetch/range_plan.h>

namespace troupe::tools {

RangePlan::RangePlan(std::uint64_t bytes, const std::vector<ByteRange>& missing) : bytes_(bytes) {
  TROUPE_CHECK(fits(bytes, missing), std::to_string(bytes));
  for (const ByteRange& range : missing) pieces_.push_back({range, false});
}

bool RangePlan::fits(std::uint64_t bytes, const std::vector<ByteRange>& missing) {
  std::uint64_t at = 0;
  for (const ByteRange& range : missing) {
    if (range.begin < at || range.end < range.begin || range.end > bytes) return false;
    at = range.end;
  }
  return true;
}

std::optional<RangePlan::Piece> RangePlan::take(std::uint64_t half_bytes_min) {
  std::optional<Piece> largest;
  std::uint64_t largest_bytes = 0;
  for (Piece i = 0; i < pieces_.size(); ++i) {
    const std::uint64_t bytes = pieces_[i].range.end - pieces_[i].range.begin;
    if (bytes > 0 && !pieces_[i].taken) {
      pieces_[i].taken = true;
      return i;
    }
    if (bytes > largest_bytes) {
      largest = i;
      largest_bytes = bytes;
    }
  }
  if (!largest || largest_bytes / 2 < std::max<std::uint64_t>(half_bytes_min, 1)) {
    return std::nullopt;
  }
  ByteRange& first = pieces_[*largest].range;
  const ByteRange second{first.begin + largest_bytes / 2, first.end};
  first.end = second.begin;
  pieces_.push_back({second, true});
  return pieces_.size() - 1;
}

void RangePlan::advance(Piece piece, std::uint64_t bytes) {
  ByteRange& range = pieces_[piece].range;
  TROUPE_CHECK(bytes <= range.end - range.begin, std::to_string(bytes));
  range.begin += bytes;
}

std::uint64_t RangePlan::received() const {
  std::uint64_t missing = 0;
  for (const Part& part : pieces_) missing += part.range.end - part.range.begin;
  return bytes_ - missing;
}

std::vector<ByteRange> RangePlan::missing() const {
  std::vector<ByteRange> ranges;
  for (const Part& part : pieces_) {
    if (part.range.begin < part.range.end) ranges.push_back(part.range);
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const ByteRange& a, const ByteRange& b) { return a.begin < b.begin; });
  std::vector<ByteRange> merged;
  for (const ByteRange& range : ranges) {
    if (!merged.empty() && merged.back().end == range.begin) {
      merged.back().end = range.end;
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

}  // namespace troupe::tools
