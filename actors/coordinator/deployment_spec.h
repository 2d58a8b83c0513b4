#pragma once

#include <cstddef>
#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>
#include <troupe/model/config/model_config.h>

// Turns a request to open a model into what a placement needs to know. Reads the model's header,
// which is in the head's store.

namespace troupe::actors::coordinator {

// Returns the number of positions that a placement plans for: the number that was asked for, or the
// usual one if that is 0, but never more than the model's context.
std::size_t planned_context(const model::ModelConfig& config, std::uint64_t asked);

// Reads the model's configuration from its header.
//   Errors: those of the header.
Result<model::ModelConfig> config_of(const HeadState& head, const Opening& opening);

// Plans memory for `context` positions (0: the usual number).
//   Errors: kInvalidArgument (the model is an encoder), and those of the header.
Result<DeploymentSpec> spec_of(const HeadState& head, const Opening& opening,
                               std::uint64_t context);

}  // namespace troupe::actors::coordinator
