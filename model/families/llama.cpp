#include <troupe/model/families/read.h>

// Llama: pre-norm blocks of grouped-query attention with rotary positions, then a gated
// feed-forward network. Some models have biases in one or both of them. Source: Touvron et al.
// 2023; scaled frequencies: Grattafiori et al. 2024. In GGUF, the rows of q and k are stored so
// that the rotated pairs are neighbours; in Hugging Face's files the pairs are half a head apart.

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "llama");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse_tensors({"output.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/true));
  TROUPE_RETURN_IF_ERROR(read.window(&config));  // Mistral's files call themselves llama
  TROUPE_RETURN_IF_ERROR(read.biases(&config));
  // Mixtral's files call themselves llama, too.
  TROUPE_RETURN_IF_ERROR(read.mixture(&config, /*weights_norm=*/true));
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "llama", /*tied_by_default=*/false, out));
  TROUPE_RETURN_IF_ERROR(hf_biases(config, out));
  return hf_rotary(config, "llama", out);
}

}  // namespace

const Family kLlamaFamily{"llama", read_gguf, {"llama", "model.", metadata, kLlamaNames}};

}  // namespace troupe::model
