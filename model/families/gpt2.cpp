#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>

// GPT-2: pre-norm blocks with layer norm, biases everywhere, learned positions, as many key heads
// as query heads, q, k and v in one matrix, GELU by tanh, and the embedding as output matrix.
// Source: Radford et al. 2019. Hugging Face stores its matrices as (inputs, outputs), GGUF as
// (outputs, inputs).

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "gpt2");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse({"output.bias"}));
  TROUPE_RETURN_IF_ERROR(read.sizes(&config));
  TROUPE_RETURN_IF_ERROR(read.layer_norm(&config));
  config.feed_forward = FeedForward::kGeluTanh;
  config.learned_positions = true;
  config.fused_qkv = true;
  config.qkv_bias = config.attn_output_bias = config.ffn_bias = true;
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("activation_function", {"gelu_new", "gelu_pytorch_tanh"}));
  TROUPE_RETURN_IF_ERROR(
      hf_refuse(config, {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}));
  TROUPE_ASSIGN_OR_RETURN(const bool scaled, config.boolean("scale_attn_weights", true));
  if (!scaled)
    return config.bad("the field \"scale_attn_weights\" is false, which this version cannot run");
  // Without the field, the width is four times the channels.
  const bool has_inner = config.has("n_inner");
  TROUPE_RETURN_IF_ERROR(hf_plain_sizes(
      config, "gpt2",
      {"n_layer", "n_embd", has_inner ? "n_inner" : "n_embd", "n_head", "n_positions"},
      /*head_dim=*/0, out));
  if (!has_inner) {
    TROUPE_ASSIGN_OR_RETURN(const std::uint64_t channels, config.size("n_embd", kChannelsMax / 4));
    (*out)["gpt2.feed_forward_length"] = 4 * channels;
  }
  TROUPE_ASSIGN_OR_RETURN((*out)["gpt2.attention.layer_norm_epsilon"],
                          hf_epsilon(config, "layer_norm_epsilon", 1e-5));
  TROUPE_ASSIGN_OR_RETURN((*out)[std::string(header_keys::kTiedEmbedding)],
                          config.boolean("tie_word_embeddings", true));
  return Status::ok();
}

constexpr HfName kNames[] = {
    {"wte.weight", "token_embd.weight"},
    {"wpe.weight", "position_embd.weight"},
    {"ln_f.weight", "output_norm.weight"},
    {"ln_f.bias", "output_norm.bias"},
    {"lm_head.weight", "output.weight"},
    {"h.*.ln_1.weight", "blk.*.attn_norm.weight"},
    {"h.*.ln_1.bias", "blk.*.attn_norm.bias"},
    {"h.*.attn.c_attn.weight", "blk.*.attn_qkv.weight", /*transposed=*/true},
    {"h.*.attn.c_attn.bias", "blk.*.attn_qkv.bias"},
    {"h.*.attn.c_proj.weight", "blk.*.attn_output.weight", true},
    {"h.*.attn.c_proj.bias", "blk.*.attn_output.bias"},
    {"h.*.ln_2.weight", "blk.*.ffn_norm.weight"},
    {"h.*.ln_2.bias", "blk.*.ffn_norm.bias"},
    {"h.*.mlp.c_fc.weight", "blk.*.ffn_up.weight", true},
    {"h.*.mlp.c_fc.bias", "blk.*.ffn_up.bias"},
    {"h.*.mlp.c_proj.weight", "blk.*.ffn_down.weight", true},
    {"h.*.mlp.c_proj.bias", "blk.*.ffn_down.bias"},
};

}  // namespace

const Family kGpt2Family{"gpt2", read_gguf, {"gpt2", "transformer.", metadata, kNames}};

}  // namespace troupe::model
