#include <troupe/model/families/read.h>

// Qwen2: Llama with biases on q, k and v, rotated pairs half a head apart, and, in some models, a
// sliding window in the upper layers. Source: Yang et al. 2024.

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "qwen2");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse({"blk.0.attn_output.bias", "blk.0.ffn_gate.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/false));
  TROUPE_RETURN_IF_ERROR(read.window(&config));
  config.qkv_bias = true;
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "qwen2", /*tied_by_default=*/false, out));
  TROUPE_RETURN_IF_ERROR(hf_rotary(config, "qwen2", out));
  return hf_qwen_window(config, "qwen2", out);
}

}  // namespace

const Family kQwen2Family{"qwen2", read_gguf, {"qwen2", "model.", metadata, kLlamaNames}};

}  // namespace troupe::model
