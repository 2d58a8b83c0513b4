#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <troupe/actors/http/generation_ask.h>
#include <troupe/actors/http/served_models.h>

// What the pool made of a request's body (prepare.h). Its prompts are ids, fixed once: an answer
// that is computed again, also by a later process, begins with the same. Plain values.

namespace troupe::http {

struct PreparedAsk {
  GenerationAsk ask;
  ServedModelPtr model;
  std::vector<std::vector<model::TokenId>> prompts;
  std::vector<std::size_t> public_ids;    // how many ids at the beginning of each prompt are public
  std::vector<std::string> prompt_texts;  // for echo
};

}  // namespace troupe::http
