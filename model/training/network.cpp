#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include <troupe/model/training/network.h>
#include <troupe/model/training/row_losses.h>
#include <troupe/runtime/kernels/column_sums.h>
#include <troupe/runtime/kernels/norm_backward.h>

namespace troupe::model {

// The sum of the loss has the shape of every other sum, in double precision.
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
      parameters_(config, std::move(weights), device.pool(), options.keeps_formats),
      team_(device),
      rope_(rope_frequencies(config, parameters_.weights().ends[kRopeFactors].vector)) {
  if (Parameter* table = parameters_.find(kNoLayer, kTokenEmbedding); table != nullptr)
    table->is_looked_up = !has_tied_head(config_);
}

Status Network::check(std::span<const Example> batch) const {
  const bool has_targets = config_.has_row_logits() && !pools();
  bool is_supervised = !has_targets;
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
    if (has_targets && example.targets.size() != example.ids.size())
      return bad("has " + std::to_string(example.targets.size()) + " targets for " +
                 std::to_string(example.ids.size()) + " tokens");
    for (const TokenId id : example.targets) is_supervised |= id != kNoTarget;
    for (const TokenId id : example.targets)
      if (id != kNoTarget && (id < 0 || static_cast<std::size_t>(id) >= config_.outputs()))
        return bad("has the target " + std::to_string(id) + ", but the model has " +
                   std::to_string(config_.outputs()) +
                   (config_.gives_tokens() ? " tokens" : " labels"));
    if (!example.types.empty() && example.types.size() != example.ids.size())
      return bad("has " + std::to_string(example.types.size()) + " token types for " +
                 std::to_string(example.ids.size()) + " tokens");
    for (const std::uint8_t type : example.types)
      if (type >= config_.token_types)
        return bad("has the token type " + std::to_string(type) + ", but the model has " +
                   std::to_string(config_.token_types));
    if (!config_.has_row_logits() && !pools() && example.label >= config_.labels)
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
  return run(batch, Pass::kGradients, {});
}
BatchSums Network::loss(std::span<const Example> batch) { return run(batch, Pass::kLoss, {}); }

std::vector<double> Network::example_losses(std::span<const Example> batch) {
  std::vector<double> losses;
  run(batch, Pass::kLoss, {nullptr, &losses});
  return losses;
}

std::vector<float> Network::pooled(std::span<const Example> batch) {
  std::vector<float> means;
  run(batch, Pass::kLoss, {nullptr, nullptr, &means});
  return means;
}

void Network::pooled_gradients(std::span<const Example> batch, std::span<const float> dpooled) {
  run(batch, Pass::kGradients, {nullptr, nullptr, nullptr, dpooled.data()});
}

std::vector<float> Network::logits(std::span<const Example> batch) {
  std::vector<float> logits;
  run(batch, Pass::kLogits, {&logits, nullptr});
  return logits;
}

BatchSums Network::run(std::span<const Example> batch, Pass pass, const Wanted& wanted) {
  const BatchPlan plan(batch, config_);
  const std::size_t step =
      options_.micro_batch == 0 || wanted.logits != nullptr ? batch.size() : options_.micro_batch;
  std::vector<float> embedding_gradients;
  const bool embeds = pass == Pass::kGradients && trains_embeddings();
  if (embeds) {
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
      for (Parameter* parameter : parameters_.trained()) parameter->reserve(depth);
    }
    if (teacher_ != nullptr && pass != Pass::kLogits && !pools())
      head_step_->teacher_logits = teacher_->micro_logits(micro);
    run_micro_batch(micro, pass,
                    wanted.dpooled == nullptr ? nullptr : wanted.dpooled + begin * config_.channels,
                    embeds ? embedding_gradients.data() + first_row * config_.channels : nullptr);
    first_row += micro.rows;
    sums.targets += micro.target_rows.size();
    for (const std::size_t target : micro.targets)
      sums.divisor += options_.loss.class_weights.empty()
                          ? 1.0
                          : static_cast<double>(options_.loss.class_weights[target]);
    if (wanted.logits != nullptr) *wanted.logits = dense_logits(micro);
    if (wanted.pooled != nullptr)
      wanted.pooled->insert(wanted.pooled->end(), memory_.head.x,
                            memory_.head.x + micro.examples.size() * config_.channels);
    if (pass == Pass::kLogits || pools()) continue;
    loss.add(micro.supervised, head_step_->memory.losses);
    if (wanted.example_losses != nullptr) add_example_losses(micro, wanted.example_losses);
    for (std::size_t i = 0; i < micro.target_rows.size(); ++i)
      sums.hits += head_step_->memory.hits[i];
  }
  sums.loss = loss.stack[0];
  if (embeds) add_embedding_gradients(batch, embedding_gradients);
  return sums;
}

