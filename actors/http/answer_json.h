#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/actors/http/generation_ask.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/tokenizer/tokenizer.h>

// Answers as OpenAI's clients read them: whole objects, and the chunks of a stream. Pure.

namespace troupe::http {

// What all objects of one answer have in common.
struct AnswerHead {
  AskKind kind = AskKind::kChat;
  std::string id;  // "chatcmpl-..."
  std::int64_t created_s = 0;
  std::string model, fingerprint;
  std::uint64_t seed = 0;
};

struct Usage {
  std::uint64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
};

// Log-probabilities of tokens that belong to one piece of text, as JSON fragments.
class LogprobList {
 public:
  explicit LogprobList(AskKind kind) : kind_(kind) {}
  // Adds a token. `logprobs` has the token itself, then the likeliest ones; `text_offset` is the
  // number of characters of the text before it.
  void add(const model::Tokenizer& tokenizer, const std::vector<model::TokenLogprob>& logprobs,
           std::size_t text_offset);
  // For completions: adds the tokens of a prompt, the first of which has nothing before it.
  // `scores` has those from the second token on, each as in add() and cut to `top` likeliest ones.
  void add_prompt(const model::Tokenizer& tokenizer, const std::vector<model::TokenId>& ids,
                  std::string_view text,
                  const std::vector<std::vector<model::TokenLogprob>>& scores, std::size_t top);
  bool empty() const { return count_ == 0; }
  std::string json() const;
  void clear();

 private:
  // Adds a token, without a log-probability if `logprobs` is empty.
  void add_to_columns(const model::Tokenizer& tokenizer, model::TokenId id,
                      std::span<const model::TokenLogprob> logprobs, std::size_t text_offset);
  AskKind kind_;
  std::size_t count_ = 0;
  std::string entries_;                             // chat
  std::string tokens_, logprobs_, tops_, offsets_;  // completions
};

struct ChoiceJson {
  std::size_t index = 0;
  std::string_view text;
  std::string logprobs;       // JSON; "" for null
  std::string finish_reason;  // "" for null
};

std::string usage_json(const Usage& usage);
// The whole answer.
std::string answer_json(const AnswerHead& head, const std::vector<ChoiceJson>& choices,
                        const Usage& usage);
// Returns a chunk of one choice. `begins`: it has the role and the seed. `null_usage`: the stream
// ends with a usage chunk, and clients expect the field in every one.
std::string chunk_json(const AnswerHead& head, const ChoiceJson& choice, bool begins,
                       bool null_usage);
// Returns the chunk without choices before the end of a stream.
std::string usage_chunk_json(const AnswerHead& head, const Usage& usage);

}  // namespace troupe::http
