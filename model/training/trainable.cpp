#include <troupe/model/training/trainable.h>

namespace troupe::model {

Status check_trainable(const ModelConfig& config) {
  const ModelConfig plain;
  const bool same_layers = config.feed_forward != FeedForward::kGatedGelu && config.input_norms &&
                           config.feed_forward != FeedForward::kGatedGeluErf &&
                           (config.causal || config.family == "bert") && config.experts == 0 &&
                           !config.output_changes() && !config.qk_norm && !config.fused_gate_up &&
                           config.norm_offset == plain.norm_offset &&
                           config.attention_cap == plain.attention_cap &&
                           config.attention_scale == plain.attention_scale;
  const bool same_positions = config.window_period == 0 && config.unrotated_period == 0 &&
                              config.window_rope_theta == 0.0 && config.rope_magnitude == 1.0 &&
                              config.rope_scaling != RopeScaling::kYarn &&
                              !config.rope_short_factors && config.rope_divisors.empty();
  const bool same_ends = config.embedding_scale == plain.embedding_scale &&
                         config.logit_divisor == plain.logit_divisor &&
                         config.logit_cap == plain.logit_cap;
  if (same_layers && same_positions && same_ends) return Status::ok();
  return Status(Code::kFailedPrecondition,
                "the model is a " + config.family +
                    " whose layers this version can run but not train; train a model of the "
                    "families llama, mistral, qwen2, qwen3, gpt2 or bert");
}

}  // namespace troupe::model
