#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>

// DistilBERT: BERT without segments and without a pooler. The dense layer of its classification
// head goes through ReLU. Source: Sanh et al. 2019.

namespace troupe::model {
namespace {

constexpr const char* kArch = "distilbert";

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(HeaderReader(header, kArch).bert(&config));
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("activation", {"gelu"}));
  HfSizeFields fields;
  fields.layers = "n_layers";
  fields.channels = "dim";
  fields.ffn_channels = "hidden_dim";
  fields.heads = "n_heads";
  TROUPE_RETURN_IF_ERROR(hf_plain_sizes(config, kArch, fields, /*head_dim=*/0, out));
  (*out)["distilbert.attention.layer_norm_epsilon"] = 1e-12;
  (*out)[std::string(header_keys::kPoolerActivation)] = std::string("relu");
  return hf_encoder_head(config, out);
}

const std::vector<HfName> kNames = bert_names_with({
    {"transformer.layer.*.attention.q_lin.weight", "blk.*.attn_q.weight"},
    {"transformer.layer.*.attention.q_lin.bias", "blk.*.attn_q.bias"},
    {"transformer.layer.*.attention.k_lin.weight", "blk.*.attn_k.weight"},
    {"transformer.layer.*.attention.k_lin.bias", "blk.*.attn_k.bias"},
    {"transformer.layer.*.attention.v_lin.weight", "blk.*.attn_v.weight"},
    {"transformer.layer.*.attention.v_lin.bias", "blk.*.attn_v.bias"},
    {"transformer.layer.*.attention.out_lin.weight", "blk.*.attn_output.weight"},
    {"transformer.layer.*.attention.out_lin.bias", "blk.*.attn_output.bias"},
    {"transformer.layer.*.sa_layer_norm.weight", "blk.*.attn_output_norm.weight"},
    {"transformer.layer.*.sa_layer_norm.bias", "blk.*.attn_output_norm.bias"},
    {"transformer.layer.*.ffn.lin1.weight", "blk.*.ffn_up.weight"},
    {"transformer.layer.*.ffn.lin1.bias", "blk.*.ffn_up.bias"},
    {"transformer.layer.*.ffn.lin2.weight", "blk.*.ffn_down.weight"},
    {"transformer.layer.*.ffn.lin2.bias", "blk.*.ffn_down.bias"},
    {"transformer.layer.*.output_layer_norm.weight", "blk.*.layer_output_norm.weight"},
    {"transformer.layer.*.output_layer_norm.bias", "blk.*.layer_output_norm.bias"},
    {"pre_classifier.weight", "cls.weight"},
    {"pre_classifier.bias", "cls.bias"},
});

}  // namespace

const Family kDistilBertFamily{kArch, read_gguf, {kArch, "distilbert.", metadata, kNames}};

}  // namespace troupe::model
