#include <algorithm>
#include <bit>
#include <cstring>

#include <troupe/model/step.h>
#include <troupe/model/transformer.h>

namespace troupe::model {
namespace {

bool all_finite(std::span<const float> values) {
  unsigned found = 0;
  for (const float value : values)
    found |= (std::bit_cast<std::uint32_t>(value) & 0x7f800000u) == 0x7f800000u;
  return found == 0;
}

Status invalid(const std::string& what) { return Status(Code::kInvalidArgument, what); }

class TransformerStage final : public Stage {
 public:
  TransformerStage(const ModelConfig& config, const Family& family,
                   std::unique_ptr<StageWeights> weights, Device& device,
                   const StageOptions& options)
      : config_(config),
        family_(family),
        weights_(std::move(weights)),
        device_(device),
        kv_pool_(std::make_shared<KvPool>(options.kv_type, weights_->layers.size(), config.kv_heads,
                                          config.head_dim, options.kv_bytes_max)),
        step_(config_, *weights_, device, options.kv_type) {}

  const ModelConfig& config() const override { return config_; }
  LayerRange range() const override { return weights_->range; }
  std::uint64_t weights_bytes() const override { return weights_->bytes; }
  std::unique_ptr<KvSequence> new_sequence() const override {
    return std::make_unique<PagedKvSequence>(kv_pool_);
  }

  Status forward(const StepInput& input, StepOutput* output) override {
    TROUPE_ASSIGN_OR_RETURN(const std::size_t rows, check_rows(input));
    TROUPE_RETURN_IF_ERROR(reserve(input));
    run(input, rows, output);
    for (const StepSegment& segment : step_.segments) segment.sequence->commit();
    return Status::ok();
  }

 private:
  bool is_first() const { return weights_->range.begin == 0; }
  bool is_last() const { return weights_->range.end == config_.layers; }

  // The number of rows, once everything about the values given is known to fit.
  Result<std::size_t> check_rows(const StepInput& input) const {
    std::size_t rows = 0;
    for (const Segment& segment : input.segments) {
      if (segment.count == 0) return invalid("a segment of a step has no rows");
      if (segment.position >= config_.context_max ||
          segment.count > config_.context_max - segment.position)
        return invalid("positions " + std::to_string(segment.position) + " to " +
                       std::to_string(segment.position + segment.count - 1) +
                       " do not fit into the model's context of " +
                       std::to_string(config_.context_max) + "; shorten the prompt");
      rows += segment.count;
    }
    if (rows == 0) return invalid("a step has no rows");
    if (is_first()) {
      if (input.token_ids.size() != rows)
        return invalid("a step of " + std::to_string(rows) + " rows came with " +
                       std::to_string(input.token_ids.size()) + " token ids");
      for (const TokenId id : input.token_ids)
        if (id < 0 || static_cast<std::size_t>(id) >= config_.vocabulary)
          return invalid("token id " + std::to_string(id) + " is not in the vocabulary of " +
                         std::to_string(config_.vocabulary));
    } else {
      if (input.hidden.size() != rows * config_.channels)
        return invalid("a step of " + std::to_string(rows) + " rows came with " +
                       std::to_string(input.hidden.size()) + " hidden values instead of " +
                       std::to_string(rows * config_.channels));
      if (!all_finite(input.hidden)) return invalid("the hidden states of a step hold a NaN");
    }
    return rows;
  }

  // Fills step_.segments and takes the pages of every sequence, or of none.
  Status reserve(const StepInput& input) {
    std::vector<StepSegment>& segments = step_.segments;
    segments.clear();
    Status failed;
    std::size_t row = 0;
    for (const Segment& segment : input.segments) {
      auto* sequence = dynamic_cast<PagedKvSequence*>(segment.sequence);
      if (sequence == nullptr || sequence->pool() != kv_pool_.get()) {
        failed = invalid("a sequence of a step belongs to another stage");
      } else if (sequence->reserved() != 0) {
        failed = invalid("a sequence occurs twice in a step");
      } else if (sequence->length() != segment.position) {
        failed = invalid("a segment begins at position " + std::to_string(segment.position) +
                         ", but its sequence has " + std::to_string(sequence->length()));
      } else if (!sequence->reserve(segment.count)) {
        failed = Status(Code::kResourceExhausted,
                        "no memory for the keys and values of " + std::to_string(segment.count) +
                            " more positions (" + std::to_string(kv_pool_->bytes()) +
                            " bytes are in use, the limit is " +
                            (kv_pool_->bytes_max() == 0 ? "the machine's memory"
                                                        : std::to_string(kv_pool_->bytes_max())) +
                            "); end other requests or shorten the prompt");
      }
      if (!failed.is_ok()) {
        for (const StepSegment& reserved : segments) reserved.sequence->cancel();
        return failed;
      }
      segments.push_back({sequence, segment.position, segment.count, row});
      row += segment.count;
    }
    return Status::ok();
  }

