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
  // A name in the store, a path to a GGUF file or a Hugging Face folder, model:HEX (the model's
  // id), or sha256:HEX (the hash of a whole file).
  std::string model;
  // The prompt: exactly one of these three is not empty.
  std::string prompt;                        // text; with the chat template as a user's message
  std::vector<model::ChatMessage> messages;  // a conversation, always with the chat template
  std::vector<model::TokenId> prompt_ids;    // token ids, taken as they are
  std::string system;                        // a system message before `prompt`; "" for none
  bool raw = false;                          // `prompt` without the chat template
  // Tokens of the answer to this prompt that were accepted earlier, if the answer was cut off: it
  // continues after them as if it had not been cut off. They count towards max_tokens and are in
  // the result. The events begin with the first new token, whose index is the number of earlier
  // ones.
  std::vector<model::TokenId> answer_ids;

  int max_tokens = 256;  // >= 1, or 0 (see prompt_logprobs)
  model::SamplingParams sampling;
  std::vector<std::string> stop;  // the text ends before the first of these
  bool trace = false;             // the result must say where the time went
  // Continue to max_tokens, even if the model writes an end token: for measurements.
  bool ignore_end = false;
  // The positions that prompt and answer may take; 0 means the model's own limit. If this request
  // places layers, they get memory for this number of positions (0: for 4096, or the model's own
  // limit).
  std::size_t context = 0;
  // Which node gets which layers, such as {0-9, 10-19, 20-29} in the order of `nodes`; if empty,
  // the coordinator decides.
  std::vector<model::LayerRange> layers;
  // The type in which keys and values are kept; if absent, f32 if the weights are F32, else f16.
  std::optional<kernels::KvType> kv_type;
  // Round hidden states to f16 after every layer, wherever the layer runs. This halves the bytes
  // between nodes. The bits differ from those without rounding, but do not depend on the split of
  // the layers.
  bool f16_activations = false;
  // Ask the first deployment of the model, not one of the replicas that a cluster makes if a model
  // fits several times, and make no replica.
  bool no_replicas = false;
  // Keys and values of prompts are shared among the requests of one client that have the same salt:
  // a prompt that begins like an earlier one is computed only from where they differ. The answers
  // are the same with and without sharing.
  std::string cache_salt;
  // If not 0: the result has the log-probability of every token of the prompt but the first, beside
  // those of this number of likeliest tokens (at most 20). max_tokens may then be 0: the prompt is
  // only scored.
  std::uint32_t prompt_logprobs = 0;
  // The next tokens of the answer are drafted, and computed in one step with the token before them.
  // The answer is the same with and without drafts.
  bool speculation = true;
  int deadline_ms = 0;  // of the whole call; 0 means ten minutes
  // Called a few times a second on the calling thread while the answer is awaited. If it returns
  // true, the answer ends, even before its first token. May be empty.
  std::function<bool()> stop_asked = {};
};

struct TokenEvent {
  model::TokenId id = 0;
  std::string text;       // whole UTF-8 characters that this token completed; may be empty
  std::size_t index = 0;  // 0 for the first token of the answer
  // If sampling.logprobs asks for them: the token's own log-probability, then those of the
  // likeliest tokens.
  std::vector<model::TokenLogprob> logprobs = {};
};
// Called on a thread of the library, one token after the other, never two at once for one call.
// Return false to cancel: the call then ends with finish_reason "cancelled", unless that token was
// its last. The callback must not call the Cluster and should be quick: it delays this request, but
// no other.
using TokenCallback = std::function<bool(const TokenEvent&)>;

struct StageReport {
  std::string node;    // its name
  std::string layers;  // "0-9"
};

// Where the time of one step of a request went, in microseconds. Stages measure how long a step
// waited for their device and how long it computed, each on its own clock; the rest of the time
// from sending the step to its answer was spent between them.
struct TraceStage {
  std::string name;  // "node-1 0-9": the node and its layers
  std::int64_t queue_us = 0, compute_us = 0;
};
struct TraceStep {
  std::size_t position = 0, rows = 0;         // of the request's own positions
  std::int64_t sent_us = 0, answered_us = 0;  // since the engine took the request
  bool lost = false;                          // a node was lost, and its rows were computed again
  std::vector<TraceStage> stages;             // in the order of the stages
};
struct AnswerTrace {
  std::uint64_t request = 0;   // its number in the logs of the head and the nodes
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
  // If finish_reason is "error": what happened and what to do. The fields above then hold what was
  // generated before that.
  Status error;
  // 0 if not known, such as the rate of an answer of one token, or all rates of an answer that was
  // cancelled before its first token.
  double prompt_tok_s = 0, decode_tok_s = 0, ttft_ms = 0;
  // Tokens of the prompt whose keys and values were there from earlier requests of the same asker.
  std::size_t cached_tokens = 0;
  // What GenerateRequest::prompt_logprobs asks for: of each token of the prompt from the second on,
  // its own log-probability, then those of the likeliest tokens there.
  std::vector<std::vector<model::TokenLogprob>> prompt_logprobs;
  std::vector<StageReport> nodes;
  std::string left_out;  // which nodes of the cluster took no part, and why; "" if there are none
  // If the head was lost meanwhile: the id by which the answer can be resumed (Cluster::resume).
  std::string stream;
  std::optional<AnswerTrace> trace;  // set if the request asked for it
};

}  // namespace troupe
