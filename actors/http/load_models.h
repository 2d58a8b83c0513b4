#pragma once

#include <vector>

#include <troupe/actors/http/gateway.h>
#include <troupe/actors/http/served_models.h>

// Loads the models of a server, all of which must fit at once.

namespace troupe::http {

// Loads each of `wanted`, computes the shared prompts with each of them, and adds it to `models`.
//   Errors: those of read_card, public_prompts, ServedModels::add and Gateway::open;
//   kResourceExhausted if a later model took the place of an earlier one.
Status load_models(Cluster& cluster, Gateway& gateway, const std::vector<ServedModel>& wanted,
                   const std::vector<SharedPrompt>& shared_prompts, ServedModels* models);

}  // namespace troupe::http
