#include <string>

#include <troupe/runtime/kernels/activations.h>

namespace troupe::kernels {

quant::ActivationKind activation_kind(quant::Type type) {
  const quant::Format* format = quant::find(type);
  TROUPE_CHECK(format != nullptr, std::to_string(static_cast<std::uint32_t>(type)));
  return format->activations;
}

}  // namespace troupe::kernels
