#include <set>
#include <utility>

#include <troupe/model/config/tensor_specs.h>

namespace troupe::model {
namespace {

// Appends the specs of one layer, or of the ends.
class Specs {
 public:
  Specs(std::vector<TensorSpec>* out, std::string prefix, std::size_t layer)
      : out_(out), prefix_(std::move(prefix)), layer_(layer) {}

  void matrix(std::size_t slot, const std::string& name, std::size_t rows, std::size_t columns) {
    out_->push_back({prefix_ + name + ".weight", rows, columns, slot, layer_});
  }
  void vector(std::size_t slot, const std::string& name, std::size_t values) {
    out_->push_back({prefix_ + name, 0, values, slot, layer_});
  }
  void linear(std::size_t slot, const std::string& name, std::size_t rows, std::size_t columns,
              bool bias) {
    matrix(slot, name, rows, columns);
    if (bias) vector(slot + 1, name + ".bias", rows);
  }
  void norm_weight(std::size_t slot, const std::string& name, std::size_t values,
                   const ModelConfig& config) {
    vector(slot, name + ".weight", values);
    out_->back().offset = config.norm_offset;
  }
  void norm(std::size_t slot, const std::string& name, const ModelConfig& config) {
    norm_weight(slot, name, config.channels, config);
    if (config.norm == NormKind::kLayer && config.norm_bias)
      vector(slot + 1, name + ".bias", config.channels);
  }
  void positions(const ModelConfig& config) {
    matrix(kPositionEmbedding, "position_embd", config.context_max, config.channels);
    if (config.position_offset > 0)
      part_of(1, config.position_offset, config.position_offset + config.context_max);
  }
  // Says that the last `count` specs are the rows from `first` on of a tensor of `whole` rows.
  void part_of(std::size_t count, std::size_t first, std::size_t whole) {
    for (std::size_t i = out_->size() - count; i < out_->size(); ++i) {
      (*out_)[i].first = first;
      (*out_)[i].whole = whole;
    }
  }

