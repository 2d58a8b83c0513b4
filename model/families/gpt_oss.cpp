#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>

// gpt-oss: a mixture of experts with biases everywhere, whose gates are clamped. Every second layer
// sees a window, and each head has a sink in its softmax. Source: OpenAI 2025.

namespace troupe::model {
namespace {

constexpr std::uint64_t kPeriod = 2;  // what GGUF files leave to the program that reads them

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "gpt-oss");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse_tensors({"output.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/false));
  TROUPE_RETURN_IF_ERROR(read.window(&config, kPeriod));
  TROUPE_RETURN_IF_ERROR(read.mixture(&config, /*weights_norm=*/true));
  if (config.experts == 0) return unsupported("no experts");
  config.feed_forward = FeedForward::kGatedClamped;
  config.qkv_bias = config.attn_output_bias = config.expert_bias = config.attention_sinks = true;
  config.ffn_norm_name = "post_attention_norm";
  // GGUF files do not say it: its ramp ends between pairs ("truncate" of its config.json is false).
  TROUPE_ASSIGN_OR_RETURN(config.rope_whole_pairs, read.flag(header_keys::kRopeWholePairs, false));
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata*) {
  return config.bad(
      "the field \"model_type\" is gpt_oss, whose folders this version cannot read; take a GGUF "
      "file of the model");
}

}  // namespace

const Family kGptOssFamily{"gpt-oss", read_gguf, {"gpt_oss", "model.", metadata, {}}};

}  // namespace troupe::model
