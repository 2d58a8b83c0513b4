#pragma once

#include <memory>

#include <caf/all.hpp>

#include <troupe/actors/troupe.h>

// Troupe for programs that are made of CAF actors themselves: our actors run in the caller's actor
// system, and a typed handle takes requests from the caller's actors and sends them tokens as mail.
// The only public header with CAF in it.

namespace troupe {

using GenerateRequestPtr = std::shared_ptr<const GenerateRequest>;
using TokenEventPtr = std::shared_ptr<const TokenEvent>;
// The end of an answer; `status` says why there is none.
struct GenerateOutcome {
  Status status;
  GenerateResult result;  // valid when status is ok
};
using GenerateOutcomePtr = std::shared_ptr<const GenerateOutcome>;

using generate_atom = caf::atom_constant<caf::atom("generate")>;

// What the caller's actor must take: a TokenEventPtr for each token, then one GenerateOutcomePtr.
// When it ends before that, its request is cancelled.
using token_receiver =
    caf::typed_actor<caf::reacts_to<TokenEventPtr>, caf::reacts_to<GenerateOutcomePtr>>;

// Takes any number of requests at once, from any actor.
using generator_actor =
    caf::typed_actor<caf::reacts_to<generate_atom, GenerateRequestPtr, token_receiver>>;

// As Cluster::local and Cluster::connect, in the caller's actor system, which must outlive the
// Cluster. Block until connected; call them from outside of actors.
Result<Cluster> attach_local(caf::actor_system& system, const LocalOptions& options);
Result<Cluster> attach(caf::actor_system& system, const ConnectOptions& options);

// A generator of `cluster` (which came from one of the two above); ends with the cluster.
generator_actor make_generator(Cluster& cluster);

}  // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::GenerateRequestPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::TokenEventPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::GenerateOutcomePtr)
