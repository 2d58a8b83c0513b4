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
  void norm(std::size_t slot, const std::string& name, const ModelConfig& config) {
    vector(slot, name + ".weight", config.channels);
    if (config.norm == NormKind::kLayer) vector(slot + 1, name + ".bias", config.channels);
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

void add_layer(const ModelConfig& config, std::size_t layer, std::vector<TensorSpec>* out) {
  Specs specs(out, "blk." + std::to_string(layer) + ".", layer);
  const std::size_t channels = config.channels, ffn = config.ffn_channels;
  const bool bias = config.linear_bias;
  specs.norm(kAttnNorm, config.post_norm ? "attn_output_norm" : "attn_norm", config);
  add_qkv(config, &specs);
  if (config.head_norm) {
    specs.vector(kQNorm, "attn_q_norm.weight", config.head_dim);
    specs.vector(kKNorm, "attn_k_norm.weight", config.head_dim);
  }
  specs.linear(kAttnOut, "attn_output", channels, config.heads * config.head_dim, bias);
  specs.norm(kFfnNorm, config.post_norm ? "layer_output_norm" : "ffn_norm", config);
  if (config.feed_forward == FeedForward::kGatedSilu)
    specs.linear(kGate, "ffn_gate", ffn, channels, bias);
  specs.linear(kUp, "ffn_up", ffn, channels, bias);
  specs.linear(kDown, "ffn_down", channels, ffn, bias);
}

}  // namespace

std::vector<TensorSpec> stage_tensors(const ModelConfig& config, LayerRange range) {
  std::vector<TensorSpec> out;
  for (std::size_t layer = range.begin; layer < range.end; ++layer) add_layer(config, layer, &out);
  const bool first = range.begin == 0, last = range.end == config.layers;
  Specs ends(&out, "", kNoLayer);
  if (first || (last && config.causal && config.tied_embedding))
    ends.matrix(kTokenEmbedding, "token_embd", config.vocabulary, config.channels);
  if (first && config.learned_positions)
    ends.matrix(kPositionEmbedding, "position_embd", config.context_max, config.channels);
  if (first && config.token_types > 0)
    ends.matrix(kTypeEmbedding, "token_types", config.token_types, config.channels);
  if (first && config.embedding_norm) ends.norm(kEmbeddingNorm, "token_embd_norm", config);
  if (last && !config.post_norm) ends.norm(kOutputNorm, "output_norm", config);
  if (last && config.causal && !config.tied_embedding)
    ends.matrix(kOutput, "output", config.vocabulary, config.channels);
  if (last && config.pooler)
    ends.linear(kPooler, "cls", config.channels, config.channels, /*bias=*/true);
  if (last && config.labels > 0)
    ends.linear(kClassifier, "cls.output", config.labels, config.channels, /*bias=*/true);
  if (config.rope_factors) ends.vector(kRopeFactors, "rope_freqs.weight", config.rotary_dim / 2);
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
