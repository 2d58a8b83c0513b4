#include <algorithm>
#include <cmath>
#include <string>

#include <troupe/model/training/contrastive.h>
#include <troupe/runtime/numerics/elementary.h>
#include <troupe/runtime/status.h>

namespace troupe::model {
namespace {

constexpr double kLeastNorm = 1e-12;  // as torch.nn.functional.normalize has it

class Contrast {
 public:
  Contrast(std::span<const float> pooled, std::size_t channels, const ContrastiveOptions& options,
           ThreadPool& pool)
      : pooled_(pooled),
        channels_(channels),
        group_(options.group()),
        texts_(pooled.size() / channels),
        anchors_(texts_ / group_),
        candidates_(texts_ - anchors_),
        temperature_(options.temperature),
        pool_(pool),
        norms_(texts_),
        units_(pooled.size()),
        slopes_(anchors_ * candidates_),
        losses_(anchors_),
        hits_(anchors_) {}

  ContrastiveLoss run() {
    ContrastiveLoss out;
    out.gradients.resize(pooled_.size());
    pool_.run([&](int thread) {
      for_each(texts_, thread, [&](std::size_t text) { norm(text); });
      pool_.barrier(thread);
      for_each(anchors_, thread, [&](std::size_t anchor) { compare(anchor); });
      pool_.barrier(thread);
      std::vector<double> unit(channels_);
      for_each(texts_, thread,
               [&](std::size_t text) { gradient(text, unit, &out.gradients[text * channels_]); });
    });
    for (std::size_t anchor = 0; anchor < anchors_; ++anchor) {
      out.loss += losses_[anchor];
      out.hits += hits_[anchor];
    }
    return out;
  }

 private:
  template <class Body>
  void for_each(std::size_t count, int thread, Body body) const {
    const IndexRange mine = split(count, thread, pool_.threads());
    for (std::size_t i = mine.begin; i < mine.end; ++i) body(i);
  }

  // Returns the text that is candidate j: positives come first.
  std::size_t text_of(std::size_t j) const {
    if (j < anchors_) return j * group_ + 1;
    const std::size_t negative = j - anchors_, each = group_ - 2;
    return negative / each * group_ + 2 + negative % each;
  }

  double product(const double* a, const double* b) const {
    double sum = 0.0;
    for (std::size_t c = 0; c < channels_; ++c) sum += a[c] * b[c];
    return sum;
  }
  double* unit_of(std::size_t text) { return units_.data() + text * channels_; }

  void norm(std::size_t text) {
    const float* x = pooled_.data() + text * channels_;
    double* unit = unit_of(text);
    std::copy(x, x + channels_, unit);
    norms_[text] = std::max(std::sqrt(product(unit, unit)), kLeastNorm);
    for (std::size_t c = 0; c < channels_; ++c) unit[c] /= norms_[text];
  }

  // Computes the loss of an anchor, and in slopes_ the gradient of its cosines.
  void compare(std::size_t anchor) {
    double* row = slopes_.data() + anchor * candidates_;
    const double* own = unit_of(anchor * group_);
    for (std::size_t j = 0; j < candidates_; ++j)
      row[j] = product(own, unit_of(text_of(j))) / temperature_;
    const double* largest = std::max_element(row, row + candidates_);
    hits_[anchor] = static_cast<std::size_t>(largest - row) == anchor ? 1 : 0;
    const double most = *largest, distance = row[anchor] - most;
    double sum = 0.0;
    for (std::size_t j = 0; j < candidates_; ++j) {
      row[j] = static_cast<double>(exp_bits(static_cast<float>(row[j] - most)));
      sum += row[j];
    }
    losses_[anchor] = static_cast<double>(log_bits(static_cast<float>(sum))) - distance;
    for (std::size_t j = 0; j < candidates_; ++j) row[j] /= sum;
    row[anchor] -= 1.0;
    for (std::size_t j = 0; j < candidates_; ++j) row[j] /= temperature_;
  }

  void gradient(std::size_t text, std::vector<double>& sum, float* out) {
    std::fill(sum.begin(), sum.end(), 0.0);
    const auto add = [&](double slope, const double* other) {
      for (std::size_t c = 0; c < channels_; ++c) sum[c] += slope * other[c];
    };
    const std::size_t of = text / group_, place = text % group_;
    if (place == 0) {
      for (std::size_t j = 0; j < candidates_; ++j)
        add(slopes_[of * candidates_ + j], unit_of(text_of(j)));
    } else {
      const std::size_t j = place == 1 ? of : anchors_ + of * (group_ - 2) + place - 2;
      for (std::size_t anchor = 0; anchor < anchors_; ++anchor)
        add(slopes_[anchor * candidates_ + j], unit_of(anchor * group_));
    }
    // Goes back through x / |x|: the component along the unit vector has no effect.
    const double* unit = unit_of(text);
    const double along = product(unit, sum.data());
    for (std::size_t c = 0; c < channels_; ++c)
      out[c] = static_cast<float>((sum[c] - along * unit[c]) / norms_[text]);
  }

  const std::span<const float> pooled_;
  const std::size_t channels_, group_, texts_, anchors_, candidates_;
  const double temperature_;
  ThreadPool& pool_;
  std::vector<double> norms_, units_;
  std::vector<double> slopes_;  // (anchors, candidates)
  std::vector<double> losses_;
  std::vector<std::size_t> hits_;
};

}  // namespace

std::uint64_t contrastive_bytes(std::size_t texts, std::size_t channels,
                                const ContrastiveOptions& options) {
  const std::uint64_t anchors = texts / options.group(), candidates = texts - anchors;
  // Means and their gradients are in single precision; units, norms and slopes are in double
  // precision.
  return std::uint64_t{texts} * channels * (2 * sizeof(float) + sizeof(double)) +
         texts * sizeof(double) + anchors * candidates * sizeof(double);
}

ContrastiveLoss contrastive_loss(std::span<const float> pooled, std::size_t channels,
                                 const ContrastiveOptions& options, ThreadPool& pool) {
  TROUPE_CHECK(pooled.size() % (channels * options.group()) == 0, std::to_string(pooled.size()));
  return Contrast(pooled, channels, options, pool).run();
}

}  // namespace troupe::model
