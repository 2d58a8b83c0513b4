#include <algorithm>
#include <optional>
#include <vector>

#include <troupe/model/training/row_losses.h>
#include <troupe/runtime/numerics/elementary.h>

namespace troupe::model {
namespace {

// The logits of one row, which lie in blocks.
class LogitRow {
 public:
  LogitRow(const HeadStep& step, std::size_t row) : LogitRow(step, row, step.memory.logits) {}
  LogitRow(const HeadStep& step, std::size_t row, float* logits)
      : step_(step), row_(row - step.slice.begin), logits_(logits) {}
  template <class Body>
  void for_each(Body body) const {
    for_each_block(step_, logits_, [&](std::size_t first, std::size_t columns, float* logits) {
      body(first, columns, logits + row_ * columns);
    });
  }
  // Returns the row's part of the block that begins at column `first` and has `columns` columns.
  float* part(std::size_t first, std::size_t columns) const {
    return logits_ + first * step_.rows() + row_ * columns;
  }
  float& at(std::size_t index) const {
    float* found = nullptr;
    for_each([&](std::size_t first, std::size_t columns, float* logits) {
      if (index >= first && index < first + columns) found = logits + (index - first);
    });
    return *found;
  }

 private:
  const HeadStep& step_;
  const std::size_t row_;  // in the slice
  float* const logits_;
};

// Adds up 16 partial sums in one fixed order.
template <class Number>
Number sum_of(Number (&partial)[16]) {
  for (std::size_t apart = 8; apart > 0; apart /= 2)
    for (std::size_t i = 0; i < apart; ++i) partial[i] += partial[i + apart];
  return partial[0];
}

// loss.h's formula, where log p_c = d_c - log(sum of exp(d)), d_c = x_c - largest. The gradient of
// x_k is p_k (own + even W) - even w_k, less `own` at the target, with own = (1 - s) w_y, even =
// s / C and W the sum of all w.
class SmoothedRow {
 public:
  SmoothedRow(const HeadStep& step, const LogitRow& logits, std::size_t target)
      : weights_(step.loss.class_weights),
        even_(step.loss.label_smoothing / static_cast<float>(step.config.outputs())),
        own_((1.0f - step.loss.label_smoothing) * weight(target)) {
    // A block has a multiple of 16 columns, but for the last one.
    float all[16] = {}, partial[16] = {};
    logits.for_each([&](std::size_t first, std::size_t columns, const float* d) {
      for (std::size_t i = 0; i < columns; ++i) {
        all[i % 16] += weight(first + i);
        partial[i % 16] += weight(first + i) * d[i];
      }
    });
    all_ = sum_of(all);
    weighted_ = sum_of(partial);
  }

  float loss(float distance, float log_sum) const {
    return own_ * (log_sum - distance) + even_ * (all_ * log_sum - weighted_);
  }
  // Turns the row's probabilities into the gradient.
  void gradient(const LogitRow& logits, std::size_t target) const {
    logits.for_each([&](std::size_t first, std::size_t columns, float* p) {
      for (std::size_t i = 0; i < columns; ++i)
        p[i] = p[i] * (own_ + even_ * all_) - even_ * weight(first + i);
    });
    logits.at(target) -= own_;
  }

 private:
  float weight(std::size_t index) const { return weights_.empty() ? 1.0f : weights_[index]; }
  const std::vector<float>& weights_;
  const float even_, own_;
  float all_ = 0.0f, weighted_ = 0.0f;
};

// The part of a row's loss that a teacher adds: r T^2 (sum of q (log q - log p)), where q is the
// teacher's distribution and p the model's, both at temperature T; and its gradient, r T (p - q).
class TaughtRow {
 public:
  // `logits` are the model's, less their largest. The gradient replaces the teacher's logits.
  TaughtRow(const HeadStep& step, const LogitRow& logits, const LogitRow& teacher)
      : step_(step),
        teacher_(teacher),
        temperature_(step.loss.teacher_temperature),
        p_(logit_block(step.config)) {
    float largest = teacher.at(0);
    teacher.for_each([&](std::size_t, std::size_t columns, const float* z) {
      for (std::size_t i = 0; i < columns; ++i) largest = std::max(largest, z[i]);
    });
    double all_p[16] = {}, all_q[16] = {}, apart[16] = {};
    std::vector<float> q(p_.size());
    teacher.for_each([&](std::size_t first, std::size_t columns, float* z) {
      for (std::size_t i = 0; i < columns; ++i) z[i] = (z[i] - largest) / temperature_;
      step_.team.kernels.exp(z, q.data(), columns);
      const float* x = logits.part(first, columns);
      own_part(x, columns);
      for (std::size_t i = 0; i < columns; ++i) {
        const auto weight = static_cast<double>(q[i]);
        all_p[i % 16] += static_cast<double>(p_[i]);
        all_q[i % 16] += weight;
        apart[i % 16] += weight * static_cast<double>(z[i] - x[i] / temperature_);
      }
      std::copy_n(q.data(), columns, z);
    });
    sum_p_ = sum_of(all_p);
    sum_q_ = sum_of(all_q);
    const double ratio = static_cast<double>(step.loss.teacher_ratio);
    const auto squared = static_cast<double>(temperature_ * temperature_);
    loss_ =
        static_cast<float>(ratio * squared *
                           (sum_of(apart) / sum_q_ +
                            static_cast<double>(log_bits(static_cast<float>(sum_p_ / sum_q_)))));
  }

