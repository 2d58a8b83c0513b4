#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <troupe/model/config/layer_range.h>
#include <troupe/model/config/model_config.h>

// The names of a model's tensors in GGUF, and their shapes, from its configuration. Pure.

namespace troupe::model {

// The weights of a layer. A slot stays empty if the family has no such weight. A bias has the slot
// after its weight's.
enum Slot : std::size_t {
  kAttnNorm,  // before attention, or after it (post_norm)
  kAttnNormBias,
  kQ,
  kQBias,
  kK,
  kKBias,
  kV,
  kVBias,
  kQNorm,
  kKNorm,
  kAttnOut,
  kAttnOutBias,
  kAttnPostNorm,  // of the attention's output
  kAttnPostNormBias,
  kFfnNorm,
  kFfnNormBias,
  kGate,
  kGateBias,
  kUp,
  kUpBias,
  kDown,
  kDownBias,
  kFfnPostNorm,  // of the feed-forward network's output
  kFfnPostNormBias,
  kSinks,   // a score of each head
  kRouter,  // of a mixture of experts: a row for each expert
  kRouterBias,
  kSharedGate,  // the row that weights the shared expert
  kSlots
};

// The weights of one expert.
enum ExpertSlot : std::size_t {
  kExpertGate,
  kExpertGateBias,
  kExpertUp,
  kExpertUpBias,
  kExpertDown,
  kExpertDownBias,
  kExpertSlots
};

// The weights outside the layers.
enum End : std::size_t {
  kTokenEmbedding,
  kPositionEmbedding,
  kTypeEmbedding,
  kEmbeddingNorm,
  kEmbeddingNormBias,
  kOutputNorm,
  kOutputNormBias,
  kOutput,
  kPooler,
  kPoolerBias,
  kPoolerNorm,
  kPoolerNormBias,
  kClassifier,
  kClassifierBias,
  kMaskDense,  // of EncoderHead::kMask: a dense layer, its norm, and a bias of each token
  kMaskDenseBias,
  kMaskNorm,
  kMaskNormBias,
  kMaskBias,
  kRopeFactors,
  kRelativeBias,  // (buckets, heads)
  kEnds
};

constexpr std::size_t kNoLayer = static_cast<std::size_t>(-1);
constexpr std::size_t kNoExpert = static_cast<std::size_t>(-1);

// Which part of an adapted matrix a tensor is.
enum class AdapterPart : std::uint8_t { kNone, kA, kB };
// What follows the matrix's name: A is (rank, inputs), B is (outputs, rank).
inline constexpr const char* kAdapterA = ".lora_a";
inline constexpr const char* kAdapterB = ".lora_b";
inline std::string adapter_a_name(const std::string& matrix) { return matrix + kAdapterA; }
inline std::string adapter_b_name(const std::string& matrix) { return matrix + kAdapterB; }

// A tensor that a stage needs, or some rows of it. rows == 0 means a vector of `columns` values (a
// norm weight or a bias).
struct TensorSpec {
  std::string name;
  std::size_t rows = 0, columns = 0;
  std::size_t slot = 0;          // a Slot if it belongs to a layer, else an End; an ExpertSlot
  std::size_t layer = kNoLayer;  // the layer's number in the model
  // A spec of a fused tensor takes its rows (a vector: its values) from `first` on, out of `whole`.
  // whole == 0 means that the tensor is not fused.
  std::size_t first = 0, whole = 0;
  std::size_t step = 1;  // of a fused tensor: only every step-th row is taken
  float offset = 0.0f;   // is added to every value of a norm weight
  // The expert that it belongs to. With `stacked` experts the tensor has the shape (stacked, rows,
  // columns), and it is one of the fused tensors too.
  std::size_t expert = kNoExpert, stacked = 0;
  AdapterPart adapter = AdapterPart::kNone;  // of the matrix in `slot`
};

// Returns every tensor of a stage: those of its layers in order, then those of the ends it has.
std::vector<TensorSpec> stage_tensors(const ModelConfig& config, LayerRange range);

// Returns the names of the tensors that a stage of `range` needs, each once, so that a node can
// fetch only these.
std::vector<std::string> tensors_of(const ModelConfig& config, LayerRange range);

}  // namespace troupe::model
