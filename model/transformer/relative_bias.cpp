#include <algorithm>

#include <troupe/model/transformer/relative_bias.h>

namespace troupe::model {
namespace {

constexpr std::size_t kReach = 128;  // from here on, all distances are in the last bucket

// Says whether distance >= near * (kReach / near)^(step / steps), without roots: distance^steps *
// near^step >= near^steps * kReach^step. Both sides are equal only where all of these are powers of
// two, which a long double holds exactly.
bool is_beyond(std::size_t distance, std::size_t near, std::size_t step, std::size_t steps) {
  long double left = 1.0L, right = 1.0L;
  for (std::size_t i = 0; i < steps; ++i) {
    left *= static_cast<long double>(distance);
    right *= static_cast<long double>(near);
  }
  for (std::size_t i = 0; i < step; ++i) {
    left *= static_cast<long double>(near);
    right *= static_cast<long double>(kReach);
  }
  return left >= right;
}

}  // namespace

// Returns the bucket of a distance. Half of the buckets are for keys before the row, and half for
// keys behind it. In either half, half of the buckets hold one distance each, and the others hold
// ranges that grow with the distance.
std::size_t relative_bucket(std::ptrdiff_t distance, std::size_t buckets) {
  const std::size_t side = buckets / 2, near = side / 2;
  const std::size_t first = distance > 0 ? side : 0;
  const auto apart = static_cast<std::size_t>(distance > 0 ? distance : -distance);
  if (apart < near) return first + apart;
  std::size_t step = 0;
  while (near + step + 1 < side && is_beyond(apart, near, step + 1, side - near)) ++step;
  return first + near + step;
}

RelativeBias::RelativeBias(const ModelConfig& config, const kernels::PackedMatrix& table) {
  if (config.relative_buckets == 0) return;
  reach_ = kReach;
  const std::size_t places = 2 * reach_ + 1, heads = config.heads;
  std::vector<float> row(heads);
  values_.resize(heads * places);
  for (std::size_t place = 0; place < places; ++place) {
    const auto distance = static_cast<std::ptrdiff_t>(place) - static_cast<std::ptrdiff_t>(reach_);
    kernels::unpack_row(table, relative_bucket(distance, config.relative_buckets), row.data());
    for (std::size_t head = 0; head < heads; ++head) values_[head * places + place] = row[head];
  }
}

}  // namespace troupe::model
