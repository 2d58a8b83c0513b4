#pragma once

#include <string>
#include <vector>

#include <troupe/actors/http/served_models.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/status.h>

// Prompts that are no secret: what requests of any key compute of them, others find. Pure.

namespace troupe::http {

// How prompts begin that have one of `texts` as their system message, or that begin with it as
// plain text, in token ids.
//   Errors: kInvalidArgument (a text that is empty or longer than the context, or a template that
//   takes no system message).
Result<std::vector<std::vector<model::TokenId>>> public_prompts(
    const ServedModelCard& model, const std::vector<std::string>& texts);

}  // namespace troupe::http
