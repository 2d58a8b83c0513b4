#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/trace.h>
#include <troupe/actors/messages/types.h>
#include <troupe/model/config/layer_range.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/params.h>
#include <troupe/model/store/manifest.h>
#include <troupe/runtime/kernels/kv_page.h>
#include <troupe/runtime/status.h>

// Client to head: open a model, submit prompts, get tokens. `request` is the client's own number;
// answers carry it back.

namespace troupe::actors {

// How messages say in which type keys and values are kept, and whether hidden states are rounded to
// f16. 0, or a code that is not known, means the model's own type and no rounding.
constexpr std::uint8_t kF16ActivationsCode = 4;
inline std::uint8_t kv_code(std::optional<kernels::KvType> type, bool f16_activations = false) {
  const int kv = !type ? 0 : *type == kernels::KvType::kF16 ? 1 : 2;
  return static_cast<std::uint8_t>(kv | (f16_activations ? kF16ActivationsCode : 0));
}
inline std::optional<kernels::KvType> kv_type_of(std::uint8_t code) {
  if ((code & 3) == 1) return kernels::KvType::kF16;
  if ((code & 3) == 2) return kernels::KvType::kF32;
  return std::nullopt;
}
inline bool f16_activations_of(std::uint8_t code) { return (code & kF16ActivationsCode) != 0; }

struct OpenModel {
  static constexpr MessageType kType = MessageType::kOpenModel;
  std::uint64_t request = 0;
  // The model's id, also as model:HEX. Without a manifest also sha256:HEX, the hash of a whole file
  // in the head's own store.
  std::string model;
  bool has_manifest = false;  // the client holds the file and serves its parts
  model::Manifest manifest;
  std::vector<std::uint32_t> layer_begins,
      layer_ends;             // an explicit split; the head plans if empty
  std::uint8_t kv = 0;        // kv_code
  bool alone = false;         // use only the first deployment, not its replicas
  std::uint64_t context = 0;  // positions to make room for when it is placed; 0: the usual number
  template <class A>
  void serialize(A& a) {
    a(request, model, has_manifest, manifest, layer_begins, layer_ends, kv, alone, context);
  }
};
// Returns the split that a message asks for.
//   Errors: kInvalidArgument (its begins and ends are not pairs).
inline Result<std::vector<model::LayerRange>> layer_ranges_of(const OpenModel& open) {
  if (open.layer_begins.size() != open.layer_ends.size()) {
    return Status(Code::kInvalidArgument, "the layer ranges are not pairs");
  }
  std::vector<model::LayerRange> ranges;
  for (std::size_t i = 0; i < open.layer_begins.size(); ++i) {
    ranges.push_back({open.layer_begins[i], open.layer_ends[i]});
  }
  return ranges;
}
inline void set_layer_ranges(const std::vector<model::LayerRange>& ranges, OpenModel* open) {
  open->layer_begins.clear();
  open->layer_ends.clear();
  for (const model::LayerRange& range : ranges) {
    open->layer_begins.push_back(static_cast<std::uint32_t>(range.begin));
    open->layer_ends.push_back(static_cast<std::uint32_t>(range.end));
  }
}

struct StageName {
  std::string node, layers;
  template <class A>
  void serialize(A& a) {
    a(node, layers);
  }
};
struct ModelReady {
  static constexpr MessageType kType = MessageType::kModelReady;
  std::uint64_t request = 0;
  Outcome outcome;
  std::uint64_t deployment = 0;  // the deployment's id, which stays the same when its layers move
  std::vector<StageName> stages;
  std::uint32_t arithmetic = 0;  // the version by which the deployment computes
  std::string left_out;          // which nodes of the cluster it does without, and why; "" for none
  template <class A>
  void serialize(A& a) {
    a(request, outcome, deployment, stages, arithmetic, left_out);
  }
};

struct ChatTurn {
  std::string role, content;
  template <class A>
  void serialize(A& a) {
    a(role, content);
  }
};
// The log-probabilities that one request may ask for, of all ids of its prompt together: they
// travel in one message, and an engine keeps them until the prompt is computed.
constexpr std::size_t kPromptLogprobsMax = std::size_t{1} << 18;

struct Submit {
  static constexpr MessageType kType = MessageType::kSubmit;
  std::uint64_t request = 0;
  std::uint64_t deployment = 0;  // the one that ModelReady named
  std::string prompt;
  std::vector<ChatTurn> messages;
  std::vector<model::TokenId> prompt_ids;
  std::vector<model::TokenId> answer_ids;  // accepted earlier: the answer continues after them
  std::string system;
  bool raw = false;
  std::uint32_t max_tokens = 0;
  model::SamplingParams sampling;
  std::vector<std::string> stop;
  bool ignore_end = false;    // continue after the model's end token
  std::uint64_t context = 0;  // 0 means the model's own
  std::uint32_t deadline_ms = 0;
  // A name, chosen by the client, by which the answer can be resumed after the head was away.
  // Without a name, the answer cannot be resumed.
  std::string stream;
  bool trace = false;  // Finished should say where the time went
  // The arithmetic version by which answer_ids were computed; 0 if they are the asker's own. The
  // engine ends an answer of another version than its own, with the text of answer_ids.
  std::uint32_t arithmetic = 0;
  // Keys and values are shared among the requests of one asker with one salt. Those of the first
  // `public_ids` ids of the prompt, which are not secret, are shared among all requests without a
  // salt. A client that asks for several users names each in `asker`; "" is the client itself.
  std::string asker, cache_salt;
  std::uint32_t public_ids = 0;
  // If this is not 0, the answer begins with the log-probability of every id of the prompt but the
  // first, beside those of this number of likeliest ids. max_tokens may then be 0.
  std::uint32_t prompt_logprobs = 0;
  bool no_speculation = false;  // one token per step: for measurements
  // How large the asker's share of the deployment is beside those of others, from 1 to 100, and
  // which requests go first: those of a smaller number, from -9 to 9. Jobs have the number 10.
  std::uint32_t weight = 1;
  std::int32_t priority = 0;
  // The identity of the client. The head fills it in; it does not travel.
  std::string owner = {};
  // Whose share of the deployment the request takes; "" means the share of this owner's `asker`.
  // Like `owner`, it does not travel.
  std::string sharer = {};
  template <class A>
  void serialize(A& a) {
    a(request, deployment, prompt, messages, prompt_ids, answer_ids, system, raw, max_tokens,
      sampling, stop, ignore_end, context, deadline_ms, stream, trace, arithmetic, asker,
      cache_salt, public_ids, prompt_logprobs, no_speculation, weight, priority);
  }
};
struct Cancel {
  static constexpr MessageType kType = MessageType::kCancel;
  std::uint64_t request = 0;
  template <class A>
  void serialize(A& a) {
    a(request);
  }
};
struct Token {
  std::uint64_t request = 0;
  std::uint32_t index = 0;
  model::TokenId id = 0;
  std::string text;
  std::vector<model::TokenLogprob>
      logprobs;  // this token's, then the likeliest; empty if not asked
  // The first token of an answer brings what Submit.prompt_logprobs asked for: of each id of the
  // prompt from the second on, its own log-probability and then those of the likeliest.
  std::vector<std::vector<model::TokenLogprob>> prompt_logprobs = {};
  template <class A>
  void serialize(A& a) {
    a(request, index, id, text, logprobs, prompt_logprobs);
  }
};
// Tokens of any of one client's requests, sent together.
struct Tokens {
  static constexpr MessageType kType = MessageType::kTokens;
  std::vector<Token> tokens;
  template <class A>
  void serialize(A& a) {
    a(tokens);
  }
};
struct Finished {
  static constexpr MessageType kType = MessageType::kFinished;
  std::uint64_t request = 0;
  std::string finish_reason;  // stop, length, cancelled, error
  Outcome outcome;            // for "error", the reason
  std::string text;           // the whole answer; the tokens' joined texts are a prefix of it
  std::vector<model::TokenId> prompt_ids;
  std::vector<model::TokenId> token_ids;
  double prompt_tok_s = 0, decode_tok_s = 0, ttft_ms = 0;
  RequestTrace trace;
  std::uint32_t cached_tokens = 0;  // ids of the prompt that had been computed before
  // The time until the first step with its rows was sent, and from there to the first token. 0 if
  // that did not happen.
  double queue_ms = 0, prefill_ms = 0;
  // This is as in Token, for an answer that ends without a token.
  std::vector<std::vector<model::TokenLogprob>> prompt_logprobs = {};
  // If the request was refused because there is no place for it: the time until there is one, as
  // far as can be foreseen. 0: not known, or it is not a matter of time.
  std::uint32_t retry_after_ms = 0;
  template <class A>
  void serialize(A& a) {
    a(request, finish_reason, outcome, text, prompt_ids, token_ids, prompt_tok_s, decode_tok_s,
      ttft_ms, trace, cached_tokens, queue_ms, prefill_ms, prompt_logprobs, retry_after_ms);
  }
};
// Returns the end of a request that failed before it had a token.
inline Finished failed_request(std::uint64_t request, const Status& why) {
  Finished finished;
  finished.request = request;
  finished.finish_reason = "error";
  finished.outcome = why;
  return finished;
}

// Status of the cluster for people and scripts.
struct StatusQuery {
  static constexpr MessageType kType = MessageType::kStatusQuery;
  std::uint64_t request = 0;
  template <class A>
  void serialize(A& a) {
    a(request);
  }
};
struct StatusReply {
  static constexpr MessageType kType = MessageType::kStatusReply;
  std::uint64_t request = 0;
  std::string json;
  template <class A>
  void serialize(A& a) {
    a(request, json);
  }
};

}  // namespace troupe::actors
