#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::model {

// The name of a block of kernels::kPageKeys positions, given by the owner of the sequences.
using BlockNumber = std::uint32_t;

// The keys and values of one sequence in one stage. They lie in pages: its own, which are taken as
// positions come (Stage::new_sequence), or in numbered blocks, which the sequence is given
// (Stage::begin_sequence). A sequence belongs to the owner of its stage.
class KvSequence {
 public:
  virtual ~KvSequence() = default;
  virtual std::size_t length() const = 0;  // number of positions written
  // Forgets the positions from `length` on, which must not be in shared blocks.
  virtual void truncate(std::size_t length) = 0;
  virtual std::uint64_t bytes() const = 0;  // shared blocks included
};

}  // namespace troupe::model
