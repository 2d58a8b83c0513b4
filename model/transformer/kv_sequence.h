#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::model {

// The keys and values of one sequence in one stage. They lie in pages, which are taken as positions
// come. A sequence belongs to the owner of its stage (Stage::new_sequence makes it).
class KvSequence {
 public:
  virtual ~KvSequence() = default;
  virtual std::size_t length() const = 0;         // number of positions written
  virtual void truncate(std::size_t length) = 0;  // forgets the positions from `length` on
  virtual std::uint64_t bytes() const = 0;
};

}  // namespace troupe::model
