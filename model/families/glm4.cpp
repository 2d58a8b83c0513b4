#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>

// GLM-4 (0414): Llama whose sublayers norm both their input and their output, with biases on q, k
// and v. Half of each head is rotated, in pairs of neighbours; the gate matrix and the up matrix
// are one. Source: GLM Team 2024.

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "glm4");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse({"output.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/true));
  config.fused_gate_up = config.output_norms = true;
  TROUPE_ASSIGN_OR_RETURN(
      config.qkv_bias,
      read.flag(header_keys::kAttentionBias, header.tensor("blk.0.attn_q.bias") != nullptr));
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "glm4", /*tied_by_default=*/false, out));
  TROUPE_RETURN_IF_ERROR(hf_biases(config, out));
  return hf_rotary(config, "glm4", out,
                   {.rotated_part = 0.5, .partial = true, .interleaved = true});
}

const std::vector<HfName> kNames = llama_names_with({
    {"layers.*.post_self_attn_layernorm.weight", "blk.*.post_attention_norm.weight"},
    {"layers.*.post_mlp_layernorm.weight", "blk.*.post_ffw_norm.weight"},
    {"layers.*.mlp.gate_up_proj.weight", "blk.*.ffn_up.weight"},
});

}  // namespace

const Family kGlm4Family{"glm4", read_gguf, {"glm4", "model.", metadata, kNames}};

}  // namespace troupe::model
