#pragma once

#include <string>
#include <string_view>

#include <troupe/model/families/family.h>

// What the families' files share when they read a GGUF header into a ModelConfig, and a config.json
// into the metadata of a GGUF header. Pure.

namespace troupe::model {

// Looks up ARCH.KEY. Errors are kBadData and name the key.
class HeaderReader {
 public:
  HeaderReader(const GgufHeader& header, std::string_view arch) : header_(header), arch_(arch) {}

  // Layers, channels, heads and their dimension, feed-forward, context, vocabulary, and whether the
  // output matrix is the embedding.
  Status sizes(ModelConfig* config) const;
  Status rms_norm(ModelConfig* config) const;
  Status layer_norm(ModelConfig* config) const;
  // Base, dimension and scaling of rotary positions. `interleaved`: the order that GGUF files of
  // this family have; the header of a folder says otherwise.
  Status rotary(ModelConfig* config, bool interleaved) const;
  Status window(ModelConfig* config) const;
  // That the model has none of what no family here can run: experts, and `biases` by name.
  Status refuse(std::initializer_list<const char*> biases) const;

  const GgufHeader& header() const { return header_; }
  std::string key(std::string_view rest) const { return arch_ + "." + std::string(rest); }
  bool has(std::string_view rest) const { return header_.metadata.contains(key(rest)); }
  Result<std::uint64_t> u64(std::string_view rest) const { return header_.u64(key(rest)); }
  Result<std::uint64_t> u64(std::string_view rest, std::uint64_t fallback) const {
    return has(rest) ? u64(rest) : Result<std::uint64_t>(fallback);
  }
  Result<double> f64(std::string_view rest, double fallback) const {
    return has(rest) ? header_.f64(key(rest)) : Result<double>(fallback);
  }

 private:
  Status scaling(ModelConfig* config) const;
  const GgufHeader& header_;
  const std::string arch_;
};

// "the model uses WHAT, which this version cannot run yet"
Status unsupported(const std::string& what);

// Sizes of config.json, each in its bounds: layers, channels, feed-forward, heads and context go to
// ARCH.block_count and so on. Where a family names them otherwise, `fields` says how.
struct HfSizeFields {
  const char* layers = "num_hidden_layers";
  const char* channels = "hidden_size";
  const char* ffn_channels = "intermediate_size";
  const char* heads = "num_attention_heads";
  const char* context = "max_position_embeddings";
};
// `head_dim`: channels of a head; 0: channels / heads.
Status hf_plain_sizes(const HfConfig& config, const std::string& arch, const HfSizeFields& fields,
                      std::uint64_t head_dim, GgufMetadata* out);
// The epsilon of a norm, which `field` holds.
Result<double> hf_epsilon(const HfConfig& config, const char* field, double fallback);
// The metadata that HeaderReader::sizes and ::rms_norm read, from the fields of Llama and its
// descendants. `head_dim`: where config.json does not say; 0: channels / heads.
Status hf_sizes(const HfConfig& config, const std::string& arch, bool tied_by_default,
                GgufMetadata* out, std::uint64_t head_dim = 0);
// Rotary positions in the order of Hugging Face's files (halves), plain, linear or llama3-scaled.
Status hf_rotary(const HfConfig& config, const std::string& arch, GgufMetadata* out);
// A window of `sliding_window` positions: in the layers that "layer_types" names, else in those
// from `begin` on.
Status hf_window(const HfConfig& config, const std::string& arch, std::uint64_t begin,
                 GgufMetadata* out);

// Names that Llama and its descendants share.
extern const std::span<const HfName> kLlamaNames;

}  // namespace troupe::model
