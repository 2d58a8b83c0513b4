#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/training/first_values.h>
#include <troupe/model/training/new_heads.h>
#include <troupe/model/training/text_limits.h>
#include <troupe/runtime/kernels/packed_matrix.h>
#include <troupe/runtime/numerics/trig.h>
#include <troupe/runtime/text/bounded_json.h>

namespace troupe::model {
namespace {

kernels::PackedMatrix packed_floats(const std::vector<float>& values, std::size_t rows) {
  auto packed = kernels::pack(quant::Type::kF32, reinterpret_cast<const std::byte*>(values.data()),
                              values.size() * sizeof(float), rows, values.size() / rows);
  TROUPE_CHECK(packed.is_ok(), packed.message());
  return std::move(*packed);
}

}  // namespace

void make_classifier(ModelConfig* config, StageWeights* weights, std::size_t labels) {
  config->labels = labels;
  std::vector<float> rows(labels * config->channels);
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = 0.02f * static_cast<float>(sin_cos(static_cast<double>(i + 1)).sin);
  weights->ends[kClassifier].matrix = packed_floats(rows, labels);
  weights->ends[kClassifierBias].vector.assign(labels, 0.0f);
}

bool ties_embedding(const GgufHeader& header) {
  if (!header.metadata.contains(header_keys::kConfigJson)) return true;
  const Result<std::string> text = header.string(header_keys::kConfigJson);
  if (!text) return true;
  const Result<nlohmann::json> config = parse_json(*text, "config.json", kTextLimits);
  if (!config || !config->is_object()) return true;
  const auto flag = config->find("tie_word_embeddings");
  return flag == config->end() || !flag->is_boolean() || flag->get<bool>();
}

bool has_mask_head(const GgufHeader& header) {
  for (const char* name :
       {"mask.dense.weight", "mask.dense.bias", "mask.norm.weight", "mask.norm.bias", "mask.bias"})
    if (header.tensor(name) == nullptr) return false;
  return true;
}

void make_mask_head(ModelConfig* config, StageWeights* weights) {
  const std::size_t channels = config->channels;
  config->head = EncoderHead::kMask;
  std::vector<float> rows(channels * channels);
  draw_first_values(0, "mask.dense.weight", 0.02, rows);
  weights->ends[kMaskDense].matrix = packed_floats(rows, channels);
  weights->ends[kMaskDenseBias].vector.assign(channels, 0.0f);
  weights->ends[kMaskNorm].vector.assign(channels, 1.0f);
  weights->ends[kMaskNormBias].vector.assign(channels, 0.0f);
  weights->ends[kMaskBias].vector.assign(config->vocabulary, 0.0f);
}

}  // namespace troupe::model
