#include <troupe/model/families/read.h>

// Phi-3 and Phi-4: Llama whose q, k and v are one matrix, as are the gate matrix and the up matrix.
// Some rotate only a part of each head, and some divide the frequencies by numbers of their own
// ("longrope"). Sources: Abdin et al. 2024, Ding et al. 2024.

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "phi3");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse({"blk.0.attn_qkv.bias", "output.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/false));
  TROUPE_RETURN_IF_ERROR(read.window(&config));
  config.fused_qkv = config.fused_gate_up = true;
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "phi3", /*tied_by_default=*/false, out));
  TROUPE_RETURN_IF_ERROR(hf_rotary(config, "phi3", out, {.partial = true, .long_factors = true}));
  return hf_window(config, "phi3", /*begin=*/0, out);
}

const std::vector<HfName> kNames = llama_names_with({
    {"layers.*.self_attn.qkv_proj.weight", "blk.*.attn_qkv.weight"},
    {"layers.*.mlp.gate_up_proj.weight", "blk.*.ffn_up.weight"},
});

}  // namespace

const Family kPhi3Family{"phi3", read_gguf, {"phi3", "model.", metadata, kNames}};

}  // namespace troupe::model
