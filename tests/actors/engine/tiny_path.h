#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/actors/engine/engine_state.h>
#include <troupe/actors/node/sampled_rows.h>
#include <troupe/actors/node/scored_rows.h>
#include <troupe/actors/node/worker.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/tests/model/tokenizer/letter_tokenizer.h>
#include <troupe/tests/model/transformer/memory_model.h>

// A tiny model as the only stage of an engine's decider, without actors: it does with a step what a
// worker does, and collects the events of each request.

namespace troupe::actors {

struct TinyPath {
  TinyPath() : device(model::test::make_device(1)) {
    config = model::test::odd_config();
    config.vocabulary = 97;  // the letter tokenizer's end token is out of reach
    model.emplace(model::test::random_model(config, quant::Type::kQ4_1, quant::Type::kF32));
    lose_everything();
  }
  // Admits a step. Returns the stage's answer if it has no memory for the step's blocks, or no
  // place for its rows.
  std::optional<StepFailed> admit(const Step& step) {
    auto admitted = worker->admit(step);
    if (admitted) {
      sequences = std::move(*admitted);
      return std::nullopt;
    }
    INFO(admitted.message());
    ++failed;
    StepFailed out;
    for (const StepSegment& segment : step.segments) out.requests.push_back(segment.request);
    out.outcome = admitted.status();
    out.no_memory = admitted.code() == Code::kResourceExhausted;
    return out;
  }
  StepDone run(const Step& step) {
    const auto refused = admit(step);
    INFO((refused ? refused->outcome.text : ""));
    REQUIRE_FALSE(refused);
    return compute(step);
  }
  // Computes the rows of the step that was admitted last.
  StepDone compute(const Step& step) {
    std::vector<model::Segment> segments;
    for (std::size_t i = 0; i < step.segments.size(); ++i) {
      const StepSegment& s = step.segments[i];
      segments.push_back({sequences[i].get(), s.position, s.count,
                          is_scored(s) || s.drafted > 0 ? model::LogitRows::kAll
                          : s.sample                    ? model::LogitRows::kLast
                                                        : model::LogitRows::kNone});
      rows += s.count;
    }
    model::StepInput input;
    input.segments = segments;
    input.token_ids = step.token_ids;
    model::StepOutput output;
    if (!segments.empty()) REQUIRE(stage->forward(input, &output).is_ok());
    StepDone done;
    std::span<const model::TokenId> ids(step.token_ids);
    for (std::size_t i = 0, row = 0; i < step.segments.size(); ++i) {
      const StepSegment& s = step.segments[i];
      const auto own_ids = ids.first(s.count);
      ids = ids.subspan(s.count);
      if (is_scored(s)) {
        const std::span<const float> all(output.logits.data() + row * config.vocabulary,
                                         s.count * config.vocabulary);
        auto scored = score_rows(s, own_ids, all, device->pool());
        REQUIRE(scored.is_ok());
        scored_rows += scored->logprobs.size();
        done.scored.push_back(std::move(*scored));
        row +=
            s.count - (s.sample ? s.drafted + 1 : 0);  // the code below samples from the last rows
      }
      if (!s.sample) continue;
      const std::size_t sampled = s.drafted + 1;
      const std::span<const float> logits(output.logits.data() + row * config.vocabulary,
                                          sampled * config.vocabulary);
      row += sampled;
      const auto log = worker->log(s.request, s.position + s.count);
      REQUIRE(log.is_ok() == s.sampling.has_penalties());
      REQUIRE(
          sample_rows(s, own_ids, logits, log ? *log : std::vector<model::TokenId>(), &done.tokens)
              .is_ok());
    }
    return done;
  }
  // Returns the memory of one block in all layers.
  std::uint64_t block_bytes() const {
    return config.layers *
           kernels::kv_page_bytes(kernels::KvType::kF32, config.kv_heads, config.head_dim);
  }
  // Does what loading the layers on another node does: the stage holds nothing. It has memory for
  // this number of blocks; 0 means no bound.
  void lose_everything(std::size_t blocks_max = 0) {
    model::StageOptions options;
    options.kv_bytes_max = blocks_max * block_bytes();
    options.kv_type = kernels::KvType::kF32;
    sequences.clear();
    worker.reset();
    stage = model::test::load_stage(model->source, config, {0, config.layers}, *device, options);
    worker.emplace(stage);
  }

  std::unique_ptr<Device> device;
  model::ModelConfig config;
  std::optional<model::test::Model> model;
  std::shared_ptr<model::Stage> stage;
  std::optional<WorkerState> worker;
  std::vector<std::shared_ptr<model::KvSequence>> sequences;  // of the step
  std::size_t rows = 0, scored_rows = 0;  // rows that were computed; rows that were scored
  std::size_t failed = 0;                 // steps without memory
};

inline EngineState new_engine(const EngineLimits& limits) {
  return {limits, std::make_shared<LetterTokenizer>()};
}

// What was said about a request.
struct ToldAnswer {
  std::vector<model::TokenId> ids;  // of the events
  std::vector<std::uint32_t> indices;
  std::vector<model::TokenLogprob> logprobs;
  std::vector<std::vector<model::TokenLogprob>> prompt_logprobs;
  std::string text;
  std::optional<Finished> finished;

  // Adds what was said about the same request later.
  void append(const ToldAnswer& rest) {
    ids.insert(ids.end(), rest.ids.begin(), rest.ids.end());
    indices.insert(indices.end(), rest.indices.begin(), rest.indices.end());
    logprobs.insert(logprobs.end(), rest.logprobs.begin(), rest.logprobs.end());
    text += rest.text;
    finished = rest.finished;
  }
};

// True if two lists have the same tokens, and log-probabilities with the same bits.
inline bool same_bits(const std::vector<model::TokenLogprob>& a,
                      const std::vector<model::TokenLogprob>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& one, const auto& other) {
    return one.id == other.id && std::memcmp(&one.logprob, &other.logprob, sizeof one.logprob) == 0;
  });
}

// Requires that both have ended with the same tokens, text and log-probabilities.
inline void require_same(const ToldAnswer& got, const ToldAnswer& expected) {
  REQUIRE(got.finished);
  REQUIRE(expected.finished);
  CHECK(got.ids == expected.ids);
  CHECK(got.indices == expected.indices);
  CHECK(got.text == expected.text);
  CHECK(got.finished->text == expected.finished->text);
  CHECK(got.finished->token_ids == expected.finished->token_ids);
  CHECK(got.finished->finish_reason == expected.finished->finish_reason);
  CHECK(same_bits(got.logprobs, expected.logprobs));
}

inline void note_events(const std::vector<EngineEvent>& events,
                        std::map<std::uint64_t, ToldAnswer>* seen) {
  for (const EngineEvent& event : events) {
    ToldAnswer& one = (*seen)[event.request];
    if (event.token) {
      one.ids.push_back(event.token->id);
      one.indices.push_back(event.token->index);
      one.logprobs.insert(one.logprobs.end(), event.token->logprobs.begin(),
                          event.token->logprobs.end());
      one.text += event.token->text;
      if (!event.token->prompt_logprobs.empty()) {
        one.prompt_logprobs = event.token->prompt_logprobs;
      }
    }
    if (!event.finished) continue;
    one.finished = event.finished;
    if (!event.finished->prompt_logprobs.empty()) {
      one.prompt_logprobs = event.finished->prompt_logprobs;
    }
  }
}

}  // namespace troupe::actors
