#pragma once

#include <cstddef>

#include <troupe/actors/coordinator/head_state.h>
#include <troupe/actors/engine/engine.h>

// What a deployment's engine is given: the model's tokenizer and chat template, and where the
// layers lie.

namespace troupe::actors::coordinator {

EnginePlacement engine_placement(const HeadState& head, const Deployment& deployment,
                                 std::size_t context_max);
// Makes what an engine is given. A chat template that cannot be used is not an error: chat requests
// are refused with the reason.
//   Errors: those of the model's header (its tokenizer, its shape).
Result<EngineSetup> make_engine_setup(const HeadState& head, const Deployment& deployment);

// Tells engines how much memory their deployments have now: other models come and go.
void share_memory(HeadState& head);

}  // namespace troupe::actors::coordinator
