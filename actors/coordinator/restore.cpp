#include <troupe/actors/coordinator/shell.h>
#include <troupe/actors/jobs/job_id.h>
#include <troupe/actors/journal/journal_actor.h>
#include <troupe/runtime/wire/codec.h>

// What outlives the head's process: its deployments, and the requests of open streams, in the
// journal. Nodes come back by themselves: they dial until the head is there again, and join anew.

namespace troupe::actors::coordinator {
namespace {

// Nodes look for their head again and again, at most two seconds apart.
constexpr std::int64_t kComeBackUs = 6'000'000;

template <class Message>
std::string bytes_of(const Message& message) {
  const auto bytes = wire::encode(message);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void write(const Setup& setup, JournalWork work) {
  if (!setup->journal) return;
  caf::anon_send(setup->journal, std::make_shared<const JournalWork>(std::move(work)));
}

OpenModel open_of(const Deployment& deployment) {
  OpenModel open;
  open.model = deployment.manifest.model;
  set_layer_ranges(deployment.asked, &open);
  open.kv = deployment.kv;
  open.context = deployment.context;
  return open;
}

}  // namespace

void begin_restoring(Self self, const Setup& setup) {
  self->state.manifests = setup->manifests;
  Restoring restoring;
  restoring.until_us = monotonic_us() + kComeBackUs;
  for (const PlacedModel& placed : setup->placed) {
    auto open = wire::decode<OpenModel>(std::as_bytes(std::span<const char>(placed.open)));
    const auto manifest = self->state.manifests.find(placed.model);
    if (!open || manifest == self->state.manifests.end()) continue;
    const auto asked = layer_ranges_of(*open);
    if (!asked) continue;
    open->manifest = manifest->second;
    open->has_manifest = true;
    restoring.models.emplace_back(placed.id, std::move(*open));
    std::vector<net::PublicKey> order;
    for (const std::string& node : placed.nodes) {
      net::PublicKey key{};
      std::copy_n(node.begin(), std::min(node.size(), key.size()), key.begin());
      order.push_back(key);
      const bool left = setup->admission && setup->admission->is_revoked(key);
      if (!left) restoring.nodes.insert(key);
    }
    self->state.state->remember_order(placed.model, *asked, std::move(order));
  }
  if (!restoring.models.empty()) self->state.restoring = std::move(restoring);
}

void look_after_restoring(Self self, const Setup& setup) {
  if (!self->state.restoring) return;
  const bool back = std::all_of(self->state.restoring->nodes.begin(),
                                self->state.restoring->nodes.end(), [&](const auto& key) {
                                  const NodeRecord* node = self->state.state->node(key);
                                  return node != nullptr && node->alive();
                                });
  if (!back && monotonic_us() < self->state.restoring->until_us) return;
  const Restoring restoring = std::move(*self->state.restoring);
  self->state.restoring.reset();
  for (const auto& [id, open] : restoring.models) {
    const std::string name = open.manifest.name;
    log(LogLevel::kInfo, "placing " + name + " again, as before this start");
    // It gets an id of this run; the old one stays written down until then.
    open_model(self, setup, open, setup->link->self(), [=, id = id](const ModelReady& ready) {
      strike_out(self, setup, id);
      if (ready.outcome.is_ok()) return;
      log(LogLevel::kWarning, name + " is not placed again: " + ready.outcome.text);
    });
  }
  for (const auto& held : restoring.held) held();
}

void write_down(Self self, const Setup& setup, const Deployment& deployment) {
  self->state.manifests[deployment.manifest.model] = deployment.manifest;
  PlacedModel placed;
  placed.id = deployment.id;
  placed.model = deployment.manifest.model;
  placed.manifest = bytes_of(deployment.manifest);
  placed.open = bytes_of(open_of(deployment));
  for (const StagePlan& stage : deployment.stages) {
    placed.nodes.emplace_back(reinterpret_cast<const char*>(stage.node.data()), stage.node.size());
  }
  write(setup, [placed = std::move(placed)](Journal& journal) {
    const Status saved = journal.save_model(placed);
    if (!saved) log(LogLevel::kError, saved.message());
  });
}

void strike_out(Self, const Setup& setup, std::uint64_t id) {
  write(setup, [id](Journal& journal) {
    const Status saved = journal.forget_model(id);
    if (!saved) log(LogLevel::kError, saved.message());
  });
}

token_sink logged_sink(Self self, const Setup& setup, const Submit& request,
                       const token_sink& sink) {
  if (!setup->journal || !check_job_id(request.stream)) return sink;
  const Deployment* deployment = self->state.state->find_id(request.deployment);
  if (deployment == nullptr) return sink;
  StreamRecord record;
  record.id = request.stream;
  record.open = bytes_of(open_of(*deployment));
  record.submit = bytes_of(request);
  record.tokens = request.answer_ids;
  return spawn_stream(self->system(), setup->journal, std::move(record), sink);
}

}  // namespace troupe::actors::coordinator
