#pragma once

#include <cstddef>
#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>
#include <troupe/model/config/model_config.h>

// What an open asks for, by the header of its model, which is in the head's store.

namespace troupe::actors::coordinator {

// The number of positions that a placement plans for: as many as were asked for, or the usual
// number (0), and never more than the model has.
std::size_t planned_context(const model::ModelConfig& config, std::uint64_t asked);

//   Errors: those of the header.
Result<model::ModelConfig> config_of(const HeadState& head, const Opening& opening);

// With memory for `context` positions (0: the usual number).
//   Errors: kInvalidArgument (the model is an encoder), and those of the header.
Result<DeploymentSpec> spec_of(const HeadState& head, const Opening& opening,
                               std::uint64_t context);

}  // namespace troupe::actors::coordinator
