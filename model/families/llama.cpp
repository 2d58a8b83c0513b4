#include <algorithm>

#include <troupe/model/families/family.h>
#include <troupe/model/step.h>

// Llama: pre-norm blocks of grouped-query attention with rotary positions, then a gated
// feed-forward network, no biases. Source: Touvron et al. 2023. GGUF stores the rows of q and k so
// that the rotated pairs are neighbours.

namespace troupe::model {
namespace {

enum Slot : std::size_t { kAttnNorm, kQ, kK, kV, kAttnOut, kFfnNorm, kGate, kUp, kDown, kSlots };

std::vector<TensorSpec> layer_tensors(const ModelConfig& config, std::size_t layer) {
  const std::string prefix = "blk." + std::to_string(layer) + ".";
  const std::size_t channels = config.channels, ffn = config.ffn_channels;
  const std::size_t heads_width = config.heads * config.head_dim;
  const std::size_t kv_width = config.kv_heads * config.head_dim;
  return {{prefix + "attn_norm.weight", 0, channels},
          {prefix + "attn_q.weight", heads_width, channels},
          {prefix + "attn_k.weight", kv_width, channels},
          {prefix + "attn_v.weight", kv_width, channels},
          {prefix + "attn_output.weight", channels, heads_width},
          {prefix + "ffn_norm.weight", 0, channels},
          {prefix + "ffn_gate.weight", ffn, channels},
          {prefix + "ffn_up.weight", ffn, channels},
          {prefix + "ffn_down.weight", channels, ffn}};
}

bool has(const GgufHeader& header, std::string_view key) {
  return header.metadata.find(key) != header.metadata.end();
}

Status unsupported(const std::string& what) {
  return Status(Code::kBadData, "the model uses " + what + ", which this version cannot run yet");
}

Status refuse_extensions(const GgufHeader& header) {
  if (has(header, "llama.rope.scaling.type")) {
    TROUPE_ASSIGN_OR_RETURN(const std::string scaling, header.string("llama.rope.scaling.type"));
    if (scaling != "none") return unsupported("rotary scaling of the kind \"" + scaling + "\"");
  }
  if (header.tensor("rope_freqs.weight") != nullptr)
    return unsupported("scaled rotary frequencies");
  if (has(header, "llama.expert_count")) {
    TROUPE_ASSIGN_OR_RETURN(const std::uint64_t experts, header.u64("llama.expert_count"));
    if (experts != 0) return unsupported(std::to_string(experts) + " experts");
  }
  for (const char* bias : {"blk.0.attn_q.bias", "blk.0.ffn_gate.bias", "output.bias"})
    if (header.tensor(bias) != nullptr) return unsupported("the bias " + std::string(bias));
  return Status::ok();
}

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  TROUPE_RETURN_IF_ERROR(refuse_extensions(header));
  const auto integer = [&](std::string_view key, std::uint64_t fallback) -> Result<std::uint64_t> {
    return has(header, key) ? header.u64(key) : Result<std::uint64_t>(fallback);
  };
  ModelConfig config;
  config.family = kLlamaFamily.name;
  TROUPE_ASSIGN_OR_RETURN(config.layers, header.u64("llama.block_count"));
  TROUPE_ASSIGN_OR_RETURN(config.channels, header.u64("llama.embedding_length"));
  TROUPE_ASSIGN_OR_RETURN(config.ffn_channels, header.u64("llama.feed_forward_length"));
  TROUPE_ASSIGN_OR_RETURN(config.heads, header.u64("llama.attention.head_count"));
  TROUPE_ASSIGN_OR_RETURN(config.kv_heads, integer("llama.attention.head_count_kv", config.heads));
  if (config.heads == 0)
    return Status(Code::kBadData, "llama.attention.head_count is 0; the file is damaged");
  TROUPE_ASSIGN_OR_RETURN(config.head_dim,
                          integer("llama.attention.key_length", config.channels / config.heads));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t value_dim,
                          integer("llama.attention.value_length", config.head_dim));
  if (value_dim != config.head_dim)
    return unsupported("keys of " + std::to_string(config.head_dim) + " and values of " +
                       std::to_string(value_dim) + " channels");
  TROUPE_ASSIGN_OR_RETURN(config.rotary_dim,
                          integer("llama.rope.dimension_count", config.head_dim));
  TROUPE_ASSIGN_OR_RETURN(config.context_max, header.u64("llama.context_length"));
  TROUPE_ASSIGN_OR_RETURN(const double epsilon,
                          header.f64("llama.attention.layer_norm_rms_epsilon"));
  config.norm_epsilon = static_cast<float>(epsilon);
  if (has(header, "llama.rope.freq_base")) {
    TROUPE_ASSIGN_OR_RETURN(config.rope_theta, header.f64("llama.rope.freq_base"));
  }
  const TensorInfo* embedding = header.tensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2)
    return Status(Code::kBadData,
                  "tensor token_embd.weight is missing or no matrix; fetch the file again");
  config.vocabulary = embedding->shape[0];
  config.tied_embedding = header.tensor("output.weight") == nullptr;
  return config;
}

