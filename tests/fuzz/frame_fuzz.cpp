// Feeds any bytes as a frame from the network: its header, and a body of the shape of a message.
#include <cstdint>

#include <troupe/model/store/manifest.h>
#include <troupe/runtime/wire/codec.h>
#include <troupe/runtime/wire/frame.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const std::size_t header_bytes = std::min(size, troupe::wire::kHeaderBytes);
  if (const auto header = troupe::wire::parse_header(bytes.first(header_bytes))) {
    const auto rest = bytes.subspan(header_bytes);
    const std::size_t body_bytes = std::min<std::size_t>(rest.size(), header->body_bytes);
    (void)troupe::wire::verify(*header, bytes.first(header_bytes), rest.first(body_bytes),
                               rest.subspan(body_bytes));
  }
  (void)troupe::wire::decode<troupe::model::Manifest>(bytes);
  return 0;
}
