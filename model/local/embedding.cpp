#include <algorithm>
#include <cmath>

#include <troupe/model/local/embedding.h>
#include <troupe/model/local/evaluate.h>

namespace troupe::model {

Result<std::vector<float>> embed_text(Stage& whole_model, std::span<const TokenId> ids,
                                      const EmbeddingOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(const std::vector<float> rows, sequence_hidden(whole_model, ids, {}));
  constexpr double kLeastNorm = 1e-12;  // as torch.nn.functional.normalize has it
  const std::size_t channels = whole_model.config().channels;
  const std::size_t count = options.pooling == Pooling::kMean ? ids.size() : 1;
  std::vector<double> sum(channels);
  for (std::size_t row = 0; row < count; ++row)
    for (std::size_t c = 0; c < channels; ++c)
      sum[c] += static_cast<double>(rows[row * channels + c]);
  double squares = 0.0;
  std::vector<float> out;
  for (const double value : sum) {
    out.push_back(static_cast<float>(value / static_cast<double>(count)));
    squares += static_cast<double>(out.back()) * static_cast<double>(out.back());
  }
  if (!options.normalizes) return out;
  const double norm = std::max(std::sqrt(squares), kLeastNorm);
  for (float& value : out) value = static_cast<float>(static_cast<double>(value) / norm);
  return out;
}

}  // namespace troupe::model
