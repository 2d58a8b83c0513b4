#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include <troupe/runtime/wire/codec.h>

namespace {

using namespace troupe;

enum class Colour : std::uint8_t { kRed = 0, kBlue = 7 };

struct Inner {
  std::int64_t number = 0;
  std::string text;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(number, text);
  }
  bool operator==(const Inner&) const = default;
};

struct Message {
  bool flag = false;
  Colour colour = Colour::kRed;
  std::uint16_t small = 0;
  double real = 0;
  std::string text;
  std::vector<std::int32_t> ids;
  std::vector<float> values;
  std::vector<std::byte> bytes;
  std::vector<Inner> inners;
  std::vector<std::string> names;
  std::vector<std::vector<std::uint8_t>> nested;
  std::array<std::uint8_t, 32> key{};
  std::array<std::string, 2> pair{};
  std::optional<std::uint64_t> seed;
  std::optional<Inner> nothing;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(flag, colour, small, real, text, ids, values, bytes, inners, names, nested, key, pair,
            seed, nothing);
  }
  bool operator==(const Message&) const = default;
};

Message example() {
  Message message;
  message.flag = true;
  message.colour = Colour::kBlue;
  message.small = 0xBEEF;
  message.real = -0.1;
  message.text = std::string("a\0b", 3);
  message.ids = {1, -2, std::numeric_limits<std::int32_t>::min()};
  message.values = {0.5f, std::numeric_limits<float>::infinity()};
  message.bytes = {std::byte{1}, std::byte{255}};
  message.inners = {{1, "one"}, {-2, ""}};
  message.names = {"", "layer.0"};
  message.nested = {{}, {1, 2, 3}};
  message.key.fill(9);
  message.pair = {"left", "right"};
  message.seed = 42;
  return message;
}

struct Tree {
  std::vector<Tree> children;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(children);
  }
};

struct Empty {
  template <class Archive>
  void serialize(Archive&) {}
};

struct Empties {
  std::vector<Empty> items;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(items);
  }
};

template <class T>
std::vector<std::byte> huge_count() {
  return {std::byte{255}, std::byte{255}, std::byte{255}, std::byte{255}, std::byte{1}};
}

template <class T>
struct Only {
  T value;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(value);
  }
};

}  // namespace

TEST_CASE("codec: a message comes back as it went", "[codec]") {
  const Message message = example();
  const auto back = wire::decode<Message>(wire::encode(message));
  REQUIRE(back.is_ok());
  CHECK(*back == message);
  const auto empty = wire::decode<Message>(wire::encode(Message{}));
  REQUIRE(empty.is_ok());
  CHECK(*empty == Message{});
}

TEST_CASE("codec: the layout is the documented one", "[codec]") {
  const auto bytes = wire::encode(Inner{-2, "ab"});
  const std::vector<unsigned> expected = {0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                          0xFF, 2,    0,    0,    0,    'a',  'b'};
  REQUIRE(bytes.size() == expected.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    CHECK(std::to_integer<unsigned>(bytes[i]) == expected[i]);
  }
}

TEST_CASE("codec: every truncation is refused", "[codec]") {
  const auto bytes = wire::encode(example());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto result = wire::decode<Message>(std::span(bytes).first(length));
    INFO("length " << length);
    REQUIRE_FALSE(result.is_ok());
    REQUIRE(result.code() == Code::kBadData);
  }
}

TEST_CASE("codec: bytes left over are refused", "[codec]") {
  auto bytes = wire::encode(example());
  bytes.push_back(std::byte{0});
  const auto result = wire::decode<Message>(bytes);
  REQUIRE_FALSE(result.is_ok());
  CHECK(result.message().find("left over") != std::string::npos);
}

TEST_CASE("codec: a flipped bit gives another message or an error", "[codec]") {
  const auto bytes = wire::encode(example());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    const auto result = wire::decode<Message>(flipped);
    INFO("bit " << bit);
    // A message that can be decoded becomes the same bytes again: the encoding is canonical.
    if (result.is_ok()) {
      REQUIRE(wire::encode(*result) == flipped);
    }
  }
}

TEST_CASE("codec: counts beyond the bytes left allocate nothing", "[codec]") {
  // 2^32 - 1 elements would be up to 137 GB; a wrong answer here ends in bad_alloc.
  CHECK_FALSE(wire::decode<Only<std::string>>(huge_count<std::string>()).is_ok());
  CHECK_FALSE(wire::decode<Only<std::vector<float>>>(huge_count<float>()).is_ok());
  CHECK_FALSE(wire::decode<Only<std::vector<std::byte>>>(huge_count<std::byte>()).is_ok());
  CHECK_FALSE(wire::decode<Only<std::vector<Inner>>>(huge_count<Inner>()).is_ok());
  CHECK_FALSE(wire::decode<Only<std::vector<std::string>>>(huge_count<std::string>()).is_ok());
}

TEST_CASE("codec: elements of no bytes and deep nesting are refused", "[codec]") {
  const std::vector<std::byte> empties = {std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0},
                                          std::byte{0}};
  CHECK_FALSE(wire::decode<Empties>(empties).is_ok());
  Tree tree;
  for (int depth = 0; depth < wire::kNestingMax - 1; ++depth) {
    Tree parent;
    parent.children.push_back(std::move(tree));
    tree = std::move(parent);
  }
  CHECK(wire::decode<Tree>(wire::encode(tree)).is_ok());
  // A chain of 100,000 vectors of one element each would overflow the stack.
  std::vector<std::byte> chain;
  for (int depth = 0; depth < 100000; ++depth) {
    chain.insert(chain.end(), {std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0}});
  }
  const auto deep = wire::decode<Tree>(chain);
  REQUIRE_FALSE(deep.is_ok());
  CHECK(deep.message().find("nested") != std::string::npos);
}

TEST_CASE("codec: a bool is 0 or 1", "[codec]") {
  const std::vector<std::byte> two = {std::byte{2}};
  CHECK_FALSE(wire::decode<Only<bool>>(two).is_ok());
}
