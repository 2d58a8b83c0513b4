#pragma once

#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>

// Opens models: finds a deployment of the model that is asked for, or makes one once the model's
// header is here and the nodes have been measured. deploy.h carries out what is decided here.

namespace troupe::actors::coordinator {

// `from` has the model's file if the message has a manifest. `reply` is called once, when a
// deployment serves the model or with the reason why none does. If `instead` is given, it is called
// in place of `reply`.
void open_model(HeadState& head, OpenModel open, const net::PublicKey& from, Reply reply,
                Instead instead = {});
// Called when the header that the opening of this number waited for has arrived, or cannot be had.
void on_header(HeadState& head, std::uint64_t number, const Status& status);

// Sets the id of the model that a client asks for (OpenModel::model has the forms). A manifest that
// the client brings must prove the id: nobody can put other weights, another template or another
// tokenizer under it. Reads the store.
//   Errors: kBadData (the manifest does not prove it), kInvalidArgument (it is of another model),
//   kNotFound (the head's own store has no file of this hash).
Status name_model(HeadState& head, OpenModel* open);

// ---- decisions, pure ---------------------------------------------------------------------------

// Returns the unused deployments of this model that are split in another way: a new one may take
// their place.
std::set<std::uint64_t> other_splits(const HeadState& head, const std::string& model,
                                     std::int64_t now_us);
// True if the opening wants this deployment and none of its replicas: either it says so, or it
// asked for a split that this deployment happens to have and its replicas may not have.
bool wants_alone(const Opening& opening, const Deployment& deployment);
// Returns the deployment that serves an opening for which `deployment` was found, or nullptr if the
// opening must wait.
Deployment* serving_for(HeadState& head, const Opening& opening, Deployment& deployment,
                        std::int64_t now_us);
// Lets clients who opened a model wait for the reply until the deployment serves.
//   Errors: kResourceExhausted (too many wait already).
Status add_waiting(DeploymentRun& run, const std::vector<Reply>& replies);

}  // namespace troupe::actors::coordinator
