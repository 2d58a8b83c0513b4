#include <array>

#include <catch2/catch.hpp>

#include <troupe/runtime/text/hex.h>

using namespace troupe;

TEST_CASE("hex: two lower-case digits a byte, the high one first") {
  CHECK(to_hex({}) == "");
  CHECK(to_hex(std::array<unsigned char, 4>{0x00, 0x0f, 0xa0, 0xff}) == "000fa0ff");
}