// The layers of one stage, as one thread of the team runs them.
class LlamaLayers {
 public:
  LlamaLayers(StepContext& step, int thread)
      : step_(step),
        thread_(thread),
        own_(step.own[static_cast<std::size_t>(thread)]),
        channels_(step.config.channels),
        heads_width_(step.config.heads * step.config.head_dim) {}

  void run() {
    if (step_.by_rows) {
      run_by_rows();
    } else {
      for (std::size_t layer = 0; layer < step_.weights.layers.size(); ++layer) by_groups(layer);
    }
  }

 private:
  const kernels::PackedMatrix& matrix(std::size_t layer, Slot slot) const {
    return step_.weights.layers[layer][slot].matrix;
  }
  Span1 my_groups(std::size_t groups) const { return split(groups, thread_, step_.threads); }

  // q, k, v = Wq n, Wk n, Wv n for the rows that `workspace` holds.
  void project_qkv(std::size_t layer, RowRange range, const RowBuffer& normed,
                   const Workspace& workspace, Span1 groups) {
    step_.multiply(normed, channels_, range.count,
                   {{&matrix(layer, kQ), step_.q + range.first * heads_width_},
                    {&matrix(layer, kK), workspace.k},
                    {&matrix(layer, kV), workspace.v}},
                   groups);
  }

  // x += Wo a
  void project_attended(std::size_t layer, RowRange range, const RowBuffer& attended,
                        Span1 groups) {
    step_.multiply(attended, heads_width_, range.count,
                   {{&matrix(layer, kAttnOut), step_.x + range.first * channels_, true}}, groups);
  }

  // gate = silu(Wg n) * (Wu n), in units of the row groups that one block of gate comes from.
  void gate_and_up(std::size_t layer, std::size_t count, const RowBuffer& normed,
                   const Workspace& workspace, Span1 units) {
    const kernels::PackedMatrix& gate = matrix(layer, kGate);
    const kernels::PackedMatrix& up = matrix(layer, kUp);
    const Span1 groups{unit_groups() * units.begin,
                       std::min(unit_groups() * units.end, gate.groups)};
    step_.multiply(normed, channels_, count, {{&gate, workspace.gate.values}}, groups);
    step_.multiply(normed, channels_, count, {{&up, workspace.up}}, groups);
    step_.activate(workspace, count, groups.begin * kernels::kGroupRows,
                   std::min(groups.end * kernels::kGroupRows, gate.rows));
  }
  std::size_t unit_groups() const { return step_.activate_columns() / kernels::kGroupRows; }
  std::size_t gate_units(std::size_t layer) const {
    return (matrix(layer, kGate).groups + unit_groups() - 1) / unit_groups();
  }

  // x += Wd gate
  void project_down(std::size_t layer, RowRange range, const RowBuffer& gate, Span1 groups) {
    step_.multiply(gate, step_.config.ffn_channels, range.count,
                   {{&matrix(layer, kDown), step_.x + range.first * channels_, true}}, groups);
  }

