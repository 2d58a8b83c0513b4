#include <algorithm>
#include <chrono>
#include <vector>

#include <troupe/model/local/bench.h>

namespace troupe::model {
namespace {

using Clock = std::chrono::steady_clock;

Status step(Stage& stage, KvSequence& sequence, std::span<const TokenId> ids, StepOutput* output) {
  const Segment segment{&sequence, sequence.length(), ids.size(), LogitRows::kLast};
  return stage.forward({{&segment, 1}, ids, {}}, output);
}

// Returns tokens per second since `begin`.
double rate(std::size_t tokens, Clock::time_point begin) {
  return static_cast<double>(tokens) / std::chrono::duration<double>(Clock::now() - begin).count();
}

Status check(const Stage& stage, std::size_t positions, std::size_t repeats) {
  const ModelConfig& config = stage.config();
  if (stage.range() != LayerRange{0, config.layers})
    return Status(
        Code::kInvalidArgument,
        "a measurement needs a whole model, but the stage has layers " + to_string(stage.range()));
  if (!config.causal)
    return Status(Code::kInvalidArgument,
                  "the model is an encoder (" + config.family +
                      "), which generates no tokens that could be measured");
  if (positions == 0 || repeats == 0)
    return Status(Code::kInvalidArgument,
                  "a measurement needs at least 1 prompt token, 1 decode step and 1 repeat");
  if (positions > config.context_max)
    return Status(Code::kInvalidArgument,
                  "the model's context of " + std::to_string(config.context_max) +
                      " is too short for a measurement of " + std::to_string(positions) +
                      " positions; give smaller --prompt and --decode");
  return Status::ok();
}

// Runs one step of one row for every sequence, all at `position`.
Status step_all(Stage& stage, std::span<const std::unique_ptr<KvSequence>> sequences,
                std::size_t position, StepOutput* output) {
  std::vector<Segment> segments;
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    segments.push_back({sequences[i].get(), position, 1, LogitRows::kLast});
    ids.push_back(bench_token(i + position, stage.config().vocabulary));
  }
  return stage.forward({segments, ids, {}}, output);
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

TokenId bench_token(std::size_t i, std::size_t vocabulary) {
  return static_cast<TokenId>(((i * 7919 + 13) % 30000 + 100) % vocabulary);
}

Result<BenchResult> run_bench(Stage& whole_model, std::size_t prompt, std::size_t decode,
                              std::size_t repeats) {
  if (prompt == 0 || decode == 0) repeats = 0;  // check() then says what is wrong
  TROUPE_RETURN_IF_ERROR(check(whole_model, std::max(prompt, decode + 1), repeats));
  const ModelConfig& config = whole_model.config();
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < prompt; ++i) ids.push_back(bench_token(i, config.vocabulary));
  const auto sequence = whole_model.new_sequence();
  StepOutput output;
  TROUPE_RETURN_IF_ERROR(step(whole_model, *sequence,
                              std::span(ids).first(std::min<std::size_t>(32, prompt)), &output));
  std::vector<double> prompt_rates, decode_rates;
  for (std::size_t repeat = 0; repeat < repeats; ++repeat) {
    sequence->truncate(0);
    auto begin = Clock::now();
    TROUPE_RETURN_IF_ERROR(step(whole_model, *sequence, ids, &output));
    prompt_rates.push_back(rate(prompt, begin));
    sequence->truncate(0);
    TokenId one = bench_token(0, config.vocabulary);
    TROUPE_RETURN_IF_ERROR(step(whole_model, *sequence, {&one, 1}, &output));
    begin = Clock::now();
    for (std::size_t i = 0; i < decode; ++i) {
      one = bench_token(i, config.vocabulary);
      TROUPE_RETURN_IF_ERROR(step(whole_model, *sequence, {&one, 1}, &output));
    }
    decode_rates.push_back(rate(decode, begin));
  }
  BenchResult result;
  result.prompt_tok_s_median = median(prompt_rates);
  result.prompt_tok_s_best = *std::max_element(prompt_rates.begin(), prompt_rates.end());
  result.decode_tok_s_median = median(decode_rates);
  result.decode_tok_s_best = *std::max_element(decode_rates.begin(), decode_rates.end());
  return result;
}

Result<std::vector<BatchRate>> run_batch_bench(Stage& whole_model,
                                               std::span<const std::size_t> sizes,
                                               std::size_t decode, std::size_t repeats) {
  TROUPE_RETURN_IF_ERROR(check(whole_model, decode == 0 ? 0 : kBatchWarmUp + decode, repeats));
  std::vector<BatchRate> result;
  StepOutput output;
  for (const std::size_t size : sizes) {
    if (size == 0) return Status(Code::kInvalidArgument, "a batch of 0 sequences measures nothing");
    std::vector<std::unique_ptr<KvSequence>> sequences;
    for (std::size_t i = 0; i < size; ++i) sequences.push_back(whole_model.new_sequence());
    std::vector<double> rates;
    for (std::size_t repeat = 0; repeat < repeats; ++repeat) {
      for (const auto& sequence : sequences) sequence->truncate(0);
      for (std::size_t i = 0; i < kBatchWarmUp; ++i)
        TROUPE_RETURN_IF_ERROR(step_all(whole_model, sequences, i, &output));
      const auto begin = Clock::now();
      for (std::size_t i = 0; i < decode; ++i)
        TROUPE_RETURN_IF_ERROR(step_all(whole_model, sequences, kBatchWarmUp + i, &output));
      rates.push_back(rate(size * decode, begin));
    }
    result.push_back({size, median(rates)});
  }
  return result;
}

}  // namespace troupe::model