void Network::add_example_losses(const MicroBatch& micro, std::vector<double>* losses) const {
  const float* row = head_step_->memory.losses;
  std::size_t at = 0;
  for (const ExampleRows& example : micro.examples) {
    // Each example of a classifier of texts has exactly one row, so that the two lists run side by
    // side.
    const auto is_own = [&](std::size_t i) {
      return config_.has_row_logits() ? micro.target_rows[i] < example.first_row + example.count
                                      : &example == &micro.examples[i];
    };
    double sum = 0.0;
    for (; at < micro.target_rows.size() && is_own(at); ++at) sum += static_cast<double>(row[at]);
    losses->push_back(sum);
  }
}

// Puts the columns of each row together, because the logits lie in blocks of columns (team.h).
std::vector<float> Network::dense_logits(const MicroBatch& micro) const {
  const std::size_t rows = micro.target_rows.size(), outputs = config_.outputs();
  std::vector<float> logits(rows * outputs);
  const std::size_t block = logit_block(config_);
  for (std::size_t first = 0; first < outputs; first += block) {
    const std::size_t columns = std::min(block, outputs - first);
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
      if (Parameter* found = parameters_.trained(kNoLayer, slot); found != nullptr)
        embedding_gradient(from, which, add, *found, team_.pool, thread, team_.threads);
    };
    table(kTokenEmbedding, EmbeddingTable::kToken, has_tied_head(config_));
    table(kPositionEmbedding, EmbeddingTable::kPosition, false);
    table(kTypeEmbedding, EmbeddingTable::kType, false);
  });
}

bool Network::trains_embeddings() {
  const auto trains = [&](std::size_t slot) {
    return parameters_.trained(kNoLayer, slot) != nullptr;
  };
  // The gradient of a tied matrix is the sum of the head's part and the embedding's.
  return trains(kTokenEmbedding) || trains(kPositionEmbedding) || trains(kTypeEmbedding) ||
         trains(kEmbeddingNorm) || trains(kEmbeddingNormBias);
}

std::size_t Network::first_trained_layer() {
  for (std::size_t layer = 0; layer < config_.layers; ++layer) {
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
      const bool is_trained = parameters_.trained(layer, slot) != nullptr;
      if (is_trained || parameters_.adapter(layer, slot) != nullptr) return layer;
    }
  }
  return config_.layers;
}

bool Network::needs_all_logits(Pass pass) {
  return pass == Pass::kLogits || teacher_ != nullptr ||
         (pass == Pass::kGradients &&
          parameters_.trained(kNoLayer, output_slot(config_)) != nullptr);
}

void Network::lay_out(const MicroBatch& micro, Pass pass) {
  rope_.grow(micro.longest);
  StepShape shape;
  shape.backward = pass == Pass::kGradients;
  shape.keeps = shape.backward && !options_.checkpointing;
  shape.rank = parameters_.rank_max();
  shape.drops = shape.backward && options_.dropout.rate > 0.0;
  shape.needs_all_logits = needs_all_logits(pass);
  const std::size_t bytes = lay_out_step(config_, micro, shape, nullptr, &memory_) * sizeof(float);
  if (bytes > buffer_.bytes()) {
    buffer_ = {};
    buffer_ = AlignedBuffer(bytes);
  }
  lay_out_step(config_, micro, shape, reinterpret_cast<float*>(buffer_.data()), &memory_);
  layer_step_ = std::make_unique<LayerStep>(
      LayerStep{config_, parameters_, team_, rope_, micro, memory_.work, memory_.page_offsets,
                memory_.page_bytes, first_trained_layer(), trains_embeddings(),
                shape.drops ? &options_.dropout : nullptr});
  head_step_ = std::make_unique<HeadStep>(
      HeadStep{config_, parameters_, team_, micro, options_.loss, memory_.head});
  team_.reserve(config_, micro.rows, micro.longest, shape.rank,
                parameters_.quantized_floats_max(kVocabularyBlock));
}

