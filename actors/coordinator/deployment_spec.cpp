#include <algorithm>

#include <troupe/actors/coordinator/deployment_spec.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/planning/memory_need.h>

namespace troupe::actors::coordinator {
namespace {

// The number of positions for whose keys and values a placement reserves memory, if the model's
// context is not smaller.
constexpr std::size_t kPlannedContext = 4096;

}  // namespace

std::size_t planned_context(const model::ModelConfig& config, std::uint64_t asked) {
  return std::min<std::size_t>(config.context_max, asked == 0 ? kPlannedContext : asked);
}

Result<model::ModelConfig> config_of(const HeadState& head, const Opening& opening) {
  TROUPE_ASSIGN_OR_RETURN(const auto source, head.setup->store->source(opening.open.manifest));
  return model::config_from_gguf(source->header());
}

Result<DeploymentSpec> spec_of(const HeadState& head, const Opening& opening,
                               std::uint64_t context) {
  TROUPE_ASSIGN_OR_RETURN(const auto source, head.setup->store->source(opening.open.manifest));
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
  if (!config.causal) {
    return Status(Code::kInvalidArgument,
                  "the model is an encoder (" + config.family +
                      "), which generates no text and is not spread over nodes; 'troupe logits' "
                      "runs it");
  }
  DeploymentSpec spec;
  spec.manifest = opening.open.manifest;
  spec.layers = config.layers;
  spec.need = model::memory_need(source->header(), config, kv_type_of(opening.open.kv),
                                 planned_context(config, context));
  spec.channels = config.channels;
  spec.asked = opening.ranges;
  spec.kv = opening.open.kv;
  spec.context = context;
  spec.sources = opening.sources;
  return spec;
}

}  // namespace troupe::actors::coordinator