  // Few rows: every phase is split over the team.
  void by_groups(std::size_t layer) {
    const RowRange all{0, step_.rows};
    const Workspace& shared = step_.shared;
    const auto& w = step_.weights.layers[layer];
    const RowBuffer& n1 = normed(w[kAttnNorm]);
    project_qkv(layer, all, n1, shared,
                my_groups(groups_of({&w[kQ].matrix, &w[kK].matrix, &w[kV].matrix})));
    step_.pool.barrier(thread_);
    const Span1 mine = step_.rows_of(thread_);
    step_.rotate_and_store(layer, 0, mine.begin, mine.end, shared);
    step_.pool.barrier(thread_);
    for (const AttentionPiece& piece : step_.attention_pieces[static_cast<std::size_t>(thread_)])
      step_.attend(layer, piece, 0, shared.attended.values, thread_);
    step_.pool.barrier(thread_);
    project_attended(layer, all, quantized_attended(), my_groups(w[kAttnOut].matrix.groups));
    step_.pool.barrier(thread_);
    const RowBuffer& n2 = normed(w[kFfnNorm]);
    gate_and_up(layer, step_.rows, n2, shared, my_groups(gate_units(layer)));
    step_.pool.barrier(thread_);
    project_down(layer, all, shared.gate, my_groups(w[kDown].matrix.groups));
    step_.pool.barrier(thread_);
  }

  // All rows normed: by each thread for itself, or shared out.
  const RowBuffer& normed(const Weight& weight) {
    if (step_.redundant) {
      step_.norm(weight, 0, 0, step_.rows, own_.normed);
      return own_.normed;
    }
    const Span1 mine = step_.rows_of(thread_);
    step_.norm(weight, 0, mine.begin, mine.end, step_.shared.normed);
    step_.pool.barrier(thread_);
    return step_.shared.normed;
  }

  RowBuffer quantized_attended() {
    RowBuffer out = step_.shared.attended;
    if (!step_.weights.any_quantized) return out;
    if (step_.redundant) {
      out.quantized = own_.attended.quantized;
      step_.quantize(out.values, heads_width_, 0, step_.rows, out);
      return out;
    }
    const Span1 mine = step_.rows_of(thread_);
    step_.quantize(out.values, heads_width_, mine.begin, mine.end, out);
    step_.pool.barrier(thread_);
    return out;
  }

  // Many rows: a thread takes tiles from the attention of one layer to the keys and values of the
  // next, which all rows need before the attention there begins.
  void run_by_rows() {
    const std::size_t layers = step_.weights.layers.size();
    for (std::size_t layer = 0; layer <= layers; ++layer) {
      step_.for_each_tile(layer, [&](RowRange tile) {
        if (layer > 0) attend_and_feed_forward(layer - 1, tile);
        if (layer < layers) prepare_attention(layer, tile);
      });
      step_.pool.barrier(thread_);
    }
  }

  void prepare_attention(std::size_t layer, RowRange tile) {
    const auto& w = step_.weights.layers[layer];
    step_.norm(w[kAttnNorm], tile.first, 0, tile.count, own_.normed);
    project_qkv(layer, tile, own_.normed, own_,
                {0, groups_of({&w[kQ].matrix, &w[kK].matrix, &w[kV].matrix})});
    step_.rotate_and_store(layer, tile.first, 0, tile.count, own_);
  }

  void attend_and_feed_forward(std::size_t layer, RowRange tile) {
    const auto& w = step_.weights.layers[layer];
    step_.attend_rows(layer, tile, own_.attended.values, thread_);
    step_.quantize(own_.attended.values, heads_width_, 0, tile.count, own_.attended);
    project_attended(layer, tile, own_.attended, {0, w[kAttnOut].matrix.groups});
    step_.norm(w[kFfnNorm], tile.first, 0, tile.count, own_.normed);
    gate_and_up(layer, tile.count, own_.normed, own_, {0, gate_units(layer)});
    project_down(layer, tile, own_.gate, {0, w[kDown].matrix.groups});
  }

  StepContext& step_;
  const int thread_;
  const Workspace& own_;
  const std::size_t channels_, heads_width_;
};

void run_layers(StepContext& step, int thread) { LlamaLayers(step, thread).run(); }

}  // namespace

const Family kLlamaFamily{"llama", read_gguf, layer_tensors, run_layers};

}  // namespace troupe::model