float* Network::micro_logits(const MicroBatch& micro) {
  lay_out(micro, Pass::kLogits);
  run_micro_batch(micro, Pass::kLogits, nullptr, nullptr);
  return memory_.head.logits;
}

void Network::run_head(Pass pass, const float* dpooled, int thread) {
  HeadStep head = *head_step_;  // each thread walks over the slices
  if (pools()) {
    pool_forward(head, memory_.result, thread);
    if (pass == Pass::kGradients) pool_backward(head, dpooled, memory_.dx, thread);
    return;
  }
  if (config_.outputs() == 0) return;
  const std::size_t targets = head.batch.target_rows.size();
  const std::size_t rows = slice_rows(config_, targets, needs_all_logits(pass));
  std::size_t begin = 0;
  do {  // runs once even if there is no target, so that dx becomes zero
    head.slice = {begin, std::min(begin + rows, targets)};
    head_forward(head, memory_.result, thread);
    if (pass == Pass::kLogits) break;
    row_losses(head, pass == Pass::kGradients, thread);
    if (pass == Pass::kGradients) head_backward(head, memory_.dx, thread);
    begin += rows;
  } while (begin < targets);
}

void Network::run_micro_batch(const MicroBatch& micro, Pass pass, const float* dpooled,
                              float* embedding_gradients) {
  LayerStep& step = *layer_step_;
  team_.pool.run([&](int thread) {
    embed(micro, memory_.activations[0].x, thread);
    for (std::size_t layer = 0; layer < config_.layers; ++layer) {
      float* out = layer + 1 < config_.layers ? memory_.activations[layer + 1].x : memory_.result;
      layer_forward(step, layer, memory_.activations[layer], out, thread);
    }
    run_head(pass, dpooled, thread);
    if (pass != Pass::kGradients) return;
    const std::size_t last = step.trains_embeddings ? 0 : step.first_trained;
    for (std::size_t layer = config_.layers; layer-- > last;) {
      if (options_.checkpointing)
        layer_forward(step, layer, memory_.activations[layer], memory_.result, thread);
      layer_backward(step, layer, memory_.activations[layer], memory_.dx, thread);
    }
    if (step.trains_embeddings) embed_backward(micro, memory_.dx, embedding_gradients, thread);
  });
}

// x = E[token] (+ T[type]) (+ P[position]), normed if the model does so, as in the CPU's stage
// (transformer/cpu_stage.cpp).
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
  if (memory_.embedded != nullptr)
    std::copy(x + range.begin * channels, x + range.end * channels,
              memory_.embedded + range.begin * channels);
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
  kernels::layer_norm_backward(
      memory_.embedded, parameters_.weights().ends[kEmbeddingNorm].vector.data(), dx,
      config_.norm_epsilon, channels, mine.begin, mine.end, false, work.mean, work.inverse, out);
  team_.barrier(thread);
  const IndexRange blocks = team_.share((channels + 15) / 16, thread);
  const std::size_t begin = blocks.begin * 16, end = std::min(blocks.end * 16, channels);
  kernels::normed_column_sums(dx, memory_.embedded, work.mean, work.inverse, channels,
                              parameters_.find(kNoLayer, kEmbeddingNorm)->sum(micro.all), begin,
                              end);
  kernels::column_sums(dx, channels, parameters_.find(kNoLayer, kEmbeddingNormBias)->sum(micro.all),
                       begin, end);
  team_.barrier(thread);
}

}  // namespace troupe::model
