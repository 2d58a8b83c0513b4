#pragma once

#include <memory>

#include <caf/all.hpp>

#include <troupe/actors/troupe.h>

// Troupe for programs that consist of CAF actors themselves. Our actors run in the caller's actor
// system, and a typed handle takes requests from the caller's actors and sends them tokens as mail.
// This is the only public header that includes CAF.

namespace troupe {

using GenerateRequestPtr = std::shared_ptr<const GenerateRequest>;
using TokenEventPtr = std::shared_ptr<const TokenEvent>;
// The end of an answer. If `status` is not ok, it says why there is no result.
struct GenerateOutcome {
  Status status;
  GenerateResult result;  // valid if status is ok
};
using GenerateOutcomePtr = std::shared_ptr<const GenerateOutcome>;

using generate_atom = caf::atom_constant<caf::atom("generate")>;

// What the caller's actor must handle: a TokenEventPtr for each token, then one GenerateOutcomePtr.
// If it ends before that, its request is cancelled.
using token_receiver =
    caf::typed_actor<caf::reacts_to<TokenEventPtr>, caf::reacts_to<GenerateOutcomePtr>>;

// Takes any number of requests at once, from any actor.
using generator_actor =
    caf::typed_actor<caf::reacts_to<generate_atom, GenerateRequestPtr, token_receiver>>;

// These do what Cluster::local and Cluster::connect do, in the caller's actor system, which must
// outlive the Cluster. They block until connected, so call them outside of actors.
Result<Cluster> attach_local(caf::actor_system& system, const LocalOptions& options);
Result<Cluster> attach(caf::actor_system& system, const ConnectOptions& options);

// Returns a generator of `cluster`, which must come from one of the two functions above. It ends
// with the cluster.
generator_actor make_generator(Cluster& cluster);

}  // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::GenerateRequestPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::TokenEventPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::GenerateOutcomePtr)
