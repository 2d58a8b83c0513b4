#include <string>
#include <vector>

#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>

// gpt-oss: a mixture of experts whose gates are clamped, with biases everywhere. Every second layer
// sees a window, and each head has a sink in its softmax. Source: OpenAI 2025.

namespace troupe::model {
namespace {

constexpr std::uint64_t kPeriod = 2;  // GGUF files do not state the period
constexpr std::uint64_t kHeadDim = 64;

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "gpt-oss");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse_tensors({"output.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/false));
  TROUPE_RETURN_IF_ERROR(read.window(&config, kPeriod));
  TROUPE_RETURN_IF_ERROR(read.mixture(&config, /*weights_norm=*/true));
  if (config.experts == 0) return unsupported("no experts");
  config.feed_forward = FeedForward::kGatedClamped;
  config.qkv_bias = config.attn_output_bias = config.expert_bias = config.attention_sinks = true;
  config.ffn_norm_name = "post_attention_norm";
  config.expert_pairs = header.tensor("blk.0.ffn_gate_up_pairs.weight") != nullptr;
  // GGUF files do not say that the ramp ends between pairs ("truncate" of its config.json is
  // false).
  TROUPE_ASSIGN_OR_RETURN(config.rope_whole_pairs, read.flag(header_keys::kRopeWholePairs, false));
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  constexpr double kAlpha = 1.702, kLimit = 7.0;  // of FeedForward::kGatedClamped
  TROUPE_ASSIGN_OR_RETURN(const double alpha, config.f64("swiglu_alpha", kAlpha));
  TROUPE_ASSIGN_OR_RETURN(const double limit, config.f64("swiglu_limit", kLimit));
  if (alpha != kAlpha || limit != kLimit)
    return config.bad("the fields \"swiglu_alpha\" and \"swiglu_limit\" are " +
                      std::to_string(alpha) + " and " + std::to_string(limit) +
                      "; this version can run 1.702 and 7");
  TROUPE_ASSIGN_OR_RETURN(const bool biased, config.boolean("attention_bias", true));
  if (!biased)
    return config.bad("the field \"attention_bias\" is false, which this version cannot run");
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "gpt-oss", /*tied_by_default=*/false, out, kHeadDim));
  TROUPE_RETURN_IF_ERROR(
      hf_mixture(config, "gpt-oss", {"num_local_experts", "intermediate_size"}, out));
  TROUPE_RETURN_IF_ERROR(hf_rotary(config, "gpt-oss", out, {.theta = 150000.0}));
  return hf_window(config, "gpt-oss", /*begin=*/0, out, kPeriod);
}

// An expert's gate and up matrix are one, with alternating rows. OpenAI's files have them in MXFP4;
// where transformers wrote them unquantized, they are (inputs, outputs).
const std::vector<HfName> kNames = llama_names_with({
    {"layers.*.post_attention_layernorm.weight", "blk.*.post_attention_norm.weight"},
    {"layers.*.self_attn.sinks", "blk.*.attn_sinks.weight"},
    {"layers.*.mlp.router.weight", "blk.*.ffn_gate_inp.weight"},
    {"layers.*.mlp.router.bias", "blk.*.ffn_gate_inp.bias"},
    {"layers.*.mlp.experts.gate_up_proj", "blk.*.ffn_gate_up_pairs.weight", true},
    {"layers.*.mlp.experts.gate_up_proj_blocks", "blk.*.ffn_gate_up_pairs.weight", false, false,
     quant::Type::kMXFP4_SPLIT},
    {"layers.*.mlp.experts.gate_up_proj_scales", "blk.*.ffn_gate_up_pairs.weight_scale", false,
     false, quant::Type::kE8M0},
    {"layers.*.mlp.experts.gate_up_proj_bias", "blk.*.ffn_gate_up_pairs.bias"},
    {"layers.*.mlp.experts.down_proj", "blk.*.ffn_down_exps.weight", true},
    {"layers.*.mlp.experts.down_proj_blocks", "blk.*.ffn_down_exps.weight", false, false,
     quant::Type::kMXFP4_SPLIT},
    {"layers.*.mlp.experts.down_proj_scales", "blk.*.ffn_down_exps.weight_scale", false, false,
     quant::Type::kE8M0},
    {"layers.*.mlp.experts.down_proj_bias", "blk.*.ffn_down_exps.bias"},
});

}  // namespace

const Family kGptOssFamily{"gpt-oss", read_gguf, {"gpt_oss", "model.", metadata, kNames}};

}  // namespace troupe::model
