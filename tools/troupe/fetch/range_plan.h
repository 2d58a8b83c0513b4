#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

// Which bytes of a file are still to be fetched, and which connection fetches which of them. Pure:
// no clock, no network, no disk. One owner.

namespace troupe::tools {

// Bytes [begin, end) of a file.
struct ByteRange {
  std::uint64_t begin = 0, end = 0;
  bool operator==(const ByteRange&) const = default;
};

class RangePlan {
 public:
  // Nothing of the file is here yet.
  explicit RangePlan(std::uint64_t bytes) : RangePlan(bytes, {{0, bytes}}) {}
  // All but `missing` is here.
  RangePlan(std::uint64_t bytes, const std::vector<ByteRange>& missing);
  // True when `missing` can be what is left of a file of `bytes`: in order, apart, inside it.
  static bool fits(std::uint64_t bytes, const std::vector<ByteRange>& missing);

  using Piece = std::size_t;
  // A piece for a connection that is free: the first that nobody fetches; else the later half of
  // the largest one under way, if halves of at least `half_bytes_min` remain, whose end then moves.
  // nullopt: there is nothing to do.
  std::optional<Piece> take(std::uint64_t half_bytes_min);
  // What a taken piece still lacks; its end can move while others are taken.
  ByteRange rest(Piece piece) const { return pieces_[piece].range; }
  // The first `bytes` of its rest have come; at most as many as it lacks.
  void advance(Piece piece, std::uint64_t bytes);
  // Its connection is gone: the rest is for another.
  void give_back(Piece piece) { pieces_[piece].taken = false; }

  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t received() const;
  bool complete() const { return missing().empty(); }
  // In order; ranges that touch are one.
  std::vector<ByteRange> missing() const;

 private:
  struct Part {
    ByteRange range;
    bool taken = false;
  };
  std::uint64_t bytes_;
  std::vector<Part> pieces_;  // an index stays what it is
};

}  // namespace troupe::tools
