#include <algorithm>
#include <utility>

#include <troupe/actors/cluster_state/placement.h>
#include <troupe/actors/coordinator/engines.h>
#include <troupe/model/chat/chat_source.h>
#include <troupe/model/chat/chat_template.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/tokenizer/open_tokenizer.h>

namespace troupe::actors::coordinator {
namespace {

// Stands for a template that cannot be used: chat requests are refused with the reason.
class BrokenTemplate final : public model::ChatTemplate {
 public:
  explicit BrokenTemplate(const Status& why)
      : why_(Code::kFailedPrecondition, "the model's chat template cannot be used: " +
                                            why.message() + "; give the prompt raw (--raw)") {}
  Result<model::RenderedChat> render_marked(const std::vector<model::ChatMessage>&,
                                            const model::ChatContext&) const override {
    return why_;
  }
  Result<model::RenderedChat> render_json(std::string_view,
                                          const model::ChatContext&) const override {
    return why_;
  }

 private:
  const Status why_;
};

// Returns nullptr if the model has no template.
std::shared_ptr<const model::ChatTemplate> chat_template_of(const model::GgufHeader& header) {
  // Requests carry no tools yet.
  const auto source = model::chat_source(header, /*with_tools=*/false);
  if (!source) return std::make_shared<BrokenTemplate>(source.status());
  if (source->empty()) return nullptr;
  auto parsed = model::ChatTemplate::parse(*source);
  if (!parsed) return std::make_shared<BrokenTemplate>(parsed.status());
  return std::move(*parsed);
}

}  // namespace

EnginePlacement engine_placement(const HeadState& head, const Deployment& deployment,
                                 std::size_t context_max) {
  EnginePlacement placement;
  placement.epoch = deployment.epoch;
  placement.first_stage = deployment.stages.front().node;
  const std::size_t stages = deployment.stages.size();
  placement.limits.stages = stages;
  placement.limits.steps_in_flight_max = stages + 1;
  placement.limits.rows_max = 512;
  placement.limits.speculation = head.setup->speculation;
  std::uint32_t threads = 1;
  for (const StagePlan& stage : deployment.stages) {
    const NodeRecord* node = head.cluster.members.find(stage.node);
    if (node == nullptr) continue;
    threads = std::max(threads, node->threads);
    // Drafts are off on GPUs, where steps of one row are fastest: a GPU replays their recorded
    // launches, and keeps their logits in its own memory.
    if (node->isa.starts_with("cuda")) placement.limits.speculation = Speculation::kOff;
  }
  placement.limits.chunk_rows = model::prompt_chunk_rows(stages, threads);
  placement.limits.context_max = context_max;
  placement.limits.positions_max = positions_max(head.cluster, deployment);
  return placement;
}

Result<EngineSetup> make_engine_setup(const HeadState& head, const Deployment& deployment) {
  TROUPE_ASSIGN_OR_RETURN(const auto source, head.setup->store->source(deployment.manifest));
  const model::GgufHeader& header = source->header();
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(header));
  EngineSetup engine;
  engine.deployment = deployment.id;
  engine.placement = engine_placement(head, deployment, config.context_max);
  TROUPE_ASSIGN_OR_RETURN(engine.tokenizer, model::open_tokenizer(header, config.vocabulary));
  engine.chat_template = chat_template_of(header);
  engine.link = head.setup->link;
  engine.watch = head.setup->watch_engine;
  return engine;
}

void share_memory(HeadState& head) {
  for (const auto& [id, deployment] : head.cluster.deployments.all()) {
    RunningEngine* engine = head.engine_of(id);
    if (engine == nullptr || !head.is_serving(deployment)) continue;
    const std::uint64_t positions = positions_max(head.cluster, deployment);
    if (positions == std::exchange(engine->positions_max, positions)) continue;
    head.self->send(engine->actor, resize_atom::value, positions);
  }
}

}  // namespace troupe::actors::coordinator
