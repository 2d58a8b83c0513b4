#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include <troupe/model/training/network.h>
#include <troupe/runtime/kernels/column_sums.h>
#include <troupe/runtime/kernels/norm_backward.h>

namespace troupe::model {

// The loss's sum in the shape of every other one, in double precision.
struct Network::LossSum {
  double stack[kernels::kSumStackMax] = {};
  std::size_t depth = 0;

  void add(const SumPart& part, const float* losses) {
    for (const kernels::SumStep& step : part.steps) {
      double leaf = 0.0;
      for (std::size_t row = step.begin; row < step.end; ++row)
        leaf += static_cast<double>(losses[row]);
      if (step.adds) {
        stack[depth - 1] += leaf;
      } else {
        stack[depth++] = leaf;
      }
      for (std::uint32_t i = 0; i < step.merges; ++i, --depth) stack[depth - 2] += stack[depth - 1];
    }
  }
};

Network::Network(const ModelConfig& config, std::unique_ptr<StageWeights> weights, Device& device,
                 const NetworkOptions& options)
    : config_(config),
      options_(options),
      parameters_(config, std::move(weights), device.pool()),
      team_(device),
      rope_(rope_frequencies(config, parameters_.weights().ends[kRopeFactors].vector)) {}

Status Network::check(std::span<const Example> batch) const {
  bool is_supervised = !config_.causal;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const Example& example = batch[i];
    const auto bad = [&](const std::string& what) {
      return Status(Code::kInvalidArgument,
                    "example " + std::to_string(i + 1) + " of the batch " + what);
    };
    if (example.ids.empty()) return bad("has no tokens");
    if (example.ids.size() > config_.context_max)
      return bad("has " + std::to_string(example.ids.size()) + " tokens, but the model takes " +
                 std::to_string(config_.context_max) + "; shorten it with --max-length");
    for (const TokenId id : example.ids)
      if (id < 0 || static_cast<std::size_t>(id) >= config_.vocabulary)
        return bad("has the token id " + std::to_string(id) +
                   ", which is not in the vocabulary of " + std::to_string(config_.vocabulary));
    if (config_.causal && example.targets.size() != example.ids.size())
      return bad("has " + std::to_string(example.targets.size()) + " targets for " +
                 std::to_string(example.ids.size()) + " tokens");
    for (const TokenId id : example.targets) is_supervised |= id != kNoTarget;
    for (const TokenId id : example.targets)
      if (id != kNoTarget && (id < 0 || static_cast<std::size_t>(id) >= config_.vocabulary))
        return bad("has the target " + std::to_string(id) + ", which is not in the vocabulary of " +
                   std::to_string(config_.vocabulary));
    if (!example.types.empty() && example.types.size() != example.ids.size())
      return bad("has " + std::to_string(example.types.size()) + " token types for " +
                 std::to_string(example.ids.size()) + " tokens");
    for (const std::uint8_t type : example.types)
      if (type >= config_.token_types)
        return bad("has the token type " + std::to_string(type) + ", but the model has " +
                   std::to_string(config_.token_types));
    if (!config_.causal && example.label >= config_.labels)
      return bad("has label " + std::to_string(example.label) + ", but the model has " +
                 std::to_string(config_.labels) + " labels");
  }
  if (!is_supervised)
    return Status(Code::kInvalidArgument,
                  "no position of the batch's " + std::to_string(batch.size()) +
                      " examples has a target, so there is nothing to learn from them");
  return Status::ok();
}

BatchSums Network::gradients(std::span<const Example> batch) {
  return run(batch, Pass::kGradients, nullptr);
}
BatchSums Network::loss(std::span<const Example> batch) { return run(batch, Pass::kLoss, nullptr); }
std::vector<float> Network::logits(std::span<const Example> batch) {
  std::vector<float> logits;
  run(batch, Pass::kLogits, &logits);
  return logits;
}

