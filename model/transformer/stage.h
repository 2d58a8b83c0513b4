#pragma once

#include <memory>
#include <optional>
#include <span>

#include <troupe/model/config/model_config.h>
#include <troupe/model/source/tensor_source.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/runtime/device/device.h>

// A stage: layers [a, b) of a model on one device, with the embeddings when a == 0 and the final
// norm and output matrix (of an encoder: pooler and classification head) when b == L. A stage turns
// token ids or hidden states of some positions into hidden states or logits. The bits of a position
// depend on its sequence's tokens alone: not on threads, on chunking, or on what else is in the
// step. An encoder reads a sequence in one piece.
// One owner calls `forward` at a time (the device actor). Never does I/O after load.

namespace troupe::model {

class Stage;
struct StageWeights;  // weights.h

struct StageOptions {
  std::optional<kernels::KvType> kv_type;  // absent: default_kv_type
  std::uint64_t kv_bytes_max = 0;          // of all sequences of the stage together; 0: no bound
  // Hidden states are rounded to f16 after every layer, so that they lose nothing on a wire of f16,
  // and the bits do not depend on where the layers are cut. Beyond 65,504 they become infinite, and
  // the next stage refuses them.
  bool f16_activations = false;
  // Stages of the same model on the same device: what they have packed is shared, not read again.
  std::vector<std::shared_ptr<const Stage>> siblings = {};
};

// The keys and values of one sequence in one stage, in pages that are taken as positions come.
class KvSequence {
 public:
  virtual ~KvSequence() = default;
  virtual std::size_t length() const = 0;         // positions written
  virtual void truncate(std::size_t length) = 0;  // forget positions >= length
  virtual std::uint64_t bytes() const = 0;
};

// Of a decoder: logits of no row, of the last row or of all rows. An encoder gives one row of
// logits a sequence, unless kNone.
enum class LogitRows : std::uint8_t { kNone, kLast, kAll };

// A run of consecutive positions of one sequence.
struct Segment {
  KvSequence* sequence = nullptr;
  std::size_t position = 0;  // of the first row; must equal sequence->length()
  std::size_t count = 0;     // rows, >= 1
  LogitRows logits = LogitRows::kNone;
};

struct StepInput {
  std::span<const Segment> segments;   // rows are the segments' rows in order, B in all
  std::span<const TokenId> token_ids;  // first stage: (B)
  std::span<const float> hidden;       // other stages: (B,C)
  // First stage of a model with token types: (B), or empty when all are 0.
  std::span<const std::uint8_t> token_types = {};
};
struct StepOutput {
  std::vector<float> hidden;  // not the last stage, or an encoder without a head: (B,C)
  std::vector<float> logits;  // last stage: (rows asked for, config.outputs()), in row order
};

class Stage {
 public:
  // Loads and packs the layers, but for what siblings have. Errors: kBadData (missing tensor, wrong
  // shape or type, NaN scale), kInvalidArgument (range outside the model), each naming tensor and
  // value.
  static Result<std::unique_ptr<Stage>> load(const TensorSource& source, const ModelConfig& config,
                                             LayerRange range, Device& device,
                                             const StageOptions& options);
  virtual ~Stage() = default;
  virtual const ModelConfig& config() const = 0;
  virtual LayerRange range() const = 0;
  virtual bool f16_activations() const { return false; }
  virtual std::uint64_t weights_bytes() const = 0;  // packed, shared with siblings or not
  virtual const StageWeights& weights() const = 0;
  virtual std::unique_ptr<KvSequence> new_sequence() const = 0;
  // Runs the layers on every row; appends to the sequences' KV. kInvalidArgument when a token id
  // or a position does not fit; kResourceExhausted when KV memory is short (nothing was appended).
  virtual Status forward(const StepInput& input, StepOutput* output) = 0;
};

// What the weights of these stages take together: a matrix that several of them share counts once.
std::uint64_t weights_bytes(std::span<const Stage* const> stages);

// f32 when every matrix of the model's layers is F32, else f16. The same for all stages of a model.
kernels::KvType default_kv_type(const GgufHeader& header);

// Names of the tensors that a stage of `range` needs (for fetching just these).
std::vector<std::string> tensors_of(const GgufHeader& header, const ModelConfig& config,
                                    LayerRange range);
// Bytes that these tensors have in the file.
std::uint64_t tensor_bytes_of(const GgufHeader& header, const ModelConfig& config,
                              LayerRange range);

}  // namespace troupe::model
