#pragma once

#include <vector>

#include <troupe/actors/engine/engine_state.h>

// An answer that an earlier run began and that this one cannot continue: the text that is known is
// sent again, and then the reason why the answer ends. Pure; called by the engine.

namespace troupe::actors {

// Returns why an answer that was begun under arithmetic version `begun` ends under version `ours`.
Status other_arithmetic(std::uint32_t begun, std::uint32_t ours);

// Returns the events of such an answer: every token that `request` brings, with its text, then the
// end with `why` and the whole text.
//   Errors: kInvalidArgument (a token that is not in the vocabulary).
Result<std::vector<EngineEvent>> ended_answer(EngineRequest request,
                                              const model::Tokenizer& tokenizer, const Status& why);

}  // namespace troupe::actors
