#include <algorithm>
#include <string_view>

#include <troupe/actors/cluster_state/placement.h>
#include <troupe/actors/cluster_state/replacement.h>
#include <troupe/actors/coordinator/audited.h>
#include <troupe/actors/coordinator/deploy.h>
#include <troupe/actors/coordinator/deployment_spec.h>
#include <troupe/actors/coordinator/keep_alive.h>
#include <troupe/actors/coordinator/measuring.h>
#include <troupe/actors/coordinator/opening.h>
#include <troupe/actors/coordinator/recovery.h>
#include <troupe/actors/coordinator/replicas.h>
#include <troupe/model/store/model_id.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/sha256.h>

namespace troupe::actors::coordinator {
namespace {

constexpr std::size_t kWaitingMax = 1024;  // openings that wait for one deployment
// A header holds the vocabulary and the list of tensors: 10 to 30 MB in the largest known models.
constexpr std::uint64_t kHeaderBytesMax = 256u << 20;
// The longest time for which a first answer waits for measurements. Most nodes take a second; nodes
// on one host take theirs one after the other.
constexpr std::int64_t kMeasurePatienceUs = 5'000'000;

void refuse_all(const HeadState& head, const Opening& opening, const Status& why) {
  for (const Reply& reply : opening.replies) reply(refusal(head, why));
}

// Plans a model as if other deployments were gone. If memory is still short, unused deployments
// make room, but none is ended for a model that would not fit even then.
Result<std::uint64_t> plan_with_room(HeadState& head, const Opening& opening,
                                     const std::set<std::uint64_t>& instead_of) {
  ClusterState& cluster = head.cluster;
  TROUPE_ASSIGN_OR_RETURN(const DeploymentSpec spec, spec_of(head, opening, opening.open.context));
  Deployment at_most(spec);
  at_most.instead_of = head.unused(monotonic_us());
  const Status fits = preview_placement(cluster, at_most, {}).status();
  if (fits.code() == Code::kResourceExhausted) return fits;
  for (;;) {
    auto planned = place_model(cluster, spec, instead_of);
    if (planned || planned.code() != Code::kResourceExhausted || !make_room(head, instead_of)) {
      return planned;
    }
  }
}

// Adds a client that brings the model, since it may have the tensors that a node could not get.
void add_source(HeadState& head, Deployment& deployment, const net::PublicKey& source) {
  auto& sources = deployment.sources;
  if (std::find(sources.begin(), sources.end(), source) != sources.end()) return;
  sources.push_back(source);
  deployment.unfit.clear();
  head.runs[deployment.id].has_new_source = true;
}

void find_or_make(HeadState& head, Opening opening);

// Asks the nodes what the layers would cost them, and then comes back here. Returns false if the
// model can be placed at once.
bool measure_before_placing(HeadState& head, Opening& opening) {
  if (!head.setup->measures || opening.measured || !opening.ranges.empty()) return false;
  opening.measured = true;
  const auto config = config_of(head, opening);
  const auto again = [&head, opening] { find_or_make(head, opening); };
  return config && measure_first(head, opening.open, *config, kMeasurePatienceUs, false, again);
}

// Returns the process that opened the model, as the audit log names it. (A client that has gone is
// known by its key alone.)
Asking asking_for(const HeadState& head, const Opening& opening) {
  if (opening.by == head.own_key()) return {opening.by, net::Role::kAdmin, ""};
  const auto client = head.clients.find(opening.by);
  const bool known = client != head.clients.end();
  return {opening.by, known ? client->second.role : net::Role::kClient,
          known ? client->second.address : "unknown"};
}

// Makes a deployment. Another split of the model that nobody uses is ended, once it is certain that
// the new one can be placed.
void make_deployment(HeadState& head, const Opening& opening) {
  const std::set<std::uint64_t> others = other_splits(head, opening.open.model, monotonic_us());
  const auto planned = plan_with_room(head, opening, others);
  if (!planned) return refuse_all(head, opening, planned.status());
  for (const std::uint64_t id : others) {
    end_deployment(head, id, Status(Code::kCancelled, "the model was placed anew; ask again"));
  }
  audit(head, AuditKind::kDeployed,
        audit_entry(head, asking_for(head, opening), opening.open.manifest.name,
                    "model:" + opening.open.model));
  auto& waiting = head.runs[*planned].waiting;
  waiting.insert(waiting.end(), opening.replies.begin(), opening.replies.end());
  begin_allowing(head, head.cluster.deployments.at(*planned));
}

// Moves the deployment if that helps this opening and disturbs no request.
void move_if_better(HeadState& head, const Opening& opening, Deployment& deployment) {
  for (const net::PublicKey& source : opening.sources) add_source(head, deployment, source);
  if (deployment.life == DeploymentLife::kWaiting && head.runs[deployment.id].has_new_source) {
    recover(head, deployment.id, deployment.lost, "");
  }
  // A node has come back or is new. It takes its share while the engine has nothing to do.
  if (head.is_idle(deployment.id) && can_grow(head.cluster, deployment)) {
    recover(head, deployment.id, "more nodes can take its layers now", "", true);
  }
}

// Called when the header is here: finds a deployment for the opening, or makes a new one.
void find_or_make(HeadState& head, Opening opening) {
  Deployment* deployment =
      head.cluster.deployments.find(opening.open.model, opening.ranges, opening.open.kv);
  if (deployment == nullptr) {
    if (!measure_before_placing(head, opening)) make_deployment(head, opening);
    return;
  }
  move_if_better(head, opening, *deployment);
  const std::int64_t now = monotonic_us();
  Deployment* here = serving_for(head, opening, *deployment, now);
  if (here == nullptr) {
    const Status added = add_waiting(head.runs[deployment->id], opening.replies);
    if (!added) refuse_all(head, opening, added);
    return;
  }
  const ModelReady ready = ready_answer(head, *here);
  for (const Reply& reply : opening.replies) {
    head.engine_of(here->id)->opened(now);
    reply(ready);
  }
  if (!wants_alone(opening, *deployment)) replicate_when_busy(head, *deployment);
}

// Returns the manifest of the model: that of the whole file in the head's own store, or the one
// that was brought first. Both prove the id. Returns nullptr if the head knows none.
const model::Manifest* known_manifest(HeadState& head, const std::string& model) {
  if (const auto own = head.own_manifests.find(model); own != head.own_manifests.end()) {
    return &own->second;
  }
  const auto file = head.setup ? head.setup->store->whole_file(model) : std::nullopt;
  if (file) {
    const auto manifest = head.setup->store->manifest(*file);
    if (manifest && manifest->model == model) {
      return &(head.own_manifests[model] = std::move(*manifest));
    }
  }
  const auto brought = head.manifests.find(model);
  return brought == head.manifests.end() ? nullptr : &brought->second;
}

// Returns the id of a file that this head's own store has. What other processes say of a file's
// hash does not count, because nobody can check it by parts.
Result<std::string> id_of_own_file(HeadState& head, const std::string& sha256) {
  if (const auto manifest = head.setup->store->manifest_of_file(sha256)) return manifest->model;
  return Status(Code::kNotFound,
                "the head's own store does not have the file sha256:" + sha256.substr(0, 64) +
                    "; give the model's name or path, so that this machine can "
                    "serve it, or its id (model:HEX, as 'troupe ps --json' shows it)");
}

// Fills in the manifest of a model that the head knows, if the client brought none, and the
// model's id.
Status complete_from_store(HeadState& head, OpenModel* open) {
  if (open->has_manifest) return Status::ok();
  const model::Manifest* known = known_manifest(head, open->model);
  if (known == nullptr) {
    return Status(Code::kNotFound,
                  "the cluster does not have model:" + open->model.substr(0, 64) +
                      "; give its name or path, so that this machine can serve it");
  }
  open->manifest = *known;
  open->has_manifest = true;
  return Status::ok();
}

// Returns true if the head has the model's header. If the whole model is here, nodes ask us first,
// and the client only if we are gone.
bool offer_own_copy(HeadState& head, const model::Manifest& manifest,
                    std::vector<net::PublicKey>& sources) {
  const auto whole_file = head.setup->store->whole_file(manifest.model);
  if (!whole_file) return head.setup->store->has_blob(manifest.header.sha256);
  head.self->send(head.setup->bulk, std::make_shared<const ExportedFile>(
                                        ExportedFile{whole_file->string(), manifest}));
  sources.insert(sources.begin(), head.own_key());
  return true;
}

void fetch_header(HeadState& head, std::uint64_t number) {
  const Opening& opening = head.openings.at(number);
  const auto fetch = std::make_shared<FetchRequest>();
  fetch->blobs.push_back(opening.open.manifest.header);
  fetch->sources = opening.sources;
  const auto me = caf::actor_cast<caf::strong_actor_ptr>(head.self);
  fetch->done = [me, number](Status status, std::uint64_t) {
    caf::anon_send(caf::actor_cast<coordinator_actor>(me), loaded_atom::value, number,
                   std::make_shared<const Status>(std::move(status)));
  };
  head.self->send(head.setup->bulk, FetchPtr(fetch));
}

}  // namespace

void open_model(HeadState& head, OpenModel open, const net::PublicKey& from, Reply reply,
                Instead instead) {
  const auto refuse = [&](const Status& why) {
    instead ? instead(why, Opening{}) : reply(refusal(head, why));
  };
  if (head.restoring) {
    auto& held = head.restoring->held;
    if (held.size() >= kWaitingMax) {
      return refuse(Status(Code::kResourceExhausted,
                           "too many requests wait for this head's nodes; try again later"));
    }
    held.push_back(
        [&head, open, from, reply, instead] { open_model(head, open, from, reply, instead); });
    return;
  }
  const auto asked = layer_ranges_of(open);
  if (!asked) return refuse(asked.status());
  const std::vector<model::LayerRange>& ranges = *asked;
  const Status named = name_model(head, &open);
  if (!named) return refuse(named);
  // An existing deployment needs no file now, but may need it when its layers must move.
  Deployment* found =
      instead ? nullptr : head.cluster.deployments.find(open.model, ranges, open.kv);
  if (found != nullptr) {
    if (open.has_manifest) add_source(head, *found, from);
    open.manifest = found->manifest;
    return find_or_make(head, {std::move(open), ranges, {}, {std::move(reply)}, {}, false, from});
  }
  std::vector<net::PublicKey> sources;
  if (open.has_manifest) sources.push_back(from);
  const Status complete = complete_from_store(head, &open);
  if (!complete) return refuse(complete);
  const bool have_header = offer_own_copy(head, open.manifest, sources);
  const std::uint64_t number = head.next_opening++;
  head.openings[number] = {std::move(open),    ranges, sources, {std::move(reply)},
                           std::move(instead), false,  from};
  if (have_header) {
    head.self->send(head.self, loaded_atom::value, number, std::make_shared<const Status>());
  } else {
    fetch_header(head, number);
  }
}

void on_header(HeadState& head, std::uint64_t number, const Status& status) {
  auto found = head.openings.extract(number);
  if (found.empty()) return;
  if (const Instead instead = found.mapped().instead) return instead(status, found.mapped());
  if (!status) return refuse_all(head, found.mapped(), status);
  find_or_make(head, std::move(found.mapped()));
}

Status name_model(HeadState& head, OpenModel* open) {
  constexpr std::string_view kId = "model:", kFile = "sha256:";
  if (open->has_manifest) {
    TROUPE_RETURN_IF_ERROR(model::prove(&open->manifest));
    if (open->manifest.model != open->model) {
      return Status(Code::kInvalidArgument, "the manifest is of another model");
    }
    if (open->manifest.header.bytes > kHeaderBytesMax) {
      return Status(Code::kInvalidArgument,
                    "the model's header has " + std::to_string(open->manifest.header.bytes) +
                        " bytes, of at most " + std::to_string(kHeaderBytesMax) +
                        ": this is not a model that Troupe can run");
    }
    return Status::ok();
  }
  if (open->model.starts_with(kId)) open->model.erase(0, kId.size());
  const bool is_file = open->model.starts_with(kFile);
  if (is_file) open->model.erase(0, kFile.size());
  // Jobs of earlier releases name the hash of a file without saying so.
  const bool unknown = !is_file && is_sha256_hex(open->model) &&
                       head.cluster.deployments.find(open->model, {}) == nullptr &&
                       known_manifest(head, open->model) == nullptr;
  if (!is_file && !unknown) return Status::ok();
  const auto id = id_of_own_file(head, open->model);
  if (id) {
    open->model = *id;
  } else if (is_file) {
    return id.status();
  }
  return Status::ok();
}

std::set<std::uint64_t> other_splits(const HeadState& head, const std::string& model,
                                     std::int64_t now_us) {
  std::set<std::uint64_t> ids = head.unused(now_us);
  std::erase_if(ids, [&](std::uint64_t id) {
    return head.cluster.deployments.at(id).manifest.model != model;
  });
  return ids;
}

bool wants_alone(const Opening& opening, const Deployment& deployment) {
  return opening.open.alone || (!opening.ranges.empty() && opening.ranges != deployment.asked);
}

Deployment* serving_for(HeadState& head, const Opening& opening, Deployment& deployment,
                        std::int64_t now_us) {
  Deployment* here =
      wants_alone(opening, deployment) ? &deployment : least_busy(head, deployment, now_us);
  return here != nullptr && head.is_serving(*here) ? here : nullptr;
}

Status add_waiting(DeploymentRun& run, const std::vector<Reply>& replies) {
  if (run.waiting.size() + replies.size() > kWaitingMax) {
    return Status(Code::kResourceExhausted,
                  "too many requests wait for this model to load; try again later");
  }
  run.waiting.insert(run.waiting.end(), replies.begin(), replies.end());
  return Status::ok();
}

}  // namespace troupe::actors::coordinator
