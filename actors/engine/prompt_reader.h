#pragma once

#include <memory>
#include <vector>

#include <troupe/actors/actors.h>
#include <troupe/model/chat/chat_template.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/runtime/status.h>

// Turns the prompt of a request into token ids, for an engine. Short texts take microseconds and
// are read in place; long ones have an actor of their own, so that no prompt holds up the answers
// that are under way.

namespace troupe::actors {

// What is needed to read a deployment's prompts.
struct PromptReading {
  std::shared_ptr<const model::Tokenizer> tokenizer;
  std::shared_ptr<const model::ChatTemplate> chat_template;  // null: the model has none
};

// True if the texts of a request are so long that they must not be read in place.
bool is_long(const Submit& submit);

// Returns the token ids of a request. `context` is the number of positions of the model's context:
// reading a text that is far too long for it stops as soon as that is known.
//   Errors: those of model::prompt_tokens.
Result<std::vector<model::TokenId>> read_prompt(const Submit& submit, const PromptReading& reading,
                                                std::size_t context);

// Spawns an actor that reads the prompts sent to it, one after the other, and sends each result to
// `engine`. It has a thread of its own, and ends when it is told to exit.
prompt_reader_actor spawn_prompt_reader(caf::actor_system& system, PromptReading reading,
                                        engine_actor engine);

}  // namespace troupe::actors