  float loss() const { return loss_; }
  // Replaces the teacher's logits by the gradient.
  void gradient(const LogitRow& logits) {
    const float scale = step_.loss.teacher_ratio * temperature_;
    const auto sum_p = static_cast<float>(sum_p_), sum_q = static_cast<float>(sum_q_);
    teacher_.for_each([&](std::size_t first, std::size_t columns, float* q) {
      own_part(logits.part(first, columns), columns);
      for (std::size_t i = 0; i < columns; ++i) q[i] = scale * (p_[i] / sum_p - q[i] / sum_q);
    });
  }
  // x = (1 - r) x + the gradient, where x is the gradient of the hard loss.
  void mix(const LogitRow& gradients) const {
    const float own = 1.0f - step_.loss.teacher_ratio;
    gradients.for_each([&](std::size_t first, std::size_t columns, float* x) {
      const float* taught = teacher_.part(first, columns);
      for (std::size_t i = 0; i < columns; ++i) x[i] = own * x[i] + taught[i];
    });
  }

 private:
  // p_ = exp(x / T)
  void own_part(const float* x, std::size_t columns) {
    for (std::size_t i = 0; i < columns; ++i) p_[i] = x[i] / temperature_;
    step_.team.kernels.exp(p_.data(), p_.data(), columns);
  }

  const HeadStep& step_;
  const LogitRow teacher_;
  const float temperature_;
  std::vector<float> p_;  // of the block under way
  double sum_p_ = 0.0, sum_q_ = 0.0;
  float loss_ = 0.0f;
};

// loss = log(sum of exp(x - largest)) - (x[target] - largest), where the sum has 16 partial sums.
void row_cross_entropy(HeadStep& step, std::size_t row, bool gradients) {
  const LogitRow logits(step, row);
  const std::size_t target = step.batch.targets[row];
  float largest = logits.at(0);
  std::size_t choice = 0;
  logits.for_each([&](std::size_t first, std::size_t columns, const float* x) {
    for (std::size_t i = 0; i < columns; ++i)
      if (x[i] > largest) largest = x[i], choice = first + i;
  });
  const float distance = logits.at(target) - largest;
  logits.for_each([&](std::size_t, std::size_t columns, float* x) {
    for (std::size_t i = 0; i < columns; ++i) x[i] -= largest;
  });
  std::optional<SmoothedRow> smoothed;
  if (step.loss.label_smoothing != 0.0f || !step.loss.class_weights.empty())
    smoothed.emplace(step, logits, target);
  std::optional<TaughtRow> taught;
  if (step.teacher_logits != nullptr) {
    taught.emplace(step, logits, LogitRow(step, row, step.teacher_logits));
    if (gradients) taught->gradient(logits);
  }
  float partial[16] = {};
  logits.for_each([&](std::size_t, std::size_t columns, float* x) {
    step.team.kernels.exp(x, x, columns);
    const std::size_t whole = columns / 16 * 16;
    for (std::size_t i = 0; i < whole; i += 16)
      for (std::size_t lane = 0; lane < 16; ++lane) partial[lane] += x[i + lane];
    for (std::size_t i = whole; i < columns; ++i) partial[i - whole] += x[i];
  });
  const float sum = sum_of(partial), log_sum = log_bits(sum);
  const float weight = step.batch.weights[row];
  float loss = smoothed ? smoothed->loss(distance, log_sum) : log_sum - distance;
  if (taught) loss = (1.0f - step.loss.teacher_ratio) * loss + taught->loss();
  step.memory.losses[row] = weight * loss;
  step.memory.hits[row] = choice == target ? 1 : 0;
  if (!gradients) return;
  logits.for_each([&](std::size_t, std::size_t columns, float* x) {
    for (std::size_t i = 0; i < columns; ++i) x[i] = x[i] / sum;
  });
  if (smoothed) {
    smoothed->gradient(logits, target);
  } else {
    logits.at(target) -= 1.0f;
  }
  if (taught) taught->mix(logits);
  if (weight == 1.0f) return;
  logits.for_each([&](std::size_t, std::size_t columns, float* x) {
    for (std::size_t i = 0; i < columns; ++i) x[i] *= weight;
  });
}

// loss = (x - value)^2, whose gradient is 2 (x - value).
void row_squares(HeadStep& step, std::size_t row, bool gradients) {
  float& x = LogitRow(step, row).at(0);
  const float distance = x - step.batch.values[row], weight = step.batch.weights[row];
  step.memory.losses[row] = weight * (distance * distance);
  step.memory.hits[row] = 0;
  if (gradients) x = weight * (2.0f * distance);
}

}  // namespace

void row_losses(HeadStep& step, bool gradients, int thread) {
  const IndexRange mine = step.team.share(step.rows(), thread);
  for (std::size_t i = mine.begin; i < mine.end; ++i) {
    const std::size_t row = step.slice.begin + i;
    if (step.loss.kind == LossKind::kSquares) {
      row_squares(step, row, gradients);
    } else {
      row_cross_entropy(step, row, gradients);
    }
  }
  step.team.barrier(thread);
}

}  // namespace troupe::model
