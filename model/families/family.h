#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/config/model_config.h>
#include <troupe/model/files/hf_config.h>

// What differs between model families: how their configuration is read from a GGUF header and from
// a Hugging Face config.json, and what their tensors are called in both. One file a family and one
// row in table.cpp. How a layer computes is one block with options (block.cpp), which a family sets
// in its ModelConfig.

namespace troupe::model {

// The weights of a layer; those that a family does not have stay empty. The bias of a slot is the
// slot behind it.
enum Slot : std::size_t {
  kAttnNorm,  // before attention, or behind it (post_norm)
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
  kFfnNorm,
  kFfnNormBias,
  kGate,
  kGateBias,
  kUp,
  kUpBias,
  kDown,
  kDownBias,
  kSlots
};

// The weights outside of layers.
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
  kClassifier,
  kClassifierBias,
  kRopeFactors,
  kEnds
};

constexpr std::size_t kNoLayer = static_cast<std::size_t>(-1);

// The sizes that a model may have.
constexpr std::size_t kLayersMax = 4096;
constexpr std::size_t kChannelsMax = std::size_t{1} << 20;
constexpr std::size_t kHeadDimMax = 4096;
constexpr std::size_t kVocabularyMax = std::size_t{1} << 24;
constexpr std::size_t kContextMax = std::size_t{1} << 20;  // RoPE angles stay below 2^20

// A tensor that a stage needs, or some of its rows. rows == 0: a vector of `columns` values (norm
// weights, biases), some of them if fused.
struct TensorSpec {
  std::string name;
  std::size_t rows = 0, columns = 0;
  std::size_t slot = 0;          // Slot of a layer, or End
  std::size_t layer = kNoLayer;  // of the model
  // Of a fused tensor of `whole` rows (vector: values) these from `first` on; whole 0: not fused.
  std::size_t first = 0, whole = 0;
};

// A tensor's name in a Hugging Face file and in GGUF; '*' is the number of the layer.
struct HfName {
  std::string_view hf, gguf;
  bool transposed = false;  // the file has it as (inputs, outputs)
};

// How a family's folders look.
struct HfFolder {
  std::string_view model_type;  // of config.json
  std::string_view prefix;      // that files saved with a head put before the names of the rest
  // The header's metadata, as read_gguf wants it, from config.json.
  Status (*metadata)(const HfConfig& config, GgufMetadata* out);
  std::span<const HfName> names;
};

struct Family {
  std::string_view name;  // as general.architecture spells it
  // The fields of a GGUF header; transformer-wide checks follow in config_from_gguf.
  Result<ModelConfig> (*read_gguf)(const GgufHeader& header);
  HfFolder hf;
};

// nullptr when no family has this name.
const Family* find_family(std::string_view name);
std::span<const Family> families();
// By config.json's "model_type".
const Family* find_hf_family(std::string_view model_type);

extern const Family kLlamaFamily;
extern const Family kMistralFamily;
extern const Family kQwen2Family;
extern const Family kQwen3Family;
extern const Family kGpt2Family;
extern const Family kBertFamily;

}  // namespace troupe::model
