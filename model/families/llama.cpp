#include <troupe/model/families/read.h>

// Llama: pre-norm blocks of grouped-query attention with rotary positions, then a gated
// feed-forward network, no biases. Source: Touvron et al. 2023; scaled frequencies: Grattafiori et
// al. 2024. In GGUF, the rows of q and k are stored so that the rotated pairs are neighbours; in
// Hugging Face's files the pairs are half a head apart.

namespace troupe::model {
namespace {

constexpr std::initializer_list<const char*> kForeignBiases{
    "blk.0.attn_q.bias", "blk.0.attn_output.bias", "blk.0.ffn_gate.bias", "blk.0.ffn_down.bias",
    "output.bias"};

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "llama");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse(kForeignBiases));
  TROUPE_RETURN_IF_ERROR(read.sizes(&config));
  TROUPE_RETURN_IF_ERROR(read.rms_norm(&config));
  TROUPE_RETURN_IF_ERROR(read.rotary(&config, /*interleaved=*/true));
  TROUPE_RETURN_IF_ERROR(read.window(&config));  // Mistral's files call themselves llama
  config.feed_forward = FeedForward::kGatedSilu;
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  for (const char* field : {"attention_bias", "mlp_bias"}) {
    TROUPE_ASSIGN_OR_RETURN(const bool biased, config.boolean(field, false));
    if (biased)
      return config.bad("the field \"" + std::string(field) +
                        "\" is true, but this version computes llama models without biases");
  }
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "llama", /*tied_by_default=*/false, out));
  return hf_rotary(config, "llama", out);
}

}  // namespace

const Family kLlamaFamily{"llama", read_gguf, {"llama", "model.", metadata, kLlamaNames}};

}  // namespace troupe::model
