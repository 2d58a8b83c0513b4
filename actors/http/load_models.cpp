#include <algorithm>

#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/actors/http/load_models.h>
#include <troupe/actors/http/public_prompts.h>

namespace troupe::http {

Status load_models(Cluster& cluster, Gateway& gateway, const std::vector<ServedModel>& wanted,
                   const std::vector<SharedPrompt>& shared_prompts, ServedModels* models) {
  model::Store& store = *cluster.impl().process->store;
  for (const ServedModel& one : wanted) {
    TROUPE_ASSIGN_OR_RETURN(const ServedModelPtr read, read_card(store, one, models->all().size()));
    ServedModelCard card = *read;
    TROUPE_ASSIGN_OR_RETURN(card.public_prompts, public_prompts(card, shared_prompts));
    TROUPE_RETURN_IF_ERROR(models->add(std::make_shared<const ServedModelCard>(std::move(card))));
  }
  for (const ServedModelPtr& card : models->all()) {
    TROUPE_RETURN_IF_ERROR(gateway.open(card->source));
  }
  TROUPE_ASSIGN_OR_RETURN(const ClusterStatus status, cluster.status());
  for (const ServedModelPtr& card : models->all()) {
    const bool loaded =
        std::any_of(status.deployments.begin(), status.deployments.end(),
                    [&](const DeploymentStatus& one) { return one.model_id == card->model_id; });
    if (loaded) continue;
    return Status(Code::kResourceExhausted,
                  "the models do not fit into memory together: " + card->id +
                      " had to make room for a later one; serve fewer, or add memory or nodes");
  }
  return Status::ok();
}

}  // namespace troupe::http
