#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>

// SmolLM3: Llama in which every fourth layer does not rotate q and k. Source: Bakouch et al. 2025.

namespace troupe::model {
namespace {

constexpr std::uint64_t kUnrotated = 4;  // GGUF files do not state this number

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  const HeaderReader read(header, "smollm3");
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(read.refuse({"output.bias"}));
  TROUPE_RETURN_IF_ERROR(read.decoder(&config, /*interleaved=*/true));
  TROUPE_RETURN_IF_ERROR(read.window(&config));
  config.unrotated_period = kUnrotated;
  if (header.metadata.contains(header_keys::kUnrotatedPeriod)) {
    TROUPE_ASSIGN_OR_RETURN(config.unrotated_period, header.u64(header_keys::kUnrotatedPeriod));
  }
  TROUPE_RETURN_IF_ERROR(read.biases(&config));
  return config;
}

// Reads the list of layers, which has a 0 for every layer that does not rotate.
Status unrotated(const HfConfig& config, GgufMetadata* out) {
  TROUPE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> rotates,
                          config.integers("no_rope_layers"));
  TROUPE_ASSIGN_OR_RETURN(std::uint64_t period, config.u64("no_rope_layer_interval", kUnrotated));
  if (!rotates.empty()) {
    period = 0;
    for (std::size_t layer = 0; layer < rotates.size() && period == 0; ++layer)
      if (rotates[layer] == 0) period = layer + 1;
  }
  for (std::size_t layer = 0; layer < rotates.size(); ++layer)
    if ((rotates[layer] == 0) != (period != 0 && (layer + 1) % period == 0))
      return config.bad("the field \"no_rope_layers\" says " + std::to_string(rotates[layer]) +
                        " for layer " + std::to_string(layer) +
                        "; this version can run models in which every n-th layer does not "
                        "rotate");
  (*out)[std::string(header_keys::kUnrotatedPeriod)] = period;
  return Status::ok();
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(config.expect("hidden_act", {"silu"}));
  TROUPE_RETURN_IF_ERROR(hf_sizes(config, "smollm3", /*tied_by_default=*/true, out));
  TROUPE_RETURN_IF_ERROR(hf_biases(config, out));
  TROUPE_RETURN_IF_ERROR(hf_rotary(config, "smollm3", out, {.theta = 2e6}));
  TROUPE_RETURN_IF_ERROR(unrotated(config, out));
  TROUPE_ASSIGN_OR_RETURN(const bool slides, config.boolean("use_sliding_window", false));
  return slides ? hf_window(config, "smollm3", /*begin=*/0, out) : Status::ok();
}

}  // namespace

const Family kSmolLm3Family{"smollm3", read_gguf, {"smollm3", "model.", metadata, kLlamaNames}};

}  // namespace troupe::model
