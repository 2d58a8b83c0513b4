#include <troupe/model/families/read.h>

// Mixtral: Mistral whose feed-forward network is a mixture of experts; the weights of a row's
// experts add up to 1. Its GGUF files say "llama". Source: Jiang et al. 2024.

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "mixtral");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse_tensors({"blk.0.attn_q.bias", "output.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/true));
  TROUPE_RETURN_IF_ERROR(read.window(&config));
  TROUPE_RETURN_IF_ERROR(read.mixture(&config, /*weights_norm=*/true));
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "mixtral", /*tied_by_default=*/false, out));
  TROUPE_RETURN_IF_ERROR(
      hf_mixture(config, "mixtral", {"num_local_experts", "intermediate_size"}, out));
  TROUPE_RETURN_IF_ERROR(hf_rotary(config, "mixtral", out, {.theta = 1e6}));
  return hf_window(config, "mixtral", /*begin=*/0, out);
}

const std::vector<HfName> kNames = llama_names_with({
    {"layers.*.block_sparse_moe.gate.weight", "blk.*.ffn_gate_inp.weight"},
    {"layers.*.block_sparse_moe.experts.*.w1.weight", "blk.*.ffn_gate.*.weight"},
    {"layers.*.block_sparse_moe.experts.*.w3.weight", "blk.*.ffn_up.*.weight"},
    {"layers.*.block_sparse_moe.experts.*.w2.weight", "blk.*.ffn_down.*.weight"},
});

}  // namespace

const Family kMixtralFamily{"mixtral", read_gguf, {"mixtral", "model.", metadata, kNames}};

}  // namespace troupe::model
