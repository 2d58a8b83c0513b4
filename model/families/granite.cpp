#include <utility>

#include <troupe/model/families/read.h>

// Granite 3: Llama with four constants, which multiply the embedding, the scores and the output of
// each sublayer, and divide the logits. Source: Granite Team 2024.

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "granite");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse({"output.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/true));
  TROUPE_ASSIGN_OR_RETURN(config.attention_scale, read.f32("attention.scale", 0.0f));
  TROUPE_ASSIGN_OR_RETURN(config.embedding_scale, read.f32("embedding_scale", 1.0f));
  TROUPE_ASSIGN_OR_RETURN(config.residual_scale, read.f32("residual_scale", 1.0f));
  TROUPE_ASSIGN_OR_RETURN(config.logit_divisor, read.f32("logit_scale", 1.0f));
  TROUPE_RETURN_IF_ERROR(read.biases(&config));
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "granite", /*tied_by_default=*/false, out));
  TROUPE_RETURN_IF_ERROR(hf_biases(config, out));
  for (const auto& [field, key] : {std::pair{"attention_multiplier", "granite.attention.scale"},
                                   {"embedding_multiplier", "granite.embedding_scale"},
                                   {"residual_multiplier", "granite.residual_scale"},
                                   {"logits_scaling", "granite.logit_scale"}}) {
    TROUPE_ASSIGN_OR_RETURN((*out)[key], config.number(field, 1.0, 1e-6, 1e6));
  }
  return hf_rotary(config, "granite", out);
}

}  // namespace

const Family kGraniteFamily{"granite", read_gguf, {"granite", "model.", metadata, kLlamaNames}};

}  // namespace troupe::model
