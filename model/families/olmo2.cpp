#include <troupe/model/families/read.h>

// OLMo 2: Llama whose sublayers take x itself; their output is normed before it is added. q and k
// are normed as wholes. Source: OLMo Team 2024, section 2.1.

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "olmo2");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse({"blk.0.attn_q.bias", "blk.0.ffn_gate.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/false));
  // OLMo 3's files say olmo2, too: their layers with a window rotate without scaling.
  TROUPE_RETURN_IF_ERROR(read.window(&config, /*period=*/4));
  if (config.window != 0) config.window_rope_theta = config.rope_theta;
  config.input_norms = false;
  config.output_norms = config.qk_norm = true;
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(hf_refuse(config, {"attention_bias"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "olmo2", /*tied_by_default=*/false, out));
  return hf_rotary(config, "olmo2", out);
}

const std::vector<HfName> kNames = llama_names_with({
    {"layers.*.post_attention_layernorm.weight", "blk.*.post_attention_norm.weight"},
    {"layers.*.post_feedforward_layernorm.weight", "blk.*.post_ffw_norm.weight"},
});

}  // namespace

const Family kOlmo2Family{"olmo2", read_gguf, {"olmo2", "model.", metadata, kNames}};

}  // namespace troupe::model
