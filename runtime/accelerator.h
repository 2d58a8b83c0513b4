#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <troupe/runtime/kernels/kv_page.h>
#include <troupe/runtime/machine/aligned_buffer.h>
#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/status.h>

// What Troupe needs from a device that computes beside the CPU, such as a GPU: memory, and whole
// steps of a stage. No type of a GPU's library appears here. The implementations are runtime/cuda
// and, in tests, the same sources on an emulation of CUDA's threads. Their bits are the CPU's
// (kernels::Kernels): every sum has the order of the lane rule.
//
// Shapes are in elements: B rows of a step, C channels, H heads, K key/value heads, D channels of a
// head, F channels of the feed-forward network, V ids of the vocabulary.

namespace troupe {

// A packed matrix (kernels::PackedMatrix) whose data lie on the accelerator.
struct DeviceMatrix {
  const std::byte* data = nullptr;
  quant::Type type = quant::Type::kF32;
  std::size_t rows = 0, columns = 0, group_bytes = 0;
};

// The weights of one layer: attention and a feed-forward network with a SiLU gate. Vectors lie on
// the accelerator; null stands for one that the layer does not have.
struct DeviceLayer {
  DeviceMatrix q, k, v, attention_out, gate, up, down;
  const float *attention_norm = nullptr, *ffn_norm = nullptr;  // (C)
  const float *q_norm = nullptr, *k_norm = nullptr;            // (D): each head is normed
  const float *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr;
  const float* attention_out_bias = nullptr;
  const float *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
  std::size_t window = 0;  // the positions that a row sees, itself included; 0: all
  bool rotates = true;
};

// What a first stage has before its layers, and a last stage after them. A matrix without rows
// means that there is none.
struct DeviceEnds {
  DeviceMatrix embedding, output;
  const float* output_norm = nullptr;  // (C)
};

struct StageShape {
  std::size_t channels = 0, ffn_channels = 0;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0, rotary_dim = 0;
  std::size_t vocabulary = 0;
  float norm_epsilon = 0.0f, attention_scale = 1.0f;
  bool rope_interleaved = false;
  bool f16_activations = false;  // x is rounded to f16 after every layer
  kernels::KvType kv_type = kernels::KvType::kF16;
  std::size_t page_bytes = 0;  // a block holds a page of every layer, one after another
};

struct DeviceStepRow {
  std::uint32_t position = 0;
  std::uint32_t first_block = 0;  // where the blocks of its sequence begin in DeviceStep::blocks
  std::int32_t token = 0;         // of a first stage
};

// One step, in host memory. run() keeps nothing of it.
struct DeviceStep {
  std::span<const DeviceStepRow> rows;    // (B)
  std::span<std::byte* const> blocks;     // on the accelerator, sequence by sequence
  std::span<const float> cos_sin;         // (B, rotary_dim / 2, 2)
  std::span<const float> hidden;          // (B, C) if the stage has no embedding
  std::span<const std::uint32_t> logits;  // rows of which all logits are wanted
  std::span<const std::uint32_t> best;    // rows of which only the best id is wanted
};

// The best id of a row of logits. Ties go to the lower id.
struct BestLogit {
  std::int32_t id = -1;
  float value = 0.0f;   // its logit
  bool is_nan = false;  // one of the row's logits is not a number
};

// Where a step's results go, in host memory.
struct DeviceResults {
  float* hidden = nullptr;    // (B, C), or null if it is not wanted
  float* logits = nullptr;    // (step.logits, V)
  BestLogit* best = nullptr;  // (step.best)
};

// The layers of a stage on an accelerator. One owner at a time calls it.
class StageProgram {
 public:
  virtual ~StageProgram() = default;
  // Runs the layers on every row, writes their keys and values into the blocks, and waits for the
  // results.
  //   Errors: kResourceExhausted if the memory to work in is short, before anything is written;
  //   kUnavailable if the accelerator has failed, now or before.
  virtual Status run(const DeviceStep& step, const DeviceResults& results) = 0;
};

class Accelerator {
 public:
  virtual ~Accelerator() = default;
  virtual const std::string& name() const = 0;          // as --device spells it: "cuda:0"
  virtual const std::string& architecture() const = 0;  // such as "sm_90"
  // Says why no job can run any more, or ok. Only a new process clears such a failure.
  virtual Status health() const = 0;

  // Any thread may make the calls above and below. Those below fail with kUnavailable if the
  // accelerator has failed, now or before.
  virtual Result<std::uint64_t> free_bytes() = 0;
  // Takes uninitialised memory, which only the accelerator can read.
  //   Errors: kResourceExhausted if memory is short.
  virtual Result<AlignedBuffer> allocate(std::size_t bytes) = 0;
  // Copies host memory to the accelerator through a bounded ring of pinned memory. When it returns,
  // the copy is done.
  virtual Status upload(const void* from, std::size_t bytes, std::byte* to) = 0;
  // Copies an accelerator's memory to the host. When it returns, the copy is done.
  virtual Status download(const std::byte* from, std::size_t bytes, void* to) = 0;

  // Prepares a program for these layers. The weights that they point to outlive the program, and so
  // does the accelerator.
  //   Errors: kFailedPrecondition if it has no kernels for the format of a matrix.
  virtual Result<std::unique_ptr<StageProgram>> program(const StageShape& shape,
                                                        std::span<const DeviceLayer> layers,
                                                        const DeviceEnds& ends) = 0;
};

}  // namespace troupe