  // The rows whose logits are asked for.
  void gather_logit_rows(const StepInput& input) {
    logit_rows_.clear();
    if (!is_last()) return;
    std::size_t row = 0;
    for (const Segment& segment : input.segments) {
      row += segment.count;
      const std::size_t wanted = segment.logits == LogitRows::kAll    ? segment.count
                                 : segment.logits == LogitRows::kLast ? 1
                                                                      : 0;
      for (std::size_t i = row - wanted; i < row; ++i) logit_rows_.push_back(i);
    }
  }

  void run(const StepInput& input, std::size_t rows, StepOutput* output) {
    gather_logit_rows(input);
    std::size_t keys = 0;
    for (const StepSegment& segment : step_.segments)
      keys = std::max(keys, segment.position + segment.count);
    step_.prepare(rows, keys, logit_rows_.size());
    if (!is_first()) std::memcpy(step_.x, input.hidden.data(), input.hidden.size_bytes());
    // Every element is written; shrinking and growing within the capacity costs nothing.
    output->hidden.resize(is_last() ? 0 : rows * config_.channels);
    output->logits.resize(logit_rows_.size() * config_.vocabulary);
    float* logits = output->logits.data();
    device_.pool().run([&](int thread) {
      if (is_first()) embed(input.token_ids, thread);
      family_.run_layers(step_, thread);
      if (!logit_rows_.empty()) compute_logits(logits, thread);
    });
    if (!is_last())
      std::memcpy(output->hidden.data(), step_.x, output->hidden.size() * sizeof(float));
  }

  void embed(std::span<const TokenId> ids, int thread) {
    const Span1 mine = step_.rows_of(thread);
    for (std::size_t row = mine.begin; row < mine.end; ++row)
      kernels::unpack_row(weights_->embedding.matrix, static_cast<std::size_t>(ids[row]),
                          step_.x + row * config_.channels);
    device_.pool().barrier(thread);
  }

  void compute_logits(float* logits, int thread) {
    const RowBuffer& input = step_.logit_input;
    const Span1 mine = split(logit_rows_.size(), thread, step_.threads);
    for (std::size_t i = mine.begin; i < mine.end; ++i) {
      RowBuffer row = input;
      row.values += i * config_.channels;
      step_.kernels.rms_norm(step_.x + logit_rows_[i] * config_.channels,
                             weights_->output_norm.vector.data(), config_.norm_epsilon,
                             config_.channels, 0, 1, row.values);
    }
    step_.quantize(input.values, config_.channels, mine.begin, mine.end, input);
    device_.pool().barrier(thread);
    const kernels::PackedMatrix& matrix = weights_->output_matrix(config_);
    step_.multiply(input, config_.channels, logit_rows_.size(), {{&matrix, logits}},
                   split(matrix.groups, thread, step_.threads));
  }

  const ModelConfig config_;
  const Family& family_;
  const std::unique_ptr<StageWeights> weights_;
  Device& device_;
  const std::shared_ptr<KvPool> kv_pool_;
  StepContext step_;
  std::vector<std::size_t> logit_rows_;
};

}  // namespace

Result<std::unique_ptr<Stage>> Stage::load(const TensorSource& source, const ModelConfig& config,
                                           LayerRange range, Device& device,
                                           const StageOptions& options) {
  const Family* family = find_family(config.family);
  if (family == nullptr) return invalid("there is no model family \"" + config.family + "\"");
  if (range.begin >= range.end || range.end > config.layers)
    return invalid("layers " + to_string(range) + " are not in the model, which has layers 0-" +
                   std::to_string(config.layers - 1));
  TROUPE_ASSIGN_OR_RETURN(auto weights,
                          load_weights(source, *family, config, range, device.pool()));
  return std::unique_ptr<Stage>(
      std::make_unique<TransformerStage>(config, *family, std::move(weights), device, options));
}

std::vector<std::string> tensors_of(const GgufHeader&, const ModelConfig& config,
                                    LayerRange range) {
  std::vector<std::string> names;
  if (const Family* family = find_family(config.family))
    for (TensorSpec& spec : stage_tensors(*family, config, range))
      names.push_back(std::move(spec.name));
  return names;
}

std::uint64_t tensor_bytes_of(const GgufHeader& header, const ModelConfig& config,
                              LayerRange range) {
  std::uint64_t sum = 0;
  for (const std::string& name : tensors_of(header, config, range))
    if (const TensorInfo* info = header.tensor(name)) sum += info->bytes;
  return sum;
}

}  // namespace troupe::model
