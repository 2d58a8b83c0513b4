#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

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
  Status window(ModelConfig* config) const;
  // Refuses what no family here can run: experts, and the tensors named in `biases`.
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
// Reads the epsilon of a norm from `field`.
Result<double> hf_epsilon(const HfConfig& config, const char* field, double fallback);
// Makes the metadata that HeaderReader::sizes and ::rms_norm read from the fields of Llama and its
// descendants. `head_dim` is the value if config.json has none; 0 means channels / heads.
Status hf_sizes(const HfConfig& config, const std::string& arch, bool tied_by_default,
                GgufMetadata* out, std::uint64_t head_dim = 0);
// Makes the metadata of rotary positions in the order of Hugging Face's files (halves): plain,
// linear or scaled as in Llama 3.
Status hf_rotary(const HfConfig& config, const std::string& arch, GgufMetadata* out);
// Makes the metadata of a window of `sliding_window` positions. It applies to the layers that
// "layer_types" names; without that field, to the layers from `begin` on.
Status hf_window(const HfConfig& config, const std::string& arch, std::uint64_t begin,
                 GgufMetadata* out);

// The tensor names that Llama and its descendants share.
extern const std::span<const HfName> kLlamaNames;

}  // namespace troupe::model
