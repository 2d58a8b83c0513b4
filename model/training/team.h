#pragma once

#include <cstddef>
#include <vector>

#include <troupe/model/training/parameters.h>
#include <troupe/model/transformer/weights.h>
#include <troupe/runtime/device/device.h>
#include <troupe/runtime/kernels/training.h>

// The operations of a training step that all threads of the pool do together (SPMD). Each is called
// by every thread and ends with a barrier, so that the next one may read what it wrote. Threads
// split outputs, never sums.

namespace troupe::model {

// Logits lie in blocks of this many columns, each (rows, columns) dense, so that one block of them
// and of the matrix is in the cache at a time.
constexpr std::size_t kVocabularyBlock = 2048;

struct RowsOfFloats {
  const float* values = nullptr;
  std::size_t rows = 0, columns = 0;
};

class Team {
 public:
  explicit Team(Device& device);

  // Makes room for micro-batches of `rows` rows, whose longest example has `longest` rows, with
  // adapters up to `rank`, and for `quantized_floats` values of a matrix that is not f32
  // (Parameters::quantized_floats_max). Must not be called inside a step.
  void reserve(const ModelConfig& config, std::size_t rows, std::size_t longest, std::size_t rank,
               std::size_t quantized_floats);

  // out = W x + bias, or out += W x + bias, as StepContext::multiply forms it. `bias` may be null
  // or empty. A W that is not f32 is dequantized for the call, here and in the calls below.
  void multiply(int thread, const Weight& weight, const Weight* bias, RowsOfFloats x, float* out,
                bool accumulate = false);
  // out (rows, row_end - row_begin) = rows [row_begin, row_end) of W times x. `row_begin` is a
  // multiple of kVocabularyBlock.
  void multiply_block(int thread, const kernels::PackedMatrix& w, std::size_t row_begin,
                      std::size_t row_end, RowsOfFloats x, float* out);
  // dx = W^T dy, or dx += W^T dy. dy: (rows, outputs); dx: (rows, columns of W).
  void multiply_transposed(int thread, const kernels::PackedMatrix& w, RowsOfFloats dy, float* dx,
                           bool accumulate);
  // Does the same with rows [row_begin, row_end) of W alone; dy: (rows, row_end - row_begin).
  void multiply_transposed(int thread, const kernels::PackedMatrix& w, std::size_t row_begin,
                           std::size_t row_end, RowsOfFloats dy, float* dx, bool accumulate);
  // out (rows, columns of W) = scale * W^T x, for a W of few columns: threads split rows, not
  // columns. x: (rows, rows of W).
  void multiply_narrow(int thread, const kernels::PackedMatrix& w, float scale, RowsOfFloats x,
                       float* out);
  // Packs x for the weight gradients that follow, until the next call.
  void pack_inputs(int thread, RowsOfFloats x);
  // Adds this micro-batch's part to the gradients of the rows of a matrix from `first_row` on, as
  // many as dy has columns. It is computed from the packed inputs and the gradient of the outputs.
  void block_gradient(int thread, Parameter& matrix, std::size_t first_row, RowsOfFloats dy,
                      const SumPart& part);
  // Does the same for the values of a bias from `first` on, a multiple of 16.
  void bias_gradient(int thread, Parameter& bias, std::size_t first, RowsOfFloats dy,
                     const SumPart& part);

  void barrier(int thread) const { pool.barrier(thread); }
  IndexRange share(std::size_t count, int thread) const { return split(count, thread, threads); }
  float* scratch(int thread) { return scratch_floats(scratch_[static_cast<std::size_t>(thread)]); }

  ThreadPool& pool;
  const kernels::Kernels& kernels;
  const kernels::TrainingKernels& training;
  const int threads;

 private:
  static float* scratch_floats(AlignedBuffer& buffer) {
    return reinterpret_cast<float*>(buffer.data());
  }
  // Returns rows [row_begin, row_end) of W as f32: W itself, or a copy of these rows that is valid
  // until the next call. `offset` says where they begin in what is returned.
  const kernels::PackedMatrix& as_floats(int thread, const kernels::PackedMatrix& w,
                                         std::size_t row_begin, std::size_t row_end,
                                         std::size_t* offset);

  kernels::PackedMatrix floats_;                   // what as_floats copies to
  std::vector<AlignedBuffer> scratch_;             // of each thread
  std::vector<kernels::PackedMatrix> transposed_;  // of each thread: kTransposedGroups groups
  AlignedBuffer panels_;
  std::size_t panels_columns_ = 0;
};

// Returns the floats that Team::reserve makes for `threads` threads.
std::size_t team_scratch_floats(const ModelConfig& config, int threads, std::size_t rows,
                                std::size_t longest, std::size_t rank);

}  // namespace troupe::model
