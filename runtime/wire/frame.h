#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <troupe/runtime/status.h>

// The frame header: a fixed little-endian layout that is validated before anything is allocated.
// On the wire a frame is up to three ZeroMQ parts: header, body (cereal, bounded), payload (raw
// tensor or file bytes; the part is absent when empty). Pure.
//
//   offset bytes field
//        0     4 magic            "TRP1"
//        4     2 version          kProtocolVersion
//        6     2 type             what the body is; the numbers live in actors/messages
//        8     8 cluster          cluster id; 0 only before a peer knows it (enrolment)
//       16     8 incarnation      of the sending process, random at its start
//       24     8 epoch            deployment epoch; 0 where no deployment is concerned
//       32     8 step             step id within the deployment; 0 where none
//       40     4 attempt          how often this step was sent before
//       44     4 reserved         zero
//       48     8 sequence         per sending process and channel, from 1; a receiver sees gaps
//       56     4 body_bytes
//       60     4 reserved         zero
//       64     8 payload_bytes
//       72     8 checksum         XXH3-64 of bytes [0,72), body, payload in this order
//       80

namespace troupe::wire {

constexpr std::uint32_t kMagic = 0x31505254;  // "TRP1" read little-endian
// This number is raised with every change to the contents of bodies. Nodes of two versions each
// report the difference in words.
constexpr std::uint16_t kProtocolVersion = 10;
// A frame of this type says only which version its sender speaks. It goes to a peer whose frames
// are of another version. Magic, version and type are at the same place in every version.
constexpr std::uint16_t kVersionNotice = 0;
// The first frame of a dialler on a connection: it carries nothing, but shows that the dialler will
// stay.
constexpr std::uint16_t kGreeting = 0xFFFF;
constexpr std::size_t kHeaderBytes = 80;
constexpr std::uint32_t kBodyBytesMax = 16u << 20;
constexpr std::uint64_t kPayloadBytesMax = 64ull << 20;
// A larger payload would delay heartbeats.
constexpr std::uint64_t kBulkPayloadBytesMax = 256u << 10;

struct Header {
  std::uint16_t version = kProtocolVersion;
  std::uint16_t type = 0;
  std::uint64_t cluster = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t epoch = 0;
  std::uint64_t step = 0;
  std::uint32_t attempt = 0;
  std::uint64_t sequence = 0;
  std::uint32_t body_bytes = 0;
  std::uint64_t payload_bytes = 0;
  std::uint64_t checksum = 0;
};

// Writes the header, with its sizes and checksum computed from body and payload.
std::array<std::byte, kHeaderBytes> seal(Header header, std::span<const std::byte> body,
                                         std::span<const std::byte> payload);
// Checks magic, version, reserved fields and bounds. `version` is the one that we speak.
//   Errors: kFailedPrecondition (another version; the text names both), kBadData (anything else).
Result<Header> parse_header(std::span<const std::byte> bytes,
                            std::uint16_t version = kProtocolVersion);
// Returns the type in a header of any version whose magic is right; kVersionNotice for another
// version.
std::uint16_t type_of_any_version(std::span<const std::byte> bytes);
// Checks the sizes and the checksum of a whole frame.
//   Errors: kBadData (says which of them is wrong).
Status verify(const Header& header, std::span<const std::byte> header_bytes,
              std::span<const std::byte> body, std::span<const std::byte> payload);

}  // namespace troupe::wire
