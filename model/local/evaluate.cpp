#include <algorithm>
#include <string>
#include <utility>

#include <troupe/model/local/evaluate.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/sampler.h>

namespace troupe::model {
namespace {

// The rows of a scored step, whose logits all lie in memory at once.
constexpr std::size_t kScoredChunk = 64;

Status check_whole(const Stage& stage) {
  if (stage.range() == LayerRange{0, stage.config().layers}) return Status::ok();
  return Status(Code::kInvalidArgument, "this needs a whole model, but the stage has layers " +
                                            to_string(stage.range()) + " of " +
                                            std::to_string(stage.config().layers));
}

Status check_decoder(const Stage& stage) {
  TROUPE_RETURN_IF_ERROR(check_whole(stage));
  if (stage.config().causal) return Status::ok();
  return Status(Code::kInvalidArgument, "the model is an encoder (" + stage.config().family +
                                            "), which predicts no next token");
}

// Appends `ids` to the sequence in chunks. `output` is that of the last chunk.
Status feed(Stage& stage, KvSequence& sequence, std::span<const TokenId> ids, std::size_t chunk,
            StepOutput* output) {
  for (std::size_t begin = 0; begin < ids.size(); begin += chunk) {
    const std::size_t count = std::min(chunk, ids.size() - begin);
    const bool last = begin + count == ids.size();
    const Segment segment{&sequence, sequence.length(), count,
                          last ? LogitRows::kLast : LogitRows::kNone};
    TROUPE_RETURN_IF_ERROR(stage.forward({{&segment, 1}, ids.subspan(begin, count), {}}, output));
  }
  return Status::ok();
}

Result<double> window_nll(Stage& stage, std::span<const TokenId> ids) {
  const auto sequence = stage.new_sequence();
  const std::size_t vocabulary = stage.config().vocabulary;
  StepOutput output;
  double sum = 0.0;
  // The last token is only predicted, never fed.
  const std::size_t fed = ids.size() - 1;
  for (std::size_t begin = 0; begin < fed; begin += kScoredChunk) {
    const std::size_t count = std::min(kScoredChunk, fed - begin);
    const Segment segment{sequence.get(), begin, count, LogitRows::kAll};
    TROUPE_RETURN_IF_ERROR(stage.forward({{&segment, 1}, ids.subspan(begin, count), {}}, &output));
    const std::span<const float> logits = output.logits;
    for (std::size_t row = 0; row < count; ++row)
      sum -= log_probability(logits.subspan(row * vocabulary, vocabulary), ids[begin + row + 1]);
  }
  return sum / static_cast<double>(fed);
}

// Checks that the model can take `ids` as a sequence.
Status check_ids(const ModelConfig& config, std::span<const TokenId> ids,
                 std::span<const std::uint8_t> token_types) {
  const auto refuse = [](const std::string& why) { return Status(Code::kInvalidArgument, why); };
  if (ids.empty()) return refuse("there are no token ids");
  if (!token_types.empty() && token_types.size() != ids.size())
    return refuse(std::to_string(ids.size()) + " tokens came with " +
                  std::to_string(token_types.size()) + " token types");
  if (ids.size() > config.context_max)
    return refuse(std::to_string(ids.size()) + " tokens do not fit into the model's context of " +
                  std::to_string(config.context_max));
  return Status::ok();
}

}  // namespace

Result<Generation> generate(Stage& whole_model, std::span<const TokenId> prompt,
                            const GenerateOptions& options) {
  TROUPE_RETURN_IF_ERROR(check_decoder(whole_model));
  TROUPE_RETURN_IF_ERROR(validate(options.sampling));
  if (prompt.empty()) return Status(Code::kInvalidArgument, "the prompt is empty; give some text");
  const auto sequence = whole_model.new_sequence();
  Generation generation;
  StepOutput output;
  std::span<const TokenId> next = prompt;
  while (generation.token_ids.size() < options.tokens_max && !generation.ended) {
    TROUPE_RETURN_IF_ERROR(feed(whole_model, *sequence, next,
                                std::max<std::size_t>(1, options.prompt_chunk), &output));
    TROUPE_ASSIGN_OR_RETURN(const TokenId id,
                            sample(output.logits, options.sampling, sequence->length()));
    generation.token_ids.push_back(id);
    generation.ended = std::find(options.end_tokens.begin(), options.end_tokens.end(), id) !=
                       options.end_tokens.end();
    next = {&generation.token_ids.back(), 1};
  }
  return generation;
}

Result<std::vector<float>> sequence_logits(Stage& whole_model, std::span<const TokenId> ids,
                                           std::span<const std::uint8_t> token_types,
                                           std::size_t chunk) {
  TROUPE_RETURN_IF_ERROR(check_whole(whole_model));
  const ModelConfig& config = whole_model.config();
  if (config.outputs() == 0)
    return Status(Code::kInvalidArgument, "the model has no classification head, so no logits");
  TROUPE_RETURN_IF_ERROR(check_ids(config, ids, token_types));
  if (!config.causal) chunk = ids.size();
  const auto sequence = whole_model.new_sequence();
  std::vector<float> logits;
  StepOutput output;
  for (std::size_t begin = 0; begin < ids.size(); begin += chunk) {
    const std::size_t count = std::min(chunk, ids.size() - begin);
    const Segment segment{sequence.get(), begin, count, LogitRows::kAll};
    const auto types = token_types.empty() ? token_types : token_types.subspan(begin, count);
    TROUPE_RETURN_IF_ERROR(
        whole_model.forward({{&segment, 1}, ids.subspan(begin, count), {}, types}, &output));
    logits.insert(logits.end(), output.logits.begin(), output.logits.end());
  }
  return logits;
}

Result<std::vector<float>> sequence_hidden(Stage& whole_model, std::span<const TokenId> ids,
                                           std::span<const std::uint8_t> token_types) {
  TROUPE_RETURN_IF_ERROR(check_whole(whole_model));
  const ModelConfig& config = whole_model.config();
  if (config.outputs() != 0)
    return Status(Code::kInvalidArgument, "the model has a head: its results are logits");
  TROUPE_RETURN_IF_ERROR(check_ids(config, ids, token_types));
  const auto sequence = whole_model.new_sequence();
  const Segment segment{sequence.get(), 0, ids.size(), LogitRows::kNone};
  StepOutput output;
  TROUPE_RETURN_IF_ERROR(whole_model.forward({{&segment, 1}, ids, {}, token_types}, &output));
  return std::move(output.hidden);
}

Result<Perplexity> perplexity(Stage& whole_model, std::span<const TokenId> ids, std::size_t window,
                              std::size_t windows) {
  TROUPE_RETURN_IF_ERROR(check_decoder(whole_model));
  if (window < 2 || windows < 1)
    return Status(Code::kInvalidArgument,
                  "perplexity needs at least 1 window of at least 2 tokens");
  if (ids.size() / window < windows)
    return Status(Code::kInvalidArgument, "the text has " + std::to_string(ids.size()) +
                                              " tokens, too few for " + std::to_string(windows) +
                                              " windows of " + std::to_string(window));
  Perplexity result;
  double sum = 0.0;
  for (std::size_t i = 0; i < windows; ++i) {
    TROUPE_ASSIGN_OR_RETURN(const double nll,
                            window_nll(whole_model, ids.subspan(i * window, window)));
    result.window_nll.push_back(nll);
    sum += nll;
  }
  result.mean_nll = sum / static_cast<double>(windows);
  return result;
}

}  // namespace troupe::model