 private:
  std::vector<TensorSpec>* out_;
  const std::string prefix_;
  const std::size_t layer_;
};

void add_qkv(const ModelConfig& config, Specs* specs) {
  const std::size_t width = config.heads * config.head_dim;
  const std::size_t kv_width = config.kv_heads * config.head_dim;
  const struct {
    Slot slot;
    const char* name;
    std::size_t first, rows;
  } parts[] = {{kQ, "attn_q", 0, width},
               {kK, "attn_k", width, kv_width},
               {kV, "attn_v", width + kv_width, kv_width}};
  for (const auto& part : parts) {
    specs->linear(part.slot, config.fused_qkv ? "attn_qkv" : part.name, part.rows, config.channels,
                  config.qkv_bias);
    if (config.fused_qkv) specs->part_of(config.qkv_bias ? 2 : 1, part.first, width + 2 * kv_width);
  }
}

// Appends the experts' matrices, which are tensors of their own ("ffn_gate.7") or stacked in one
// ("ffn_gate_exps"), or whose rows alternate in one ("ffn_gate_up_pairs").
void add_experts(const ModelConfig& config, std::size_t layer, std::vector<TensorSpec>* out) {
  const std::string prefix = "blk." + std::to_string(layer) + ".";
  const std::size_t channels = config.channels, width = config.expert_channels;
  const struct {
    ExpertSlot slot;
    const char* name;
    std::size_t rows, columns;
  } parts[] = {{kExpertGate, "ffn_gate", width, channels},
               {kExpertUp, "ffn_up", width, channels},
               {kExpertDown, "ffn_down", channels, width}};
  for (std::size_t expert = 0; expert < config.experts; ++expert)
    for (const auto& part : parts) {
      const bool is_pair = config.expert_pairs && part.slot != kExpertDown;
      const std::string end = config.experts_apart ? "." + std::to_string(expert) : "_exps";
      const std::string name = is_pair ? "ffn_gate_up_pairs" : part.name + end;
      TensorSpec spec{prefix + name + ".weight", part.rows, part.columns, part.slot, layer};
      spec.expert = expert;
      if (!config.experts_apart) {
        spec.stacked = config.experts;
        spec.step = is_pair ? 2 : 1;
        spec.first = expert * part.rows * spec.step + (is_pair && part.slot == kExpertUp ? 1 : 0);
        spec.whole = config.experts * part.rows * spec.step;
      }
      out->push_back(spec);
      if (!config.expert_bias) continue;
      spec.name = prefix + name + ".bias";
      spec.columns = std::exchange(spec.rows, 0);
      spec.slot = part.slot + 1;
      out->push_back(std::move(spec));
    }
}

void add_mixture(const ModelConfig& config, std::size_t layer, Specs* specs,
                 std::vector<TensorSpec>* out) {
  specs->linear(kRouter, "ffn_gate_inp", config.experts, config.channels, config.expert_bias);
  if (config.shared_expert) {
    specs->matrix(kSharedGate, "ffn_gate_inp_shexp", 1, config.channels);
    specs->matrix(kGate, "ffn_gate_shexp", config.ffn_channels, config.channels);
    specs->matrix(kUp, "ffn_up_shexp", config.ffn_channels, config.channels);
    specs->matrix(kDown, "ffn_down_shexp", config.channels, config.ffn_channels);
  }
  add_experts(config, layer, out);
}

void add_feed_forward(const ModelConfig& config, Specs* specs) {
  const std::size_t channels = config.channels;
  const std::size_t ffn = config.experts > 0 ? config.dense_channels : config.ffn_channels;
  if (config.gated()) {
    specs->linear(kGate, config.fused_gate_up ? "ffn_up" : "ffn_gate", ffn, channels,
                  config.ffn_bias);
    if (config.fused_gate_up) specs->part_of(config.ffn_bias ? 2 : 1, 0, 2 * ffn);
  }
  specs->linear(kUp, "ffn_up", ffn, channels, config.ffn_bias);
  if (config.fused_gate_up) specs->part_of(config.ffn_bias ? 2 : 1, ffn, 2 * ffn);
  specs->linear(kDown, "ffn_down", channels, ffn, config.ffn_bias);
}

void add_layer(const ModelConfig& config, std::size_t layer, std::vector<TensorSpec>* out) {
  Specs specs(out, "blk." + std::to_string(layer) + ".", layer);
  if (config.post_norm || (config.input_norms && (layer > 0 || config.first_norm)))
    specs.norm(kAttnNorm, config.post_norm ? "attn_output_norm" : "attn_norm", config);
  add_qkv(config, &specs);
  if (config.head_norm || config.qk_norm) {
    const std::size_t q = config.head_norm ? 1 : config.heads;
    const std::size_t k = config.head_norm ? 1 : config.kv_heads;
    specs.norm_weight(kQNorm, "attn_q_norm", q * config.head_dim, config);
    specs.norm_weight(kKNorm, "attn_k_norm", k * config.head_dim, config);
  }
  specs.linear(kAttnOut, "attn_output", config.channels, config.heads * config.head_dim,
               config.attn_output_bias);
  if (config.attention_sinks) specs.vector(kSinks, "attn_sinks.weight", config.heads);
  if (config.output_norms) specs.norm(kAttnPostNorm, "post_attention_norm", config);
  if (config.post_norm || config.input_norms)
    specs.norm(kFfnNorm, config.post_norm ? "layer_output_norm" : config.ffn_norm_name, config);
  if (config.has_experts(layer)) {
    add_mixture(config, layer, &specs, out);
  } else {
    add_feed_forward(config, &specs);
  }
  if (config.output_norms) specs.norm(kFfnPostNorm, "post_ffw_norm", config);
}

// Appends the adapters of the specs from `first` on.
void add_adapters(const ModelConfig& config, std::size_t first, std::vector<TensorSpec>* out) {
  if (config.adapter_ranks.empty()) return;
  for (std::size_t i = first, count = out->size(); i < count; ++i) {
    const TensorSpec matrix = (*out)[i];
    const auto rank = config.adapter_ranks.find(matrix.name);
    if (rank == config.adapter_ranks.end() || matrix.rows == 0 || matrix.whole != 0) continue;
    TensorSpec a{adapter_a_name(matrix.name), rank->second, matrix.columns, matrix.slot,
                 matrix.layer};
    a.adapter = AdapterPart::kA;
    TensorSpec b{adapter_b_name(matrix.name), matrix.rows, rank->second, matrix.slot, matrix.layer};
    b.adapter = AdapterPart::kB;
    out->push_back(std::move(a));
    out->push_back(std::move(b));
  }
}

}  // namespace

std::vector<TensorSpec> stage_tensors(const ModelConfig& config, LayerRange range) {
  std::vector<TensorSpec> out;
  for (std::size_t layer = range.begin; layer < range.end; ++layer) {
    const std::size_t first = out.size();
    add_layer(config, layer, &out);
    add_adapters(config, first, &out);
  }
  const bool first = range.begin == 0, last = range.end == config.layers;
  Specs ends(&out, "", kNoLayer);
  if (first || (last && config.causal && config.tied_embedding))
    ends.matrix(kTokenEmbedding, "token_embd", config.vocabulary, config.channels);
  if (first && config.learned_positions) ends.positions(config);
  if (first && config.token_types > 0)
    ends.matrix(kTypeEmbedding, "token_types", config.token_types, config.channels);
  if (first && config.embedding_norm) ends.norm(kEmbeddingNorm, "token_embd_norm", config);
  if (last && !config.post_norm) ends.norm(kOutputNorm, "output_norm", config);
  if (last && config.causal && !config.tied_embedding)
    ends.matrix(kOutput, "output", config.vocabulary, config.channels);
  if (last && config.pooler)
    ends.linear(kPooler, "cls", config.channels, config.channels, config.pooler_bias);
  if (last && config.pooler && config.pooler_norm) ends.norm(kPoolerNorm, "cls.norm", config);
  if (last && config.labels > 0)
    ends.linear(kClassifier, "cls.output", config.labels, config.channels, /*bias=*/true);
  if (last && config.head == EncoderHead::kMask) {
    ends.linear(kMaskDense, "mask.dense", config.channels, config.channels, /*bias=*/true);
    ends.norm(kMaskNorm, "mask.norm", config);
    ends.vector(kMaskBias, "mask.bias", config.vocabulary);
  }
  if (config.relative_buckets > 0)
    ends.matrix(kRelativeBias, "enc.attn_rel_b", config.relative_buckets, config.heads);
  if (config.rope_factors || config.rope_short_factors)
    ends.vector(kRopeFactors,
                config.rope_factors ? "rope_freqs.weight" : "rope_factors_short.weight",
                config.rotary_dim / 2);
  return out;
}

std::vector<std::string> tensors_of(const ModelConfig& config, LayerRange range) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (TensorSpec& spec : stage_tensors(config, range))  // the parts of a fused tensor share a name
    if (seen.insert(spec.name).second) names.push_back(std::move(spec.name));
  return names;
}

}  // namespace troupe::model
