#include <algorithm>
#include <span>

#include <troupe/model/families/read_config.h>
#include <troupe/model/source/adapted_model.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/training/evaluation.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/training/adapter_losses.h>

namespace troupe::tools {
namespace {

constexpr std::size_t kExamplesMax = 64;

bool has_blocks(const model::GgufHeader& header) {
  return std::any_of(header.tensors.begin(), header.tensors.end(),
                     [](const model::TensorInfo& tensor) {
                       const quant::Format* format = quant::find(tensor.type);
                       return format != nullptr && format->block_elements != 1;
                     });
}

}  // namespace

Result<std::optional<AdapterLosses>> measure_adapter(const FinetuneOptions& options,
                                                     const Job& job) {
  const bool is_plain = options.task == "lm" || options.task == "chat";
  if (options.lora_rank == 0 || !is_plain || !options.teacher.empty() ||
      options.label_smoothing != 0.0 || !has_blocks(job.source->header()))
    return std::optional<AdapterLosses>();
  const std::vector<model::Example>& from =
      job.validation.examples.empty() ? job.data.examples : job.validation.examples;
  const auto examples = std::span(from).first(std::min(from.size(), kExamplesMax));
  AdapterLosses losses;
  losses.examples = examples.size();
  double sum = 0.0, divisor = 0.0;
  for (std::size_t at = 0; at < examples.size(); at += options.batch_size) {
    TROUPE_ASSIGN_OR_RETURN(const model::StepReport report,
                            job.trainer->evaluate(examples.subspan(
                                at, std::min(options.batch_size, examples.size() - at))));
    sum += report.loss_sum;
    divisor += report.divisor;
  }
  losses.trained = sum / divisor;
  TROUPE_ASSIGN_OR_RETURN(const auto store, open_store(options.common.home));
  TROUPE_ASSIGN_OR_RETURN(const auto path, model_file(*store, options.common.home, options.model));
  TROUPE_ASSIGN_OR_RETURN(auto base, model::open_model(path.string()));
  TROUPE_ASSIGN_OR_RETURN(const auto source,
                          model::add_adapter(std::move(base), options.output, options.output));
  TROUPE_ASSIGN_OR_RETURN(const model::ModelConfig config,
                          model::config_from_gguf(source->header()));
  TROUPE_ASSIGN_OR_RETURN(const auto stage,
                          model::Stage::load(*source, config, {0, config.layers}, *job.device, {}));
  model::TokenScore score;
  for (const model::Example& example : examples) {
    TROUPE_ASSIGN_OR_RETURN(const model::TokenScore one,
                            model::score_example(*stage, example, *job.tokenizer));
    score.add(one);
  }
  losses.run = score.loss();
  return std::optional(losses);
}

}  // namespace troupe::tools
