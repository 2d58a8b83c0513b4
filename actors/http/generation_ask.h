#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <troupe/model/sampling/params.h>

// What a request to /v1/chat/completions, /v1/completions or /v1/chat/completions/render asks for,
// as plain values. field_table.h says which fields there are. Pure.

namespace troupe::http {

enum class AskKind { kChat, kCompletion };

using PromptForm = std::variant<std::string, std::vector<model::TokenId>>;

struct GenerationAsk {
  AskKind kind = AskKind::kChat;
  std::string model;
  std::string messages_json;        // chat: a JSON list that the template reads
  std::string variables_json;       // chat: further names of the template; "" for none
  std::vector<PromptForm> prompts;  // completion: at least one
  std::size_t n = 1;                // answers to each prompt
  std::optional<std::uint64_t> seed;
  std::optional<std::uint64_t> max_tokens, max_completion_tokens;
  bool stream = false, include_usage = false;
  bool echo = false;
  bool logprobs = false;
  std::optional<std::size_t> top_logprobs;
  bool ignore_end = false;
  bool add_generation_prompt = true;
  std::vector<std::string> stop;
  std::string cache_salt;          // "" for none
  std::int32_t priority = 0;       // a request of a smaller number goes first
  model::SamplingParams sampling;  // without seed, choice and logprobs

  // True if the tokens of the prompt come with their log-probabilities.
  bool scores_prompt() const { return echo && logprobs; }
  // Returns how many likely tokens the engine reports beside each token. It reports nothing about a
  // token alone.
  std::uint32_t reported() const {
    return static_cast<std::uint32_t>(std::max<std::size_t>(1, top_logprobs.value_or(0)));
  }
};

// Bounds beyond which a request makes no sense.
constexpr std::size_t kChoicesMax = 128;  // n times the number of prompts
constexpr std::size_t kStopsMax = 16, kStopBytesMax = 1024;
constexpr std::size_t kSaltBytesMax = 256;
constexpr std::size_t kMessagesMax = 10'000;
constexpr std::size_t kPromptsMax = 128;
constexpr std::size_t kTokensMax = std::size_t{1} << 24;  // n * max_tokens
constexpr std::size_t kScoresMax = std::size_t{1} << 20;  // log-probabilities of prompts, in all

}  // namespace troupe::http
