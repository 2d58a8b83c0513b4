#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/families/family.h>

// What the families share when they read a GGUF header into a ModelConfig, and a config.json into
// the metadata of a GGUF header. Pure.

namespace troupe::model {

// Looks up the keys "ARCH.KEY" of a header.
//   Errors: kBadData names the key.
class HeaderReader {
 public:
  HeaderReader(const GgufHeader& header, std::string_view arch) : header_(header), arch_(arch) {}

  // Reads the numbers of layers, channels and heads, the dimension of a head, the feed-forward
  // width, the context, the vocabulary, and whether the output matrix is the embedding.
  Status sizes(ModelConfig* config) const;
  Status rms_norm(ModelConfig* config) const;
  Status layer_norm(ModelConfig* config) const;
  // Reads base, dimension and scaling of rotary positions. `interleaved` is the order of this
  // family's GGUF files; a folder's header has a key that overrides it.
  Status rotary(ModelConfig* config, bool interleaved) const;
  // Reads what Llama's descendants share: sizes, RMS norm, rotary positions, and a gated
  // feed-forward network with SiLU.
  Status decoder(ModelConfig* config, bool interleaved) const;
  // Reads what BERT and its descendants share: sizes, layer norms after the sums, GELU by erf,
  // biases everywhere, learned positions, and the pooler and head that the tensors show.
  Status bert(ModelConfig* config) const;
  // Reads which head an encoder has.
  Status encoder_head(ModelConfig* config) const;
  // Reads the window, and which layers have it. `period` applies if the file has none: every
  // period-th layer then has no window, or, if `period` is 0, every layer has one from the first
  // such layer on.
  Status window(ModelConfig* config, std::uint64_t period = 0) const;
  // Reads which matrices have biases: as the folder says, or as the tensors of the first layer
  // show.
  Status biases(ModelConfig* config) const;
  // Reads the sizes of a mixture of experts, if the model is one. `weights_norm` says whether the
  // weights of a row's experts add up to 1, if the file does not say it.
  Status mixture(ModelConfig* config, bool weights_norm) const;
  // Refuses what a family here cannot run: experts, and the tensors named in `biases`.
  Status refuse(std::initializer_list<const char*> biases) const;
  Status refuse_tensors(std::initializer_list<const char*> biases) const;

  const GgufHeader& header() const { return header_; }
  // Returns a bool of the header by its whole key, or `fallback` if the header has no such key.
  Result<bool> flag(std::string_view whole_key, bool fallback) const;
  std::string key(std::string_view rest) const { return arch_ + "." + std::string(rest); }
  bool has(std::string_view rest) const { return header_.metadata.contains(key(rest)); }
  Result<std::uint64_t> u64(std::string_view rest) const { return header_.u64(key(rest)); }
  Result<std::uint64_t> u64(std::string_view rest, std::uint64_t fallback) const {
    return has(rest) ? u64(rest) : Result<std::uint64_t>(fallback);
  }
  Result<float> f32(std::string_view rest, float fallback) const;
  // Returns what is added to the norm weights of a file.
  Result<float> norm_offset() const;
  Result<double> f64(std::string_view rest, double fallback) const {
    return has(rest) ? header_.f64(key(rest)) : Result<double>(fallback);
  }

 private:
  Status scaling(ModelConfig* config) const;
  Status llama3(ModelConfig* config) const;
  Status yarn(ModelConfig* config) const;
  Status short_context(ModelConfig* config) const;
  Status dense_layers(ModelConfig* config) const;
  Status window_pattern(const std::string& name, const std::vector<std::int64_t>& slides,
                        ModelConfig* config) const;
  const GgufHeader& header_;
  const std::string arch_;
};

// Says "the model uses WHAT, which this version cannot run yet".
Status unsupported(const std::string& what);

// The names of the size fields in config.json, for families that name them differently.
struct HfSizeFields {
  const char* layers = "num_hidden_layers";
  const char* channels = "hidden_size";
  const char* ffn_channels = "intermediate_size";
  const char* heads = "num_attention_heads";
  const char* context = "max_position_embeddings";
};
// Reads the sizes of config.json, checks the bounds of each, and writes them to ARCH.block_count
// and so on. `head_dim` is the number of channels of a head; 0 means channels / heads.
Status hf_plain_sizes(const HfConfig& config, const std::string& arch, const HfSizeFields& fields,
                      std::uint64_t head_dim, GgufMetadata* out);
// The names of the fields of config.json that describe a mixture of experts.
struct HfMixture {
  const char* experts = "num_experts";
  const char* channels = "moe_intermediate_size";
};
// Makes the metadata of a mixture of experts from these fields.
Status hf_mixture(const HfConfig& config, const std::string& arch, const HfMixture& fields,
                  GgufMetadata* out);
// Makes the metadata of biases from "attention_bias" and "mlp_bias".
Status hf_biases(const HfConfig& config, GgufMetadata* out);
// Refuses a config.json in which one of these fields is true.
Status hf_refuse(const HfConfig& config, std::initializer_list<const char*> fields);
// Reads the epsilon of a norm from `field`.
Result<double> hf_epsilon(const HfConfig& config, const char* field, double fallback);
// Makes the metadata that HeaderReader::sizes and ::rms_norm read from the fields of Llama and its
// descendants. `head_dim` is the value if config.json has none; 0 means channels / heads.
Status hf_sizes(const HfConfig& config, const std::string& arch, bool tied_by_default,
                GgufMetadata* out, std::uint64_t head_dim = 0);
// How a family rotates q and k where config.json does not say it.
struct HfRotary {
  double theta = 10000.0;
  double rotated_part = 1.0;               // the part of each head that is rotated
  bool partial = false;                    // config.json may state another part than 1
  bool interleaved = false;                // rotated pairs are neighbours
  bool long_factors = false;               // "longrope" is known
  const char* place = "rope_parameters.";  // the object that holds the fields
};
// Makes the metadata of rotary positions: plain, linear, or scaled as in Llama 3, YaRN or Phi-3.
Status hf_rotary(const HfConfig& config, const std::string& arch, GgufMetadata* out,
                 const HfRotary& options = {});
// Makes the metadata of a window of `sliding_window` positions. It applies to the layers that
// "layer_types" names; without that field, to the layers from `begin` on, except every `period`-th.
Status hf_window(const HfConfig& config, const std::string& arch, std::uint64_t begin,
                 GgufMetadata* out, std::uint64_t period = 0);
// Makes the metadata of a window for Qwen's models: if "use_sliding_window" is true, the layers
// from "max_window_layers" on have it.
Status hf_qwen_window(const HfConfig& config, const std::string& arch, GgufMetadata* out);

// Makes the metadata that HeaderReader::bert reads, for families whose config.json has BERT's
// fields. `padding` is true if the rows of the position embedding up to that of "pad_token_id" are
// not used, as in RoBERTa.
Status hf_bert(const HfConfig& config, const std::string& arch, bool padding, GgufMetadata* out);
// Records whether a folder's classification head reads every row, as "architectures" says.
Status hf_encoder_head(const HfConfig& config, GgufMetadata* out);

// Returns the tensor names of BERT after `own`. The first name that fits a tensor counts, also when
// tensors are written.
std::vector<HfName> bert_names_with(std::initializer_list<HfName> own);

// The tensor names that Llama and its descendants share.
extern const std::span<const HfName> kLlamaNames;
// Returns `own` and, after them, Llama's names, for families that differ in a few. The first name
// that fits a tensor counts.
std::vector<HfName> llama_names_with(std::initializer_list<HfName> own);

}  // namespace troupe::model
