// Feeds any bytes as a safetensors file to its header's reader, and so to the bounded JSON reader.
#include <cstdint>
#include <cstdlib>

#include <troupe/model/files/safetensors.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto tensors = troupe::model::parse_safetensors_header(bytes, size, "fuzz.safetensors");
  if (!tensors) return 0;
  for (const auto& tensor : *tensors)
    if (tensor.offset > size || tensor.bytes > size - tensor.offset) std::abort();
  return 0;
}
