#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/chat/chat_template.h>
#include <troupe/model/config/layer_range.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/params.h>
#include <troupe/runtime/kernels/kv_page.h>
#include <troupe/runtime/status.h>

// One request for an answer, its tokens as they come, and the result. Plain values.

namespace troupe {

// One prompt and how to continue it.
struct GenerateRequest {
  // A name in the store, a path to a GGUF file or a Hugging Face folder, or sha256:HEX of a whole
  // file.
  std::string model;
  // The prompt: exactly one of these three is not empty.
  std::string prompt;                        // text; with the chat template as a user's message
  std::vector<model::ChatMessage> messages;  // a conversation, always with the chat template
  std::vector<model::TokenId> prompt_ids;    // token ids, taken as they are
  std::string system;                        // a system message before `prompt`; "" for none
  bool raw = false;                          // `prompt` without the chat template
  // Tokens of this prompt's answer that were accepted before, for an answer that was cut off: it
  // goes on after them as if it had not been. They count in max_tokens and are in the result;
  // events begin with the first new one, whose index is their number.
  std::vector<model::TokenId> answer_ids;

  int max_tokens = 256;  // >= 1
  model::SamplingParams sampling;
  std::vector<std::string> stop;  // the text ends before the first of these
  bool trace = false;             // the result says where the time went
  // Go on to max_tokens, whatever end the model writes: for measurements.
  bool ignore_end = false;
  // Positions that prompt and answer may take; 0: the model's own limit. Layers that this request
  // places get memory for as many (0: for 4096, or the model's own).
  std::size_t context = 0;
  // Which node gets which layers, e.g. {0-9, 10-19, 20-29} in the order of `nodes`; empty: the
  // coordinator decides.
  std::vector<model::LayerRange> layers;
  // How keys and values are kept; absent: f32 when the weights are F32, else f16.
  std::optional<kernels::KvType> kv_type;
  // Round hidden states to f16 after every layer, wherever it runs: half the bytes between nodes,
  // and other bits than without it, but the same however the layers are split.
  bool f16_activations = false;
  // Ask the first deployment of the model, not one of the replicas that a cluster makes where a
  // model fits several times, and make none.
  bool no_replicas = false;
  // Keys and values of prompts are shared among the requests of one asker that have the same salt:
  // a prompt that begins as an earlier one did is computed from where they differ. The answers are
  // the same with and without.
  std::string cache_salt;
  int deadline_ms = 0;  // of the whole call; 0: ten minutes
  // Asked a few times a second while the answer is awaited, on the calling thread: true ends it,
  // also before its first token. May be empty.
  std::function<bool()> stop_asked = {};
};

struct TokenEvent {
  model::TokenId id = 0;
  std::string text;       // whole UTF-8 characters that this token completed; may be empty
  std::size_t index = 0;  // 0 for the first token of the answer
  // Where sampling.logprobs asks for them: the token's own log-probability, then those of the
  // likeliest tokens.
  std::vector<model::TokenLogprob> logprobs = {};
};
// Called on a thread of the library, one token after the other, never two at once for one call.
// Return false to cancel: the call then ends with finish_reason "cancelled", unless that token
// was its last. Must not call back into the Cluster from here and should be quick: it holds back
// this request, no other.
using TokenCallback = std::function<bool(const TokenEvent&)>;

struct StageReport {
  std::string node;    // its name
  std::string layers;  // "0-9"
};

// Where the time of one step of a request went, in microseconds. Stages measure how long a step
// waited for their device and how long it computed, each on its own clock; what is left of the time
// from sending the step to its answer was spent between them.
struct TraceStage {
  std::string name;  // "node-1 0-9": the node and its layers
  std::int64_t queue_us = 0, compute_us = 0;
};
struct TraceStep {
  std::size_t position = 0, rows = 0;         // of the request's own positions
  std::int64_t sent_us = 0, answered_us = 0;  // since the engine took the request
  bool lost = false;                          // with a node: its rows were computed again
  std::vector<TraceStage> stages;             // in their order
};
struct AnswerTrace {
  std::uint64_t request = 0;   // as the logs of the head and the nodes call it
  std::int64_t open_us = 0;    // until the model was loaded
  std::int64_t engine_us = 0;  // from when the engine took the request to its end
  std::int64_t total_us = 0;   // of the whole call
  std::vector<TraceStep> steps;
};

struct GenerateResult {
  std::string text;                       // without the end token's markup
  std::vector<model::TokenId> token_ids;  // with the end token
  std::vector<model::TokenId> prompt_token_ids;
  std::string finish_reason;  // "stop", "length", "cancelled" (by the caller) or "error"
  // When finish_reason is "error": what happened and what to do; the fields above hold what was
  // generated until then.
  Status error;
  // 0: not known, as the rate of an answer of one token, or all of one that was cancelled before
  // it.
  double prompt_tok_s = 0, decode_tok_s = 0, ttft_ms = 0;
  // Tokens of the prompt whose keys and values were there from earlier requests of the same asker.
  std::size_t cached_tokens = 0;
  std::vector<StageReport> nodes;
  std::string left_out;  // which nodes of the cluster took no part, and why; "" if there are none
  // When the head was lost on the way: by this id, the answer can be resumed (Cluster::resume).
  std::string stream;
  std::optional<AnswerTrace> trace;  // of a request that asked for it
};

}  // namespace troupe
