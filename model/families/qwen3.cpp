#include <troupe/model/families/read.h>

// Qwen3: Qwen2 without biases. Every head of q and k is normed before it is rotated, and the width
// of a head does not follow from the number of channels. Source: Yang et al. 2025.

namespace troupe::model {
namespace {

constexpr std::uint64_t kHeadDim = 128;  // the value if config.json has none

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "qwen3");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(
      read.refuse({"blk.0.attn_q.bias", "blk.0.attn_output.bias", "blk.0.ffn_gate.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/false));
  TROUPE_RETURN_IF_ERROR(read.window(&config));
  config.head_norm = true;
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "qwen3", /*tied_by_default=*/false, out, kHeadDim));
  TROUPE_RETURN_IF_ERROR(hf_rotary(config, "qwen3", out));
  return hf_qwen_window(config, "qwen3", out);
}

}  // namespace

const Family kQwen3Family{"qwen3", read_gguf, {"qwen3", "model.", metadata, kLlamaNames}};

}  // namespace troupe::model
