#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <troupe/model/sampling/params.h>
#include <troupe/runtime/accelerator.h>

// Chooses a token from logits. A pure function: the draw depends on (seed, choice, absolute
// position) only, so the same request gives the same text on any machine, beside any other
// requests, and after any replay. These are its steps, each of which works on what the previous
//   step has left:
//   1. penalties:
//      repetition r, for every token of the prompt and the answer: logit / r if the logit is above
//      0, else logit * r;
//      then presence and frequency, for every token that occurs n > 0 times in the answer:
//      logit - (frequency * n + presence). The prompt does not count, as in OpenAI's definition
//   2. logit bias: logit + bias
//   3. temperature 0: the largest logit, and no further step
//   4. temperature: probabilities from logit / temperature
//   5. top-k: the k likeliest tokens
//   6. typical: the tokens whose surprise is nearest to the mean surprise, until their sum is
//      `typical`
//   7. top-p: the likeliest tokens, until their sum is top_p of what is left
//   8. min-p: the tokens with at least min_p times the probability of the likeliest that is left
//   9. the draw
// "Likeliest" is a total order: logit descending, then id ascending. No libm is used: bits are
// equal everywhere. Sources: Holtzman et al. 2020 (top-p), Meister et al. 2023 (typical), Keskar et
// al. 2019 (repetition), OpenAI's API reference (presence, frequency), Nguyen et al. 2024 (min-p).

namespace troupe::model {

// `position` is the absolute position of the token being chosen. `log` has all tokens before it,
// of which the first `prompt_tokens` are the prompt; only penalties look at them.
//   Errors: kBadData if a logit is NaN or a token of the log is not in the vocabulary;
//   kInvalidArgument if the params are not valid, or a bias is for a token outside the vocabulary.
Result<TokenId> sample(std::span<const float> logits, const SamplingParams& params,
                       std::uint64_t position, std::span<const TokenId> log = {},
                       std::size_t prompt_tokens = 0);

// Returns what sample() returns for params that want the best token (wants_best), from the best id
// that a stage has found. `position` is for the error.
//   Errors: kBadData if a logit is NaN, or if there are no logits.
Result<TokenId> sample_best(const BestLogit& best, std::uint64_t position);

}  // namespace troupe::model
