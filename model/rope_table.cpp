#include <troupe/model/rope_table.h>
#include <troupe/model/trig.h>

namespace troupe::model {

RopeTable::RopeTable(double theta, std::size_t rotary_dim) : frequencies_(rotary_dim / 2) {
  for (std::size_t i = 0; i < frequencies_.size(); ++i)
    frequencies_[i] = power(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
}

void RopeTable::grow(std::size_t count) {
  while (blocks_.size() * kBlockPositions < count) {
    const std::size_t first = blocks_.size() * kBlockPositions;
    auto block = std::make_unique<float[]>(kBlockPositions * 2 * frequencies_.size());
    float* out = block.get();
    for (std::size_t position = first; position < first + kBlockPositions; ++position)
      for (const double frequency : frequencies_) {
        const SinCos value = sin_cos(static_cast<double>(position) * frequency);
        *out++ = static_cast<float>(value.cos);
        *out++ = static_cast<float>(value.sin);
      }
    blocks_.push_back(std::move(block));
  }
}

}  // namespace troupe::model
