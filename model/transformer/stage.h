#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <troupe/model/config/layer_range.h>
#include <troupe/model/config/model_config.h>
#include <troupe/model/source/tensor_source.h>
#include <troupe/model/transformer/kv_sequence.h>
#include <troupe/model/transformer/step_input.h>
#include <troupe/runtime/device/device.h>

// A stage: layers [a, b) of a model on one device. With a == 0 it has the embeddings, and with b ==
// L the final norm and the output matrix (an encoder: pooler and classification head). A stage
// turns the token ids or hidden states of some positions into hidden states or logits. The bits of
// a position depend on its sequence's tokens alone: not on threads, on chunking, or on what else is
// in the step. An encoder reads a sequence in one piece. One owner at a time calls `forward` (the
// device actor). A stage does no I/O after load.
//
// One step through a stage has these names, from the caller inwards:
//   StepInput    what the caller gives: token ids or hidden states of B rows, and their Segments
//   Segment      a caller's run of consecutive positions of one sequence, and its wish for logits
//   SegmentRows  the same run inside the step, once checked: its pages, and its first row of the B
//   StepContext  everything that the layers need of a step: SegmentRows, memory, kernels, threads
// (actors::Step and actors::StepSegment are the messages between stages of several processes.
// actors/node/worker.cpp makes Segments of them.)

namespace troupe::model {

class Stage;
struct StageWeights;  // weights.h

struct StageOptions {
  std::optional<kernels::KvType> kv_type;  // absent: default_kv_type
  std::uint64_t kv_bytes_max = 0;          // bound of all sequences together; 0: no bound
  // Hidden states are rounded to f16 after every layer. So they lose nothing when they are sent as
  // f16, and the bits do not depend on where the layers are cut. Values beyond 65,504 become
  // infinite, and the next stage refuses them.
  bool f16_activations = false;
  // Stages of the same model on the same device. Weights that they have packed are shared, not read
  // again.
  std::vector<std::shared_ptr<const Stage>> siblings = {};
};

class Stage {
 public:
  // Loads and packs the layers, except those that siblings have. If the device has an accelerator,
  // it computes the layers, with the same bits.
  //   Errors: kBadData (missing tensor, wrong shape or type, NaN scale), kInvalidArgument (range
  //   outside the model), each naming tensor and value; kFailedPrecondition if the device's
  //   accelerator lacks something that the model needs; kResourceExhausted if the model does not
  //   fit into its memory.
  static Result<std::unique_ptr<Stage>> load(const TensorSource& source, const ModelConfig& config,
                                             LayerRange range, Device& device,
                                             const StageOptions& options);
  virtual ~Stage() = default;
  virtual const ModelConfig& config() const = 0;
  virtual LayerRange range() const = 0;
  virtual bool f16_activations() const { return false; }
  // Says whether kBest is cheaper than fetching the logits, because these lie on an accelerator.
  virtual bool prefers_best() const { return false; }
  virtual std::uint64_t weights_bytes() const = 0;  // of the packed weights, including shared ones
  virtual const StageWeights& weights() const = 0;
  virtual std::unique_ptr<KvSequence> new_sequence() const = 0;
  // Makes a sequence in numbered blocks, whose numbers the caller hands out and shares among
  // sequences. The first `length` positions of the new one, in whole pages, lie in the first of
  // `blocks`, which earlier sequences wrote and nobody writes any more. The other numbers are taken
  // anew: from now on they mean other blocks, which are empty.
  //   Errors: kInvalidArgument (`length` is not a multiple of kPageKeys, or no block is left
  //   to write to), kFailedPrecondition (the stage does not hold a block that should hold
  //   positions), kResourceExhausted (memory is short).
  virtual Result<std::unique_ptr<KvSequence>> begin_sequence(
      std::size_t length, std::span<const BlockNumber> blocks) = 0;
  // Appends blocks that are taken anew to a sequence of begin_sequence().
  //   Errors: kInvalidArgument (another sequence), kResourceExhausted.
  virtual Status add_blocks(KvSequence& sequence, std::span<const BlockNumber> blocks) = 0;
  // Gives the memory of these numbers back. Numbers without memory are ignored.
  virtual void free_blocks(std::span<const BlockNumber> blocks) = 0;
  virtual std::uint64_t kv_bytes() const = 0;  // of all sequences and numbered blocks
  // Runs the layers on every row, and appends the rows' keys and values to their sequences.
  //   Errors: kInvalidArgument if a token id or a position does not fit; kFailedPrecondition if a
  //   sequence has too few numbered blocks; kResourceExhausted if memory is short; kUnavailable if
  //   the device has failed. After an error, nothing has been appended.
  virtual Status forward(const StepInput& input, StepOutput* output) = 0;
};

// Returns the memory of the weights of these stages. A matrix that several of them share counts
// once.
std::uint64_t weights_bytes(std::span<const Stage* const> stages);

}  // namespace troupe::model
