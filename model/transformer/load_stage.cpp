#include <set>
#include <string>

#include <troupe/model/families/family.h>
#include <troupe/model/transformer/accelerated_stage.h>
#include <troupe/model/transformer/cpu_stage.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/model/transformer/weights.h>

// Chooses the kind of stage that computes on a device, and has what the stages of all devices have
// in common.

namespace troupe::model {

Result<std::unique_ptr<Stage>> Stage::load(const TensorSource& source, const ModelConfig& config,
                                           LayerRange range, Device& device,
                                           const StageOptions& options) {
  if (find_family(config.family) == nullptr)
    return Status(Code::kInvalidArgument, "there is no model family \"" + config.family + "\"");
  if (range.begin >= range.end || range.end > config.layers)
    return Status(Code::kInvalidArgument, "layers " + to_string(range) +
                                              " are not in the model, which has layers 0-" +
                                              std::to_string(config.layers - 1));
  return device.accelerator() != nullptr ? load_accelerated(source, config, range, device, options)
                                         : load_on_cpu(source, config, range, device, options);
}

std::uint64_t weights_bytes(std::span<const Stage* const> stages) {
  std::uint64_t bytes = 0;
  std::set<const std::byte*> seen;
  const auto look = [&](const Weight& weight) {
    const AlignedBuffer& data = weight.matrix.data;
    if (data.bytes() != 0 && !seen.insert(data.data()).second) bytes -= data.bytes();
  };
  for (const Stage* stage : stages) {
    bytes += stage->weights_bytes();
    for (const auto& layer : stage->weights().layers) {
      for (const Weight& weight : layer) look(weight);
    }
    for (const auto& layer : stage->weights().experts)
      for (const auto& expert : layer)
        for (const Weight& weight : expert) look(weight);
    for (const Weight& weight : stage->weights().ends) look(weight);
  }
  return bytes;
}

}  // namespace troupe::model