BatchSums Network::run(std::span<const Example> batch, Pass pass, std::vector<float>* logits) {
  const BatchPlan plan(batch, config_);
  const std::size_t step =
      options_.micro_batch == 0 || logits != nullptr ? batch.size() : options_.micro_batch;
  std::vector<float> embedding_gradients;
  if (pass == Pass::kGradients) {
    std::size_t rows = 0;
    for (const Example& example : batch) rows += example.ids.size();
    embedding_gradients.resize(rows * config_.channels);
  }
  BatchSums sums;
  LossSum loss;
  std::size_t first_row = 0;
  for (std::size_t begin = 0; begin < batch.size(); begin += step) {
    const std::size_t end = std::min(batch.size(), begin + step);
    const MicroBatch micro(batch, begin, end, config_, plan);
    lay_out(micro, pass);
    if (pass == Pass::kGradients) {
      const std::size_t depth = std::max(
          {micro.all.depth_in, micro.all.depth_out, micro.first.depth_in, micro.first.depth_out,
           micro.supervised.depth_in, micro.supervised.depth_out, std::size_t{1}});
      for (Parameter& parameter : parameters_.all()) parameter.reserve(depth);
    }
    run_micro_batch(micro, pass, embedding_gradients.data() + first_row * config_.channels);
    first_row += micro.rows;
    sums.targets += micro.target_rows.size();
    if (logits != nullptr) *logits = dense_logits(micro);
    if (pass == Pass::kLogits) continue;
    loss.add(micro.supervised, head_step_->memory.losses);
    for (std::size_t i = 0; i < micro.target_rows.size(); ++i)
      sums.hits += head_step_->memory.hits[i];
  }
  sums.loss = loss.stack[0];
  if (pass == Pass::kGradients) add_embedding_gradients(batch, embedding_gradients);
  return sums;
}

// The logits lie in blocks of columns; these are the rows.
std::vector<float> Network::dense_logits(const MicroBatch& micro) const {
  const std::size_t rows = micro.target_rows.size(), outputs = config_.outputs();
  std::vector<float> logits(rows * outputs);
  for (std::size_t first = 0; first < outputs; first += kVocabularyBlock) {
    const std::size_t columns = std::min(kVocabularyBlock, outputs - first);
    for (std::size_t row = 0; row < rows; ++row)
      std::copy_n(head_step_->memory.logits + first * rows + row * columns, columns,
                  logits.data() + row * outputs + first);
  }
  return logits;
}

void Network::add_embedding_gradients(std::span<const Example> batch,
                                      std::span<const float> gradients) {
  const EmbeddingGradients from{gradients, batch, config_.channels};
  team_.pool.run([&](int thread) {
    const auto table = [&](std::size_t slot, EmbeddingTable which, bool add) {
      if (Parameter* found = parameters_.find(kNoLayer, slot); found != nullptr)
        embedding_gradient(from, which, add, *found, team_.pool, thread, team_.threads);
    };
    table(kTokenEmbedding, EmbeddingTable::kToken, config_.causal && config_.tied_embedding);
    table(kPositionEmbedding, EmbeddingTable::kPosition, false);
    table(kTypeEmbedding, EmbeddingTable::kType, false);
  });
}

float* Network::take(std::size_t floats) {
  float* here = base_ == nullptr ? nullptr : base_ + used_;
  used_ += (floats + 15) / 16 * 16;
  return here;
}

LayerActivations Network::make_activations(std::size_t layer, bool shared) {
  const std::size_t rows = layer_step_->rows_out(shared ? 0 : layer);
  const std::size_t width = config_.heads * config_.head_dim;
  LayerActivations keep;
  keep.q = take(rows * width);
  if (config_.head_norm) {
    keep.q_raw = take(rows * width);
    keep.k_raw = take(rows_ * config_.kv_heads * config_.head_dim);
  }
  keep.attended = take(rows * width);
  keep.middle = take(rows * config_.channels);
  keep.gate = take(rows * config_.ffn_channels);
  if (config_.feed_forward == FeedForward::kGatedSilu) keep.up = take(rows * config_.ffn_channels);
  if (config_.post_norm) keep.sum = take(rows * config_.channels);
  keep.pages = reinterpret_cast<std::byte*>(take(pages_bytes_ / sizeof(float)));
  return keep;
}

