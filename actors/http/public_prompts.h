#pragma once

#include <vector>

#include <troupe/actors/http/served_models.h>
#include <troupe/actors/troupe/serve.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/status.h>

// Prompts that are not secret: requests of every key find the keys and values that a request of any
// key computed for them. load_models() asks for them once for each model. Pure.

namespace troupe::http {

// Returns the token ids with which prompts begin that use a shared prompt: as the beginning of a
// plain text, and, if the model has a chat template, as the system message of a chat.
//   Errors: kInvalidArgument (names the shared prompt: its text is empty, not UTF-8 or as long as
//   the context, or the template takes no system message).
Result<std::vector<std::vector<model::TokenId>>> public_prompts(
    const ServedModelCard& model, const std::vector<SharedPrompt>& shared);

}  // namespace troupe::http
