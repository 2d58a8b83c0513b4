#include <bit>
#include <cstring>
#include <string>

#include <troupe/runtime/wire/frame.h>

#define XXH_STATIC_LINKING_ONLY  // a hash state on the stack, so that hashing allocates nothing
#include <xxhash.h>

namespace troupe::wire {
namespace {

static_assert(std::endian::native == std::endian::little, "the wire is little-endian");

constexpr std::size_t kChecksumOffset = 72;

template <class T>
void put(std::span<std::byte> out, std::size_t offset, T value) {
  std::memcpy(out.data() + offset, &value, sizeof value);
}

template <class T>
T get(std::span<const std::byte> in, std::size_t offset) {
  T value;
  std::memcpy(&value, in.data() + offset, sizeof value);
  return value;
}

std::uint64_t checksum(std::span<const std::byte> head, std::span<const std::byte> body,
                       std::span<const std::byte> payload) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, head.data(), head.size());
  if (!body.empty()) XXH3_64bits_update(&state, body.data(), body.size());
  if (!payload.empty()) XXH3_64bits_update(&state, payload.data(), payload.size());
  return XXH3_64bits_digest(&state);
}

Status bad(std::string message) { return Status(Code::kBadData, std::move(message)); }

}  // namespace

std::array<std::byte, kHeaderBytes> seal(Header header, std::span<const std::byte> body,
                                         std::span<const std::byte> payload) {
  std::array<std::byte, kHeaderBytes> out{};
  put(std::span(out), 0, kMagic);
  put(std::span(out), 4, header.version);
  put(std::span(out), 6, header.type);
  put(std::span(out), 8, header.cluster);
  put(std::span(out), 16, header.incarnation);
  put(std::span(out), 24, header.epoch);
  put(std::span(out), 32, header.step);
  put(std::span(out), 40, header.attempt);
  put(std::span(out), 48, header.sequence);
  put(std::span(out), 56, static_cast<std::uint32_t>(body.size()));
  put(std::span(out), 64, static_cast<std::uint64_t>(payload.size()));
  put(std::span(out), kChecksumOffset,
      checksum(std::span(out).first(kChecksumOffset), body, payload));
  return out;
}

std::uint16_t type_of_any_version(std::span<const std::byte> bytes) {
  if (bytes.size() != kHeaderBytes || get<std::uint32_t>(bytes, 0) != kMagic) return kVersionNotice;
  return get<std::uint16_t>(bytes, 6);
}

Result<Header> parse_header(std::span<const std::byte> bytes, std::uint16_t version) {
  if (bytes.size() != kHeaderBytes) {
    return bad("a frame header has " + std::to_string(bytes.size()) + " bytes instead of " +
               std::to_string(kHeaderBytes));
  }
  if (get<std::uint32_t>(bytes, 0) != kMagic) return bad("a frame header without Troupe's magic");
  Header header;
  header.version = get<std::uint16_t>(bytes, 4);
  if (header.version != version) {
    return Status(Code::kFailedPrecondition,
                  "the peer speaks protocol version " + std::to_string(header.version) +
                      ", this program version " + std::to_string(version) +
                      ": run the same release of Troupe on every machine");
  }
  header.type = get<std::uint16_t>(bytes, 6);
  header.cluster = get<std::uint64_t>(bytes, 8);
  header.incarnation = get<std::uint64_t>(bytes, 16);
  header.epoch = get<std::uint64_t>(bytes, 24);
  header.step = get<std::uint64_t>(bytes, 32);
  header.attempt = get<std::uint32_t>(bytes, 40);
  header.sequence = get<std::uint64_t>(bytes, 48);
  header.body_bytes = get<std::uint32_t>(bytes, 56);
  header.payload_bytes = get<std::uint64_t>(bytes, 64);
  header.checksum = get<std::uint64_t>(bytes, kChecksumOffset);
  if (get<std::uint32_t>(bytes, 44) != 0 || get<std::uint32_t>(bytes, 60) != 0) {
    return bad("a frame header whose reserved fields are not zero");
  }
  if (header.body_bytes > kBodyBytesMax) {
    return bad("a frame announces a body of " + std::to_string(header.body_bytes) +
               " bytes, the limit is " + std::to_string(kBodyBytesMax));
  }
  if (header.payload_bytes > kPayloadBytesMax) {
    return bad("a frame announces a payload of " + std::to_string(header.payload_bytes) +
               " bytes, the limit is " + std::to_string(kPayloadBytesMax));
  }
  return header;
}

Status verify(const Header& header, std::span<const std::byte> header_bytes,
              std::span<const std::byte> body, std::span<const std::byte> payload) {
  if (header_bytes.size() != kHeaderBytes) {
    return bad("a frame header has " + std::to_string(header_bytes.size()) + " bytes");
  }
  if (body.size() != header.body_bytes) {
    return bad("a frame announces a body of " + std::to_string(header.body_bytes) +
               " bytes and brings " + std::to_string(body.size()));
  }
  if (payload.size() != header.payload_bytes) {
    return bad("a frame announces a payload of " + std::to_string(header.payload_bytes) +
               " bytes and brings " + std::to_string(payload.size()));
  }
  if (checksum(header_bytes.first(kChecksumOffset), body, payload) != header.checksum) {
    return bad("the checksum of a frame of type " + std::to_string(header.type) + " is wrong");
  }
  return Status::ok();
}

}  // namespace troupe::wire
