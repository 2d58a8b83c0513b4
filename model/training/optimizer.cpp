#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include <troupe/model/training/optimizer.h>
#include <troupe/runtime/kernels/update.h>

namespace troupe::model {
namespace {

// The number of values that a thread updates at once. The norm is a sum over these pieces, in
// order.
constexpr std::size_t kPiece = 1 << 16;

// The number of learning rates that are remembered before every table is brought up to date.
constexpr std::size_t kRatesMax = 4096;

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

// Calls body(i) for each i below `count`, on all threads.
template <class Body>
void for_each(std::size_t count, ThreadPool& pool, Body body) {
  std::atomic<std::size_t> next{0};
  pool.run([&](int) {
    for (std::size_t i; (i = next.fetch_add(1)) < count;) body(i);
  });
}

// Calls body(begin, end) for the parts of [begin, end) whose gradients the last batch made.
template <class Body>
void for_each_part(const Parameter& parameter, std::size_t begin, std::size_t end, Body body) {
  if (!parameter.is_looked_up) return body(begin, end);
  const std::size_t floats = parameter.group_floats();
  const auto& groups = parameter.gradient_groups;
  for (auto group = std::lower_bound(groups.begin(), groups.end(), begin / floats);
       group != groups.end() && *group * floats < end; ++group)
    body(std::max(begin, *group * floats), std::min(end, (*group + 1) * floats));
}

double squares_of(const Parameter& parameter, std::size_t begin, std::size_t end) {
  kernels::SquareSum sum;
  for_each_part(parameter, begin, end, [&](std::size_t from, std::size_t to) {
    sum.add(parameter.gradient_values() + from, to - from);
  });
  return sum.total();
}

bool is_zero(const AlignedBuffer& buffer, std::size_t begin, std::size_t floats) {
  const auto* values = reinterpret_cast<const float*>(buffer.data()) + begin;
  return std::all_of(values, values + floats, [](float value) { return value == 0.0f; });
}

}  // namespace

UpdateReport Optimizer::update(std::span<Parameter* const> parameters, double divisor,
                               double learning_rate, ThreadPool& pool) {
  const std::vector<Piece> pieces = pieces_of(parameters);
  std::vector<double> squares(pieces.size());
  for_each(pieces.size(), pool, [&](std::size_t i) {
    squares[i] = squares_of(*parameters[pieces[i].parameter], pieces[i].begin, pieces[i].end);
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
  for (Parameter* parameter : parameters) {
    if (!parameter->is_looked_up) continue;
    if (parameter->group_updates.empty())
      parameter->group_updates.assign(parameter->weight->matrix.groups, steps_);
    catch_up(*parameter, parameter->gradient_groups, pool);
  }
  ++steps_;
  rates_.push_back(learning_rate);
  const auto scale = static_cast<float>(clip / divisor);
  for_each(pieces.size(), pool, [&](std::size_t i) {
    Parameter& parameter = *parameters[pieces[i].parameter];
    for_each_part(parameter, pieces[i].begin, pieces[i].end, [&](std::size_t from, std::size_t to) {
      update_range(parameter, from, to, parameter.gradient_values() + from, scale, steps_,
                   learning_rate);
    });
  });
  for (Parameter* parameter : parameters)
    if (parameter->is_looked_up)
      for (const std::size_t group : parameter->gradient_groups)
        parameter->group_updates[group] = steps_;
  if (rates_.size() >= kRatesMax) catch_up(parameters, pool);
  report.applied = true;
  return report;
}

void Optimizer::catch_up(Parameter& table, std::span<const std::size_t> groups, ThreadPool& pool) {
  if (table.group_updates.empty()) return;
  zeros_.resize(std::max(zeros_.size(), table.group_floats()));
  for_each(groups.size(), pool, [&](std::size_t i) { catch_up_group(table, groups[i], steps_); });
}

void Optimizer::catch_up(std::span<Parameter* const> parameters, ThreadPool& pool) {
  for (Parameter* parameter : parameters) {
    if (parameter->group_updates.empty()) continue;
    std::vector<std::size_t> groups(parameter->group_updates.size());
    for (std::size_t group = 0; group < groups.size(); ++group) groups[group] = group;
    catch_up(*parameter, groups, pool);
    parameter->group_updates.clear();
  }
  caught_up_ = steps_;
  rates_.clear();
}

void Optimizer::catch_up_group(Parameter& table, std::size_t group, std::uint64_t step) const {
  std::uint64_t& updates = table.group_updates[group];
  const std::size_t begin = group * table.group_floats(), end = begin + table.group_floats();
  if (updates >= step) return;
  if (!decay_alone(table, group, step)) {
    for (std::uint64_t next = updates + 1; next <= step; ++next)
      update_range(table, begin, end, zeros_.data(), 0.0f, next, rates_[next - 1 - caught_up_]);
  }
  updates = step;
}

// Updates a group that never had a gradient, and returns false for any other group. In AdamW the
// moments of such a group are 0 and stay so, and only the decay acts.
bool Optimizer::decay_alone(Parameter& table, std::size_t group, std::uint64_t step) const {
  const std::size_t floats = table.group_floats(), begin = group * floats;
  if (options_.kind != OptimizerKind::kAdamW || !is_zero(table.first_moment, begin, floats) ||
      !is_zero(table.second_moment, begin, floats))
    return false;
  float* weights = table.values() + begin;
  const auto step_of = [&](std::uint64_t number) {
    return adamw_step(table, number, rates_[number - 1 - caught_up_]);
  };
  for (std::uint64_t next = table.group_updates[group] + 1; next <= step; ++next)
    if (!(step_of(next).epsilon > 0.0f)) return false;  // 0 / 0
  for (std::uint64_t next = table.group_updates[group] + 1; next <= step; ++next) {
    const kernels::AdamWStep with = step_of(next);
    if (with.keep == 1.0f) continue;
    for (std::size_t i = 0; i < floats; ++i) weights[i] *= with.keep;
  }
  return true;
}

void Optimizer::prepare(std::span<Parameter* const> parameters) const {
  const bool adam = options_.kind == OptimizerKind::kAdamW;
  for (Parameter* parameter : parameters) {
    if (adam || options_.momentum != 0.0) make_zeroed(&parameter->first_moment, parameter->floats);
    if (adam) make_zeroed(&parameter->second_moment, parameter->floats);
  }
}

kernels::AdamWStep Optimizer::adamw_step(const Parameter& parameter, std::uint64_t number,
                                         double learning_rate) const {
  const double decay = parameter.decays || options_.decays_vectors ? options_.weight_decay : 0.0;
  const double second_root = std::sqrt(1.0 - whole_power(options_.beta2, number));
  kernels::AdamWStep step;
  step.beta1 = static_cast<float>(options_.beta1);
  step.beta2 = static_cast<float>(options_.beta2);
  step.keep = static_cast<float>(1.0 - learning_rate * decay);
  step.step_size =
      static_cast<float>(learning_rate * second_root / (1.0 - whole_power(options_.beta1, number)));
  step.epsilon = static_cast<float>(options_.epsilon * second_root);
  return step;
}

void Optimizer::update_range(Parameter& parameter, std::size_t begin, std::size_t end,
                             const float* sums, float gradient_scale, std::uint64_t number,
                             double learning_rate) const {
  float* weights = parameter.values() + begin;
  if (options_.kind == OptimizerKind::kSgd) {
    kernels::SgdStep step;
    step.gradient_scale = gradient_scale;
    step.rate = static_cast<float>(learning_rate);
    step.momentum = static_cast<float>(options_.momentum);
    step.decay = static_cast<float>(
        parameter.decays || options_.decays_vectors ? options_.weight_decay : 0.0);
    float* buffer = options_.momentum == 0.0 ? nullptr : array(parameter.first_moment) + begin;
    return kernels::sgd(step, sums, weights, buffer, end - begin);
  }
  kernels::AdamWStep step = adamw_step(parameter, number, learning_rate);
  step.gradient_scale = gradient_scale;
  kernels::adamw(step, sums, weights, array(parameter.first_moment) + begin,
                 array(parameter.second_moment) + begin, end - begin);
}

}  // namespace troupe::model
