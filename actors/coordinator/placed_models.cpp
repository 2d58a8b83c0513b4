#include <troupe/actors/coordinator/placed_models.h>
#include <troupe/actors/jobs/job_id.h>
#include <troupe/actors/journal/journal_actor.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/wire/encode.h>

namespace troupe::actors::coordinator {
namespace {

template <class Message>
std::string bytes_of(const Message& message) {
  const auto bytes = wire::encode(message);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void write(const HeadState& head, JournalWork work) {
  if (!head.setup->journal) return;
  caf::anon_send(head.setup->journal, std::make_shared<const JournalWork>(std::move(work)));
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

void record_deployment(HeadState& head, const Deployment& deployment) {
  head.manifests[deployment.manifest.model] = deployment.manifest;
  PlacedModel placed;
  placed.id = deployment.id;
  placed.model = deployment.manifest.model;
  placed.manifest = bytes_of(deployment.manifest);
  placed.open = bytes_of(open_of(deployment));
  for (const StagePlan& stage : deployment.stages) {
    placed.nodes.emplace_back(reinterpret_cast<const char*>(stage.node.data()), stage.node.size());
  }
  write(head, [placed = std::move(placed)](Journal& journal) {
    const Status saved = journal.save_model(placed);
    if (!saved) log(LogLevel::kError, saved.message());
  });
}

void erase_deployment(const HeadState& head, std::uint64_t id) {
  write(head, [id](Journal& journal) {
    const Status saved = journal.forget_model(id);
    if (!saved) log(LogLevel::kError, saved.message());
  });
}

token_sink logged_sink(HeadState& head, const Submit& request, const token_sink& sink,
                       const std::string& owner) {
  if (!head.setup->journal || !check_job_id(request.stream)) return sink;
  const Deployment* deployment = head.cluster.deployments.find_id(request.deployment);
  if (deployment == nullptr) return sink;
  StreamRecord record;
  record.id = request.stream;
  record.owner = owner;
  record.open = bytes_of(open_of(*deployment));
  record.submit = bytes_of(request);
  record.tokens = request.answer_ids;
  // An answer that was begun under another arithmetic version keeps that version; the engine ends
  // it.
  record.arithmetic = request.arithmetic != 0 ? request.arithmetic : deployment->arithmetic;
  return spawn_stream(head.self->system(), head.setup->journal, std::move(record), sink);
}

}  // namespace troupe::actors::coordinator