// The memory that layers use one after the other, and the head's.
void Network::lay_out_workspace(const MicroBatch& micro, bool backward) {
  const std::size_t channels = config_.channels, width = config_.heads * config_.head_dim;
  const std::size_t kv_width = config_.kv_heads * config_.head_dim;
  const std::size_t targets = micro.target_rows.size();
  LayerWorkspace& work = layer_step_->work;
  work.normed = take(rows_ * channels);
  work.first = take(micro.examples.size() * channels);
  work.first_normed = take(micro.examples.size() * channels);
  work.k = take(rows_ * kv_width);
  work.v = take(rows_ * kv_width);
  work.h = take(rows_ * config_.ffn_channels);
  work.dmiddle = take(rows_ * channels);
  HeadMemory& head = head_step_->memory;
  head.x = take(targets * channels);
  head.normed = take(targets * channels);
  head.logits = take(targets * config_.outputs());
  head.losses = take(targets);
  head.hits = reinterpret_cast<std::uint8_t*>(take((targets + 3) / 4));
  if (!backward) return;
  dx_ = take(rows_ * channels);
  work.dn = take(rows_ * channels);
  work.da = take(rows_ * width);
  work.dq = take(rows_ * width);
  work.dk = take(rows_ * width);
  work.dv = take(rows_ * width);
  work.mean = take(rows_ * config_.heads);
  work.inverse = take(rows_ * config_.heads);
  head.dnormed = take(targets * channels);
  head.mean = take(targets);
  head.inverse = take(targets);
}

void Network::lay_out(const MicroBatch& micro, Pass pass) {
  const std::size_t channels = config_.channels, width = config_.heads * config_.head_dim;
  rows_ = micro.rows;
  rope_.grow(micro.longest);
  page_bytes_ = kernels::kv_page_bytes(kernels::KvType::kF32, config_.kv_heads, config_.head_dim);
  page_offsets_.clear();
  pages_bytes_ = 0;
  for (const ExampleRows& example : micro.examples) {
    page_offsets_.emplace_back();
    for (std::size_t key = 0; key < example.count; key += kernels::kPageKeys) {
      page_offsets_.back().push_back(pages_bytes_);
      pages_bytes_ += page_bytes_;
    }
  }
  layer_step_ = std::make_unique<LayerStep>(
      LayerStep{config_, parameters_, team_, rope_, micro, {}, page_offsets_, page_bytes_});
  head_step_ = std::make_unique<HeadStep>(HeadStep{config_, parameters_, team_, micro, {}});
  const bool keeps = pass == Pass::kGradients && !options_.checkpointing;
  const bool backward = pass == Pass::kGradients;
  const auto lay_out = [&] {
    used_ = 0;
    activations_.assign(config_.layers, {});
    LayerActivations shared;
    if (!keeps) shared = make_activations(0, /*shared=*/true);
    for (std::size_t layer = 0; layer < config_.layers; ++layer)
      activations_[layer] = keeps ? make_activations(layer, false) : shared;
    float* turn[2] = {take(rows_ * channels), take(rows_ * channels)};
    for (std::size_t layer = 0; layer < config_.layers; ++layer)
      activations_[layer].x = backward && layer > 0 ? take(rows_ * channels) : turn[layer % 2];
    result_ = backward ? turn[1] : turn[config_.layers % 2];
    embedded_ = backward && config_.embedding_norm ? take(rows_ * channels) : nullptr;
    lay_out_workspace(micro, backward);
  };
  base_ = nullptr;
  lay_out();
  if (used_ * sizeof(float) > memory_.bytes()) {
    memory_ = {};
    memory_ = AlignedBuffer(used_ * sizeof(float));
  }
  base_ = reinterpret_cast<float*>(memory_.data());
  lay_out();
  team_.reserve(config_, rows_, micro.longest,
                std::max({channels, width, config_.ffn_channels, config_.labels,
                          std::min(config_.outputs(), kVocabularyBlock)}));
}

