#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <troupe/actors/troupe.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/params.h>
#include <troupe/runtime/status.h>

// Stands between the HTTP threads and the cluster: requests go in without waiting, and the tokens
// of all answers come out in batches. One actor takes the tokens of every request, so that what a
// step brings wakes the HTTP thread once. The only part of the room that sees CAF.

namespace troupe::http {

// One answer to compute. Its prompt is token ids, made once, so that every replay uses the same.
struct AnswerRequest {
  std::size_t model = 0;  // the number of earlier calls of open()
  std::vector<model::TokenId> prompt_ids;
  // Tokens that were accepted before: the events begin with the token after them.
  std::vector<model::TokenId> answer_ids;
  std::uint32_t max_tokens = 1;
  model::SamplingParams sampling;
  std::vector<std::string> stop;
  bool ignore_end = false;
  // These say which requests share keys and values, as in Submit.
  std::string asker, cache_salt;
  std::size_t public_ids = 0;
  // This is as in Submit. An answer that goes on after answer_ids does not report its prompt again.
  std::uint32_t prompt_logprobs = 0;
  int deadline_ms = 0;
  std::uint32_t weight = 1;  // as in Submit
  std::int32_t priority = 0;
};

// A token of an answer, or its end.
struct AnswerEvent {
  std::uint64_t answer = 0;
  bool ended = false;
  // A token:
  std::uint32_t index = 0;
  model::TokenId id = 0;
  std::string text;
  std::vector<model::TokenLogprob> logprobs;
  // The first token brings this, as in Token, or the end if there is no token.
  std::vector<std::vector<model::TokenLogprob>> prompt_logprobs;
  // An end:
  std::string finish_reason;  // "stop", "length", "cancelled" or "error"
  Status error;
  std::uint64_t tokens = 0;             // tokens that the answer has, the end token included
  std::uint64_t cached_tokens = 0;      // tokens of the prompt that had been computed before
  double queue_ms = 0, prefill_ms = 0;  // as in Finished
  std::uint32_t retry_after_ms = 0;     // as in Finished
};

class Gateway {
 public:
  // `wake` is called on an actor's thread when there are events and there were none before.
  Gateway(Cluster& cluster, std::function<void()> wake);
  ~Gateway();  // cancels what is under way

  // Loads a model; blocks until it is there. It gets the next index.
  //   Errors: those of Store::resolve and of the placement.
  Status open(const std::string& model);

  // Uses every model, so that the cluster keeps them, or loads them again. Never blocks.
  void keep_models();
  // Does what Cluster::status does, over the present connection. Blocks for up to 5 s.
  Result<ClusterStatus> status();

  // Asks for an answer. Never blocks. The events of the answer carry the number that is returned.
  std::uint64_t start(AnswerRequest request);
  // Ends the answer with "cancelled" if it is under way. Never blocks.
  void cancel(std::uint64_t answer);
  // Returns the events since the last call, in order.
  std::vector<AnswerEvent> take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace troupe::http
