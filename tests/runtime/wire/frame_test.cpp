#include <cstring>
#include <limits>

#include <catch2/catch.hpp>

#include <troupe/runtime/wire/frame.h>

namespace {

using namespace troupe;

std::vector<std::byte> some_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 7 + 3);
  return bytes;
}

wire::Header example() {
  wire::Header header;
  header.type = 0x0102;
  header.cluster = 0x1112131415161718;
  header.incarnation = 0x2122232425262728;
  header.epoch = 0x3132333435363738;
  header.step = 0x4142434445464748;
  header.attempt = 0x51525354;
  header.sequence = 0x6162636465666768;
  return header;
}

// Returns true if the frame is accepted as good, from its bytes alone.
bool accepted(std::span<const std::byte> head, std::span<const std::byte> body,
              std::span<const std::byte> payload) {
  const auto header = wire::parse_header(head);
  return header.is_ok() && wire::verify(*header, head, body, payload).is_ok();
}

template <class T>
void overwrite(std::array<std::byte, wire::kHeaderBytes>& head, std::size_t offset, T value) {
  std::memcpy(head.data() + offset, &value, sizeof value);
}

}  // namespace

TEST_CASE("frame: fields come back and lie where the drawing says", "[frame]") {
  const auto body = some_bytes(5), payload = some_bytes(300);
  const auto head = wire::seal(example(), body, payload);
  const auto header = wire::parse_header(head);
  REQUIRE(header.is_ok());
  CHECK(header->version == wire::kProtocolVersion);
  CHECK(header->type == 0x0102);
  CHECK(header->cluster == 0x1112131415161718);
  CHECK(header->incarnation == 0x2122232425262728);
  CHECK(header->epoch == 0x3132333435363738);
  CHECK(header->step == 0x4142434445464748);
  CHECK(header->attempt == 0x51525354);
  CHECK(header->sequence == 0x6162636465666768);
  CHECK(header->body_bytes == 5);
  CHECK(header->payload_bytes == 300);
  CHECK(wire::verify(*header, head, body, payload).is_ok());
  CHECK(std::memcmp(head.data(), "TRP1", 4) == 0);
  CHECK(std::to_integer<int>(head[6]) == 0x02);
  CHECK(std::to_integer<int>(head[48]) == 0x68);
}

TEST_CASE("frame: empty body and payload", "[frame]") {
  const auto head = wire::seal(example(), {}, {});
  CHECK(accepted(head, {}, {}));
}

TEST_CASE("frame: every flipped bit is detected", "[frame]") {
  const auto body = some_bytes(33), payload = some_bytes(100);
  const auto head = wire::seal(example(), body, payload);
  REQUIRE(accepted(head, body, payload));
  for (std::size_t bit = 0; bit < head.size() * 8; ++bit) {
    auto flipped = head;
    flipped[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    INFO("header bit " << bit);
    REQUIRE_FALSE(accepted(flipped, body, payload));
  }
  for (std::size_t bit = 0; bit < body.size() * 8; ++bit) {
    auto flipped = body;
    flipped[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    REQUIRE_FALSE(accepted(head, flipped, payload));
  }
  for (std::size_t bit = 0; bit < payload.size() * 8; ++bit) {
    auto flipped = payload;
    flipped[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    REQUIRE_FALSE(accepted(head, body, flipped));
  }
}

TEST_CASE("frame: bytes cannot move between body and payload", "[frame]") {
  const auto bytes = some_bytes(10);
  const auto head = wire::seal(example(), std::span(bytes).first(4), std::span(bytes).subspan(4));
  CHECK(accepted(head, std::span(bytes).first(4), std::span(bytes).subspan(4)));
  CHECK_FALSE(accepted(head, std::span(bytes).first(5), std::span(bytes).subspan(5)));
  CHECK_FALSE(accepted(head, bytes, {}));
  CHECK_FALSE(accepted(head, std::span(bytes).first(4), std::span(bytes).subspan(4, 5)));
}

TEST_CASE("frame: sizes over the bounds are refused before anything is read", "[frame]") {
  auto head = wire::seal(example(), {}, {});
  for (const std::uint32_t size : {wire::kBodyBytesMax + 1, UINT32_MAX, 1u << 31}) {
    auto changed = head;
    overwrite(changed, 56, size);
    CHECK(wire::parse_header(changed).code() == Code::kBadData);
  }
  for (int shift = 0; shift < 64; ++shift) {
    const std::uint64_t size = wire::kPayloadBytesMax + (1ull << shift);
    auto changed = head;
    overwrite(changed, 64, size);
    if (size > wire::kPayloadBytesMax) {
      CHECK(wire::parse_header(changed).code() == Code::kBadData);
    }
  }
  overwrite(head, 64, std::numeric_limits<std::uint64_t>::max());
  CHECK(wire::parse_header(head).code() == Code::kBadData);
}

TEST_CASE("frame: short, long, foreign and newer headers", "[frame]") {
  const auto head = wire::seal(example(), {}, {});
  for (std::size_t length = 0; length < head.size(); ++length) {
    REQUIRE(wire::parse_header(std::span(head).first(length)).code() == Code::kBadData);
  }
  std::vector<std::byte> longer(head.begin(), head.end());
  longer.push_back(std::byte{0});
  CHECK(wire::parse_header(longer).code() == Code::kBadData);

  wire::Header newer = example();
  newer.version = wire::kProtocolVersion + 1;
  const auto result = wire::parse_header(wire::seal(newer, {}, {}));
  REQUIRE(result.code() == Code::kFailedPrecondition);
  CHECK(result.message().find("version " + std::to_string(newer.version)) != std::string::npos);
  const std::string own = "version " + std::to_string(wire::kProtocolVersion);
  CHECK(result.message().find(own) != std::string::npos);
}
