#include <troupe/model/families/read.h>

// BERT: an encoder. Embeddings of token, position and segment are added and normed; every row sees
// the whole sequence; the norms come after the residual sums; GELU by erf, biases everywhere. The
// pooler takes the first row through tanh(W x + b), and a classification head turns the result into
// the logits of the labels. Source: Devlin et al. 2019.

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "bert");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.sizes(&config));
  TROUPE_RETURN_IF_ERROR(read.layer_norm(&config));
  config.post_norm = true;
  config.feed_forward = FeedForward::kGeluErf;
  config.qkv_bias = config.attn_output_bias = config.ffn_bias = true;
  config.learned_positions = true;
  config.embedding_norm = true;
  config.causal = false;
  if (const TensorInfo* types = header.tensor("token_types.weight"); types != nullptr)
    config.token_types = types->shape.front();
  config.pooler = header.tensor("cls.weight") != nullptr;
  if (const TensorInfo* labels = header.tensor("cls.output.weight"); labels != nullptr) {
    if (!config.pooler) return unsupported("a classification head without a pooler");
    config.labels = labels->shape.front();
  }
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"gelu"}));
  TROUPE_RETURN_IF_ERROR(config.expect("position_embedding_type", {"absolute"}));
  TROUPE_ASSIGN_OR_RETURN(const bool decoder, config.boolean("is_decoder", false));
  if (decoder) return config.bad("the field \"is_decoder\" is true: only encoders can be run");
  TROUPE_RETURN_IF_ERROR(hf_plain_sizes(config, "bert", {}, /*head_dim=*/0, out));
  TROUPE_ASSIGN_OR_RETURN((*out)["bert.attention.layer_norm_epsilon"],
                          hf_epsilon(config, "layer_norm_eps", 1e-12));
  return Status::ok();
}

constexpr HfName kNames[] = {
    {"embeddings.word_embeddings.weight", "token_embd.weight"},
    {"embeddings.position_embeddings.weight", "position_embd.weight"},
    {"embeddings.token_type_embeddings.weight", "token_types.weight"},
    {"embeddings.LayerNorm.weight", "token_embd_norm.weight"},
    {"embeddings.LayerNorm.bias", "token_embd_norm.bias"},
    {"encoder.layer.*.attention.self.query.weight", "blk.*.attn_q.weight"},
    {"encoder.layer.*.attention.self.query.bias", "blk.*.attn_q.bias"},
    {"encoder.layer.*.attention.self.key.weight", "blk.*.attn_k.weight"},
    {"encoder.layer.*.attention.self.key.bias", "blk.*.attn_k.bias"},
    {"encoder.layer.*.attention.self.value.weight", "blk.*.attn_v.weight"},
    {"encoder.layer.*.attention.self.value.bias", "blk.*.attn_v.bias"},
    {"encoder.layer.*.attention.output.dense.weight", "blk.*.attn_output.weight"},
    {"encoder.layer.*.attention.output.dense.bias", "blk.*.attn_output.bias"},
    {"encoder.layer.*.attention.output.LayerNorm.weight", "blk.*.attn_output_norm.weight"},
    {"encoder.layer.*.attention.output.LayerNorm.bias", "blk.*.attn_output_norm.bias"},
    {"encoder.layer.*.intermediate.dense.weight", "blk.*.ffn_up.weight"},
    {"encoder.layer.*.intermediate.dense.bias", "blk.*.ffn_up.bias"},
    {"encoder.layer.*.output.dense.weight", "blk.*.ffn_down.weight"},
    {"encoder.layer.*.output.dense.bias", "blk.*.ffn_down.bias"},
    {"encoder.layer.*.output.LayerNorm.weight", "blk.*.layer_output_norm.weight"},
    {"encoder.layer.*.output.LayerNorm.bias", "blk.*.layer_output_norm.bias"},
    // Checkpoints of the first years name the parts of a norm so.
    {"embeddings.LayerNorm.gamma", "token_embd_norm.weight"},
    {"embeddings.LayerNorm.beta", "token_embd_norm.bias"},
    {"encoder.layer.*.attention.output.LayerNorm.gamma", "blk.*.attn_output_norm.weight"},
    {"encoder.layer.*.attention.output.LayerNorm.beta", "blk.*.attn_output_norm.bias"},
    {"encoder.layer.*.output.LayerNorm.gamma", "blk.*.layer_output_norm.weight"},
    {"encoder.layer.*.output.LayerNorm.beta", "blk.*.layer_output_norm.bias"},
    {"pooler.dense.weight", "cls.weight"},
    {"pooler.dense.bias", "cls.bias"},
    {"classifier.weight", "cls.output.weight"},
    {"classifier.bias", "cls.output.bias"},
};

}  // namespace

const Family kBertFamily{"bert", read_gguf, {"bert", "bert.", metadata, kNames}};

}  // namespace troupe::model
