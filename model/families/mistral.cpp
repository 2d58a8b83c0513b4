#include <troupe/model/families/read.h>

// Mistral: Llama with a sliding window, in which a row sees itself and the window - 1 positions
// before it. Source: Jiang et al. 2023. Most GGUF files of these models say "llama".

namespace troupe::model {
namespace {

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "mistral");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse({"blk.0.attn_q.bias", "blk.0.ffn_gate.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/true));
  TROUPE_RETURN_IF_ERROR(read.window(&config));
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "mistral", /*tied_by_default=*/false, out));
  TROUPE_RETURN_IF_ERROR(hf_rotary(config, "mistral", out));
  return hf_window(config, "mistral", /*begin=*/0, out);
}

}  // namespace

const Family kMistralFamily{"mistral", read_gguf, {"mistral", "model.", metadata, kLlamaNames}};

}  // namespace troupe::model
