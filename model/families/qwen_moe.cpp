#include <algorithm>

#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>

// The mixtures of experts of Qwen. Qwen2-MoE is Qwen2 with a shared expert; Qwen3-MoE is Qwen3,
// and the weights of a row's experts add up to 1. In either, some layers may have no experts.
// Sources: Yang et al. 2024 and 2025.

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header, const char* arch) {
  const HeaderReader read(header, arch);
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse_tensors({"blk.0.attn_output.bias", "output.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/false));
  TROUPE_RETURN_IF_ERROR(read.window(&config));
  return config;
}

Result<ModelConfig> read_qwen2_moe(const GgufHeader& header) {
  TROUPE_ASSIGN_OR_RETURN(ModelConfig config, read_gguf(header, "qwen2moe"));
  config.qkv_bias = true;
  TROUPE_RETURN_IF_ERROR(HeaderReader(header, "qwen2moe").mixture(&config, /*weights_norm=*/false));
  return config;
}

Result<ModelConfig> read_qwen3_moe(const GgufHeader& header) {
  TROUPE_ASSIGN_OR_RETURN(ModelConfig config, read_gguf(header, "qwen3moe"));
  config.head_norm = true;
  TROUPE_RETURN_IF_ERROR(HeaderReader(header, "qwen3moe").mixture(&config, /*weights_norm=*/true));
  return config;
}

// Says which layers have no experts: those that "mlp_only_layers" lists, and all but every
// "decoder_sparse_step"-th.
Status dense_layers(const HfConfig& config, GgufMetadata* out) {
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t layers, config.size("num_hidden_layers", kLayersMax));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t step, config.u64("decoder_sparse_step", 1));
  if (step == 0) return config.bad("the field \"decoder_sparse_step\" is 0, expected 1 or more");
  TROUPE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> listed,
                          config.integers("mlp_only_layers"));
  std::vector<std::int64_t> dense;
  for (std::uint64_t layer = 0; layer < layers; ++layer) {
    const auto number = static_cast<std::int64_t>(layer);
    const bool is_listed = std::find(listed.begin(), listed.end(), number) != listed.end();
    if (is_listed || (layer + 1) % step != 0) dense.push_back(number);
  }
  (*out)[std::string(header_keys::kDenseLayers)] = std::move(dense);
  return Status::ok();
}

Status metadata(const HfConfig& config, const std::string& arch, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(dense_layers(config, out));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, arch, /*tied_by_default=*/false, out));
  HfMixture fields;
  if (!config.has(fields.experts)) fields.experts = "num_local_experts";
  TROUPE_RETURN_IF_ERROR(hf_mixture(config, arch, fields, out));
  TROUPE_ASSIGN_OR_RETURN((*out)[arch + ".expert_weights_norm"],
                          config.boolean("norm_topk_prob", false));
  TROUPE_RETURN_IF_ERROR(hf_rotary(config, arch, out));
  return hf_qwen_window(config, arch, out);
}

Status qwen2_metadata(const HfConfig& config, GgufMetadata* out) {
  return metadata(config, "qwen2moe", out);
}

Status qwen3_metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(hf_refuse(config, {"attention_bias"}));
  return metadata(config, "qwen3moe", out);
}

const std::vector<HfName> kNames = llama_names_with({
    {"layers.*.mlp.gate.weight", "blk.*.ffn_gate_inp.weight"},
    {"layers.*.mlp.experts.*.gate_proj.weight", "blk.*.ffn_gate.*.weight"},
    {"layers.*.mlp.experts.*.up_proj.weight", "blk.*.ffn_up.*.weight"},
    {"layers.*.mlp.experts.*.down_proj.weight", "blk.*.ffn_down.*.weight"},
    {"layers.*.mlp.shared_expert_gate.weight", "blk.*.ffn_gate_inp_shexp.weight"},
    {"layers.*.mlp.shared_expert.gate_proj.weight", "blk.*.ffn_gate_shexp.weight"},
    {"layers.*.mlp.shared_expert.up_proj.weight", "blk.*.ffn_up_shexp.weight"},
    {"layers.*.mlp.shared_expert.down_proj.weight", "blk.*.ffn_down_shexp.weight"},
});

}  // namespace

const Family kQwen2MoeFamily{
    "qwen2moe", read_qwen2_moe, {"qwen2_moe", "model.", qwen2_metadata, kNames}};
const Family kQwen3MoeFamily{
    "qwen3moe", read_qwen3_moe, {"qwen3_moe", "model.", qwen3_metadata, kNames}};

}  // namespace troupe::model
