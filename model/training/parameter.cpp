#include <cstring>

#include <troupe/model/training/parameter.h>

namespace troupe::model {
namespace {

AlignedBuffer zeroed(std::size_t floats) {
  AlignedBuffer buffer(floats * sizeof(float));
  std::memset(buffer.data(), 0, floats * sizeof(float));
  return buffer;
}

}  // namespace

float* Parameter::values() {
  return weight->vector.empty() ? reinterpret_cast<float*>(weight->matrix.data.data())
                                : weight->vector.data();
}

const float* Parameter::stored_values() const {
  return weight->vector.empty() ? reinterpret_cast<const float*>(weight->matrix.data.data())
                                : weight->vector.data();
}

void Parameter::reserve(std::size_t depth) {
  for (std::size_t i = 0; i < depth; ++i)
    if (gradient[i].bytes() == 0) gradient[i] = zeroed((floats + 15) / 16 * 16);
}

kernels::GradientSum Parameter::sum(const SumPart& part) {
  float* stack[kernels::kSumStackMax];
  for (std::size_t i = 0; i < kernels::kSumStackMax; ++i)
    stack[i] = reinterpret_cast<float*>(gradient[i].data());
  return part.over(stack);
}

}  // namespace troupe::model
