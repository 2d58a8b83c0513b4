#pragma once

#include <limits>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/runtime/cuda/kernels/rows.h>
#include <troupe/tests/runtime/kernels/kernel_fixture.h>

// What the tests of the GPU's kernels share: memory of the device, rows that the CPU quantized, and
// the emulation's schedules.

namespace troupe::cuda {

// A vector on the device.
template <class T>
class DeviceVector {
 public:
  explicit DeviceVector(const std::vector<T>& from) : count_(from.size()) {
    REQUIRE(allocate(&memory_, std::max<std::size_t>(count_, 1) * sizeof(T)) == 0);
    REQUIRE(copy_in(stream_, memory_, from.data(), count_ * sizeof(T)) == 0);
  }
  // Makes one of `count` values that nobody has written.
  explicit DeviceVector(std::size_t count) : count_(count) {
    REQUIRE(allocate(&memory_, std::max<std::size_t>(count_, 1) * sizeof(T)) == 0);
  }
  ~DeviceVector() { release(memory_); }
  DeviceVector(const DeviceVector&) = delete;
  DeviceVector& operator=(const DeviceVector&) = delete;
  T* data() { return reinterpret_cast<T*>(memory_); }
  std::vector<T> read() const {
    std::vector<T> to(count_);
    REQUIRE(copy_out(stream_, to.data(), memory_, count_ * sizeof(T)) == 0);
    REQUIRE(wait_for(stream_) == 0);
    return to;
  }

 private:
  std::byte* memory_ = nullptr;
  std::size_t count_;
  Stream stream_{};
};

// Quantized rows on the device: those of a buffer of the CPU, or room for them.
struct DeviceRows {
  DeviceRows(std::size_t rows, std::size_t columns)
      : q(rows * columns),
        d(rows * columns / 32),
        s(rows * columns / 32),
        sum(rows * columns / 32),
        super_q(columns % 256 == 0 ? rows * columns : 0),
        super_d(columns % 256 == 0 ? rows * columns / 256 : 0),
        super_sums(columns % 256 == 0 ? rows * columns / 16 : 0),
        has_super(columns % 256 == 0) {}
  explicit DeviceRows(const kernels::QuantizedBuffer& from)
      : q(from.q),
        d(from.d),
        s(from.s),
        sum(from.sum),
        super_q(from.super_q),
        super_d(from.super_d),
        super_sums(from.super_sums),
        has_super(!from.super_q.empty()) {}
  RowBlocks blocks() {
    RowBlocks out{q.data(), d.data(), s.data(), sum.data()};
    if (!has_super) return out;
    out.super_q = super_q.data();
    out.super_d = super_d.data();
    out.super_sums = super_sums.data();
    return out;
  }
  // Requires that the contents equal what the CPU computed.
  void require_same(const kernels::QuantizedBuffer& want) {
    REQUIRE(q.read() == want.q);
    REQUIRE(sum.read() == want.sum);
    REQUIRE(super_q.read() == want.super_q);
    REQUIRE(super_sums.read() == want.super_sums);
    const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
      return a.size() == b.size() && kernels::same_bits(a.data(), b.data(), a.size());
    };
    REQUIRE(same(d.read(), want.d));
    REQUIRE(same(s.read(), want.s));
    REQUIRE(same(super_d.read(), want.super_d));
  }
  DeviceVector<std::int8_t> q;
  DeviceVector<float> d, s;
  DeviceVector<int> sum;
  DeviceVector<std::int8_t> super_q;
  DeviceVector<float> super_d;
  DeviceVector<std::int16_t> super_sums;
  bool has_super;
};

inline void require_same_bits(const std::vector<float>& got, const std::vector<float>& want) {
  REQUIRE(got.size() == want.size());
  std::size_t differ = 0;
  for (std::size_t i = 0; i < want.size(); ++i)
    if (!kernels::same_bits(&got[i], &want[i], 1)) ++differ;
  INFO(differ << " of " << want.size() << " values differ");
  REQUIRE(differ == 0);
}

// Runs `body` once for each order in which the emulation runs warps and blocks.
template <class Body>
void under_every_schedule(Body body) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads::schedule_seed() = seed;
    INFO("schedule " << seed);
    body();
  }
  threads::schedule_seed() = 0;
}

}  // namespace troupe::cuda