void Network::run_micro_batch(const MicroBatch& micro, Pass pass, float* embedding_gradients) {
  LayerStep& step = *layer_step_;
  HeadStep& head = *head_step_;
  team_.pool.run([&](int thread) {
    embed(micro, activations_[0].x, thread);
    for (std::size_t layer = 0; layer < config_.layers; ++layer) {
      float* out = layer + 1 < config_.layers ? activations_[layer + 1].x : result_;
      layer_forward(step, layer, activations_[layer], out, thread);
    }
    if (config_.outputs() != 0) head_forward(head, result_, thread);
    if (pass == Pass::kLogits) return;
    cross_entropy(head, pass == Pass::kGradients, thread);
    if (pass == Pass::kLoss) return;
    head_backward(head, dx_, thread);
    for (std::size_t layer = config_.layers; layer-- > 0;) {
      if (options_.checkpointing) layer_forward(step, layer, activations_[layer], result_, thread);
      layer_backward(step, layer, activations_[layer], dx_, thread);
    }
    embed_backward(micro, dx_, embedding_gradients, thread);
  });
}

// x = E[token] (+ T[type]) (+ P[position]), normed if the model does so, as in TransformerStage.
void Network::embed(const MicroBatch& micro, float* x, int thread) {
  const auto& ends = parameters_.weights().ends;
  const std::size_t channels = config_.channels;
  float* part = team_.scratch(thread);
  const auto add = [&](const Weight& table, std::size_t index, float* to) {
    kernels::unpack_row(table.matrix, index, part);
    for (std::size_t c = 0; c < channels; ++c) to[c] += part[c];
  };
  const IndexRange mine = team_.share(micro.examples.size(), thread);
  for (std::size_t e = mine.begin; e < mine.end; ++e) {
    const ExampleRows& rows = micro.examples[e];
    for (std::size_t position = 0; position < rows.count; ++position) {
      float* to = x + (rows.first_row + position) * channels;
      kernels::unpack_row(ends[kTokenEmbedding].matrix,
                          static_cast<std::size_t>(rows.example->ids[position]), to);
      if (config_.token_types > 0)
        add(ends[kTypeEmbedding], rows.example->types.empty() ? 0 : rows.example->types[position],
            to);
      if (config_.learned_positions) add(ends[kPositionEmbedding], position, to);
    }
  }
  team_.barrier(thread);
  if (!config_.embedding_norm) return;
  const IndexRange range = team_.share(micro.rows, thread);
  if (embedded_ != nullptr)
    std::copy(x + range.begin * channels, x + range.end * channels,
              embedded_ + range.begin * channels);
  if (range.begin < range.end)
    team_.kernels.layer_norm(x, ends[kEmbeddingNorm].vector.data(),
                             ends[kEmbeddingNormBias].vector.data(), config_.norm_epsilon, channels,
                             range.begin, range.end, x);
  team_.barrier(thread);
}

// out = the gradients of the sums of embeddings.
void Network::embed_backward(const MicroBatch& micro, float* dx, float* out, int thread) {
  const std::size_t channels = config_.channels;
  const IndexRange mine = team_.share(micro.rows, thread);
  if (!config_.embedding_norm) {
    std::copy(dx + mine.begin * channels, dx + mine.end * channels, out + mine.begin * channels);
    return team_.barrier(thread);
  }
  const LayerWorkspace& work = layer_step_->work;
  kernels::layer_norm_backward(embedded_, parameters_.weights().ends[kEmbeddingNorm].vector.data(),
                               dx, config_.norm_epsilon, channels, mine.begin, mine.end, false,
                               work.mean, work.inverse, out);
  team_.barrier(thread);
  const IndexRange blocks = team_.share((channels + 15) / 16, thread);
  const std::size_t begin = blocks.begin * 16, end = std::min(blocks.end * 16, channels);
  kernels::normed_column_sums(dx, embedded_, work.mean, work.inverse, channels,
                              parameters_.find(kNoLayer, kEmbeddingNorm)->sum(micro.all), begin,
                              end);
  kernels::column_sums(dx, channels, parameters_.find(kNoLayer, kEmbeddingNormBias)->sum(micro.all),
                       begin, end);
  team_.barrier(thread);
}

}  // namespace troupe::model
