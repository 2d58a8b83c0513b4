#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <troupe/runtime/wire/frame.h>

// Any bytes as a frame: the first 80 are the header, two more say where the body ends.
// clang++-14 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -I build/include
//   tests/fuzz/frame_fuzz.cpp runtime/wire/frame.cpp runtime/status.cpp -lxxhash

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace troupe;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto head = bytes.first(std::min(size, wire::kHeaderBytes));
  const Result<wire::Header> header = wire::parse_header(head);
  if (!header) return 0;
  if (header->body_bytes > wire::kBodyBytesMax) std::abort();
  if (header->payload_bytes > wire::kPayloadBytesMax) std::abort();
  auto rest = bytes.subspan(wire::kHeaderBytes);
  std::size_t cut = 0;
  if (rest.size() >= 2) {
    cut = std::to_integer<std::size_t>(rest[0]) | std::to_integer<std::size_t>(rest[1]) << 8;
    rest = rest.subspan(2);
    cut = std::min(cut, rest.size());
  }
  const auto body = rest.first(cut), payload = rest.subspan(cut);
  if (wire::verify(*header, head, body, payload).is_ok()) {
    // What is accepted is exactly what sealing gives.
    const auto sealed = wire::seal(*header, body, payload);
    if (!std::equal(sealed.begin(), sealed.end(), head.begin())) std::abort();
  }
  return 0;
}
