#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include <troupe/model/training/optimizer.h>
#include <troupe/runtime/kernels/update.h>

namespace troupe::model {
namespace {

// Values that a thread updates at once. The norm is a sum over these pieces, in order.
constexpr std::size_t kPiece = 1 << 16;

struct Piece {
  std::size_t parameter, begin, end;
};

std::vector<Piece> pieces_of(std::span<Parameter* const> parameters) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::size_t floats = parameters[i]->floats;
    for (std::size_t begin = 0; begin < floats; begin += kPiece)
      pieces.push_back({i, begin, std::min(floats, begin + kPiece)});
  }
  return pieces;
}

// base^exponent by squaring: no function of libm, whose bits may differ.
double whole_power(double base, std::uint64_t exponent) {
  double result = 1.0;
  for (; exponent != 0; exponent /= 2, base *= base)
    if (exponent % 2 != 0) result *= base;
  return result;
}

float* array(AlignedBuffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }

void make_zeroed(AlignedBuffer* buffer, std::size_t floats) {
  if (buffer->bytes() != 0) return;
  *buffer = AlignedBuffer(floats * sizeof(float));
  std::memset(buffer->data(), 0, floats * sizeof(float));
}

// Calls body(index of the piece) for each piece, on all threads.
template <class Body>
void for_each_piece(const std::vector<Piece>& pieces, ThreadPool& pool, Body body) {
  std::atomic<std::size_t> next{0};
  pool.run([&](int) {
    for (std::size_t i; (i = next.fetch_add(1)) < pieces.size();) body(i);
  });
}

}  // namespace

UpdateReport Optimizer::update(std::span<Parameter* const> parameters, double divisor,
                               double learning_rate, ThreadPool& pool) {
  const std::vector<Piece> pieces = pieces_of(parameters);
  std::vector<double> squares(pieces.size());
  for_each_piece(pieces, pool, [&](std::size_t i) {
    const Piece& piece = pieces[i];
    squares[i] = kernels::sum_of_squares(
        parameters[piece.parameter]->gradient_values() + piece.begin, piece.end - piece.begin);
  });
  UpdateReport report;
  double sum = 0.0;
  for (const double square : squares) sum += square;
  report.gradient_norm = std::sqrt(sum) / divisor;
  if (!std::isfinite(report.gradient_norm)) return report;
  const double clip = options_.clip_norm > 0.0
                          ? std::min(1.0, options_.clip_norm / (report.gradient_norm + 1e-6))
                          : 1.0;
  prepare(parameters);
  ++steps_;
  for_each_piece(pieces, pool, [&](std::size_t i) {
    update_range(*parameters[pieces[i].parameter], pieces[i].begin, pieces[i].end,
                 static_cast<float>(clip / divisor), learning_rate);
  });
  report.applied = true;
  return report;
}

void Optimizer::prepare(std::span<Parameter* const> parameters) const {
  const bool adam = options_.kind == OptimizerKind::kAdamW;
  for (Parameter* parameter : parameters) {
    if (adam || options_.momentum != 0.0) make_zeroed(&parameter->first_moment, parameter->floats);
    if (adam) make_zeroed(&parameter->second_moment, parameter->floats);
  }
}

void Optimizer::update_range(Parameter& parameter, std::size_t begin, std::size_t end,
                             float gradient_scale, double learning_rate) const {
  const double decay = parameter.decays || options_.decays_vectors ? options_.weight_decay : 0.0;
  const float* sums = parameter.gradient_values() + begin;
  float* weights = parameter.values() + begin;
  if (options_.kind == OptimizerKind::kSgd) {
    kernels::SgdStep step;
    step.gradient_scale = gradient_scale;
    step.rate = static_cast<float>(learning_rate);
    step.momentum = static_cast<float>(options_.momentum);
    step.decay = static_cast<float>(decay);
    float* buffer = options_.momentum == 0.0 ? nullptr : array(parameter.first_moment) + begin;
    return kernels::sgd(step, sums, weights, buffer, end - begin);
  }
  const double second_root = std::sqrt(1.0 - whole_power(options_.beta2, steps_));
  kernels::AdamWStep step;
  step.gradient_scale = gradient_scale;
  step.beta1 = static_cast<float>(options_.beta1);
  step.beta2 = static_cast<float>(options_.beta2);
  step.keep = static_cast<float>(1.0 - learning_rate * decay);
  step.step_size =
      static_cast<float>(learning_rate * second_root / (1.0 - whole_power(options_.beta1, steps_)));
  step.epsilon = static_cast<float>(options_.epsilon * second_root);
  kernels::adamw(step, sums, weights, array(parameter.first_moment) + begin,
                 array(parameter.second_moment) + begin, end - begin);
}

}  // namespace troupe::model
