#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>

// BERT: an encoder. Embeddings of token, position and segment are added and normed; every row sees
// the whole sequence; the norms come after the residual sums; GELU by erf, biases everywhere. The
// pooler takes the first row through tanh(W x + b), and a classification head turns the result into
// the logits of the labels. Source: Devlin et al. 2019.

namespace troupe::model {
namespace {

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
    // Checkpoints of the first years use these names for the parts of a norm.
    {"embeddings.LayerNorm.gamma", "token_embd_norm.weight"},
    {"embeddings.LayerNorm.beta", "token_embd_norm.bias"},
    {"encoder.layer.*.attention.output.LayerNorm.gamma", "blk.*.attn_output_norm.weight"},
    {"encoder.layer.*.attention.output.LayerNorm.beta", "blk.*.attn_output_norm.bias"},
    {"encoder.layer.*.output.LayerNorm.gamma", "blk.*.layer_output_norm.weight"},
    {"encoder.layer.*.output.LayerNorm.beta", "blk.*.layer_output_norm.bias"},
    // Checkpoints of descendants whose head has a dense layer of its own often have the pooler,
    // too, which that head does not read.
    {"pooler.dense.weight", "cls.weight", /*transposed=*/false, /*spare=*/true},
    {"pooler.dense.bias", "cls.bias", /*transposed=*/false, /*spare=*/true},
    {"classifier.weight", "cls.output.weight"},
    {"classifier.bias", "cls.output.bias"},
    // The layers that predict masked tokens, which only training computes.
    {"cls.predictions.transform.dense.weight", "mask.dense.weight"},
    {"cls.predictions.transform.dense.bias", "mask.dense.bias"},
    {"cls.predictions.transform.LayerNorm.weight", "mask.norm.weight"},
    {"cls.predictions.transform.LayerNorm.bias", "mask.norm.bias"},
    {"cls.predictions.bias", "mask.bias"},
    {"cls.predictions.transform.LayerNorm.gamma", "mask.norm.weight"},
    {"cls.predictions.transform.LayerNorm.beta", "mask.norm.bias"},
    {"cls.predictions.decoder.bias", "mask.bias", /*transposed=*/false, /*spare=*/true},
};

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(HeaderReader(header, "bert").bert(&config));
  // Of the models that GGUF files call a BERT, only DistilBERT has no segments. Its head differs
  // from BERT's.
  if (config.token_types == 0) config.pooler_kind = PoolerKind::kRelu;
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  return hf_bert(config, "bert", /*padding=*/false, out);
}

}  // namespace

Status HeaderReader::encoder_head(ModelConfig* config) const {
  config->causal = false;
  config->pooler = header_.tensor("cls.weight") != nullptr;
  config->pooler_bias = header_.tensor("cls.bias") != nullptr;
  config->pooler_norm = header_.tensor("cls.norm.weight") != nullptr;
  TROUPE_ASSIGN_OR_RETURN(config->pooler_mean, flag(header_keys::kPoolerMean, false));
  if (header_.metadata.contains(header_keys::kPoolerActivation)) {
    TROUPE_ASSIGN_OR_RETURN(const std::string kind, header_.string(header_keys::kPoolerActivation));
    if (kind != "relu" && kind != "gelu") return unsupported("a pooler with " + kind);
    config->pooler_kind = kind == "relu" ? PoolerKind::kRelu : PoolerKind::kGeluErf;
  }
  if (const TensorInfo* labels = header_.tensor("cls.output.weight"); labels != nullptr) {
    if (header_.metadata.contains(header_keys::kEncoderHead)) {
      TROUPE_ASSIGN_OR_RETURN(const std::string head, header_.string(header_keys::kEncoderHead));
      if (head != "token") return unsupported("a classification head of " + head);
      config->head = EncoderHead::kToken;
      config->pooler = config->pooler_bias = config->pooler_norm = false;
    } else if (!config->pooler) {
      return unsupported("a classification head without a pooler");
    }
    config->labels = labels->shape.front();
  }
  return Status::ok();
}

Status HeaderReader::bert(ModelConfig* config) const {
  TROUPE_RETURN_IF_ERROR(sizes(config));
  TROUPE_RETURN_IF_ERROR(layer_norm(config));
  config->post_norm = true;
  config->feed_forward = FeedForward::kGeluErf;
  config->qkv_bias = config->attn_output_bias = config->ffn_bias = true;
  config->learned_positions = true;
  if (header_.metadata.contains(header_keys::kPositionOffset)) {
    TROUPE_ASSIGN_OR_RETURN(config->position_offset, header_.u64(header_keys::kPositionOffset));
  }
  config->embedding_norm = true;
  if (const TensorInfo* types = header_.tensor("token_types.weight"); types != nullptr)
    config->token_types = types->shape.front();
  return encoder_head(config);
}

Status hf_bert(const HfConfig& config, const std::string& arch, bool padding, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"gelu"}));
  TROUPE_RETURN_IF_ERROR(config.expect("position_embedding_type", {"absolute"}));
  TROUPE_ASSIGN_OR_RETURN(const bool decoder, config.boolean("is_decoder", false));
  if (decoder) return config.bad("the field \"is_decoder\" is true: only encoders can be run");
  TROUPE_RETURN_IF_ERROR(hf_plain_sizes(config, arch, {}, /*head_dim=*/0, out));
  TROUPE_ASSIGN_OR_RETURN((*out)[arch + ".attention.layer_norm_epsilon"],
                          hf_epsilon(config, "layer_norm_eps", 1e-12));
  TROUPE_RETURN_IF_ERROR(hf_encoder_head(config, out));
  if (!padding) return Status::ok();
  constexpr const char* kContext = "max_position_embeddings";
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t rows, config.size(kContext, kContextMax));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t pad, config.u64("pad_token_id", 1));
  if (pad + 1 >= rows)
    return config.bad("the field \"" + std::string(kContext) + "\" is " + std::to_string(rows) +
                      ", which leaves no position after those up to \"pad_token_id\", " +
                      std::to_string(pad));
  (*out)[std::string(header_keys::kPositionOffset)] = pad + 1;
  (*out)[arch + ".context_length"] = rows - pad - 1;
  return Status::ok();
}

Status hf_encoder_head(const HfConfig& config, GgufMetadata* out) {
  TROUPE_ASSIGN_OR_RETURN(const std::vector<std::string> classes, config.strings("architectures"));
  for (const std::string& name : classes)
    if (name.ends_with("ForTokenClassification"))
      (*out)[std::string(header_keys::kEncoderHead)] = std::string("token");
  return Status::ok();
}

std::vector<HfName> bert_names_with(std::initializer_list<HfName> own) {
  std::vector<HfName> names(own);
  names.insert(names.end(), std::begin(kNames), std::end(kNames));
  return names;
}

const Family kBertFamily{"bert", read_gguf, {"bert", "bert.", metadata, kNames}};

}  // namespace troupe::model
