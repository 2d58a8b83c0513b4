#pragma once

#include <cstddef>
#include <cstdint>

#include <troupe/runtime/cuda/card.h>
#include <troupe/runtime/cuda/kernels/rows.h>
#include <troupe/runtime/quant/format.h>

// The memory on the card in which a step works. It is sized between steps.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

// The kinds of blocks of rows that some matrices multiply.
struct RowNeeds {
  bool blocks = false, superblocks = false;
  void add(const DeviceMatrix& matrix) {
    if (matrix.rows == 0) return;
    const quant::ActivationKind kind = quant::find(matrix.type)->activations;
    blocks |= kind == quant::ActivationKind::kBlocks;
    superblocks |= kind == quant::ActivationKind::kSuperblocks;
  }
};

// Rows in f32 and their blocks.
struct Rows {
  float* values = nullptr;
  RowBlocks blocks;
};

// Lays arrays into one piece of memory, or only adds up their sizes while `base` is null.
class Layout {
 public:
  explicit Layout(std::byte* base) : base_(base) {}
  std::size_t bytes() const { return used_; }

  template <class T>
  T* take(std::size_t count) {
    std::byte* here = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (count * sizeof(T) + 255) / 256 * 256;
    return reinterpret_cast<T*>(here);
  }
  Rows take_rows(std::size_t count, std::size_t columns, RowNeeds needs) {
    Rows rows;
    rows.values = take<float>(count * columns);
    if (needs.blocks) {
      rows.blocks.q = take<std::int8_t>(count * columns);
      rows.blocks.d = take<float>(count * columns / 32);
      rows.blocks.s = take<float>(count * columns / 32);
      rows.blocks.sum = take<int>(count * columns / 32);
    }
    if (needs.superblocks) {
      rows.blocks.super_q = take<std::int8_t>(count * columns);
      rows.blocks.super_d = take<float>(count * columns / 256);
      rows.blocks.super_sums = take<std::int16_t>(count * columns / 16);
    }
    return rows;
  }

 private:
  std::byte* const base_;
  std::size_t used_ = 0;
};

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
