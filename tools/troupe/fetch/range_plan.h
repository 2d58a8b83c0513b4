#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

// Decides which bytes of a file are still to be fetched, and which connection fetches them. Pure:
// it uses no clock, network or disk. One owner.

namespace troupe::tools {

// Bytes [begin, end) of a file.
struct ByteRange {
  std::uint64_t begin = 0, end = 0;
  bool operator==(const ByteRange&) const = default;
};

class RangePlan {
 public:
  // Makes a plan of which no byte is here yet.
  explicit RangePlan(std::uint64_t bytes) : RangePlan(bytes, {{0, bytes}}) {}
  // Makes a plan of which everything but `missing` is here.
  RangePlan(std::uint64_t bytes, const std::vector<ByteRange>& missing);
  // True if `missing` can be what is left of a file of `bytes`: in order, without overlap, inside
  // the file.
  static bool fits(std::uint64_t bytes, const std::vector<ByteRange>& missing);

  using Piece = std::size_t;
  // Takes a piece for a free connection: the first one that no connection fetches, else the later
  // half of the largest piece under way, which then ends earlier. A piece is not halved if a half
  // would have less than `half_bytes_min`. Returns nullopt if there is nothing to do.
  std::optional<Piece> take(std::uint64_t half_bytes_min);
  // Returns the bytes that a piece under way still lacks. The end of the range may move when
  // another piece is taken.
  ByteRange rest(Piece piece) const { return pieces_[piece].range; }
  // Records that the first `bytes` of the rest of a piece have come; at most as many as it lacks.
  void advance(Piece piece, std::uint64_t bytes);
  // Records that the piece's connection is gone, so that another one fetches the rest.
  void give_back(Piece piece) { pieces_[piece].taken = false; }

  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t received() const;
  bool complete() const { return missing().empty(); }
  // Returns the bytes that are not here, in order; ranges that touch are merged.
  std::vector<ByteRange> missing() const;

 private:
  struct Part {
    ByteRange range;
    bool taken = false;
  };
  std::uint64_t bytes_;
  std::vector<Part> pieces_;  // an index never changes
};

}  // namespace troupe::tools
