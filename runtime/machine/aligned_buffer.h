#pragma once

#include <cstddef>
#include <functional>
#include <memory>

// Memory for weights, KV pages and activations, on huge pages if the system grants them
// (memory_arena.h), or memory of an accelerator. Any thread may make, share and free a buffer.

namespace troupe {

// 64-byte aligned, uninitialised memory.
class AlignedBuffer {
 public:
  using Release = std::function<void(std::byte* memory)>;

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t bytes);  // TROUPE_CHECKs that there is memory
  // Takes over memory that only an accelerator can read. `release` frees it, on any thread.
  AlignedBuffer(std::byte* memory, std::size_t bytes, Release release);
  AlignedBuffer(AlignedBuffer&&) = default;
  AlignedBuffer& operator=(AlignedBuffer&&) = default;
  // Returns another handle to the same memory, which is freed with the last handle. Only for
  // contents that no longer change.
  AlignedBuffer share() const { return AlignedBuffer(*this); }
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  std::size_t bytes() const { return data_ ? std::get_deleter<Free>(data_)->bytes : 0; }
  // Says whether this process can read data(). If not, data() is an address on an accelerator.
  bool on_host() const { return !data_ || std::get_deleter<Free>(data_)->release == nullptr; }

 private:
  AlignedBuffer(const AlignedBuffer&) = default;
  struct Free {
    std::size_t bytes;
    Release release;  // of an accelerator's memory; null: the arena's
    void operator()(std::byte* p) const;
  };
  std::shared_ptr<std::byte> data_;
};

}  // namespace troupe
