#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/runtime/crc32c.h>

using namespace troupe;

TEST_CASE("crc32c has the known answers") {
  const auto of = [](const std::vector<std::byte>& bytes) { return crc32c(bytes); };
  CHECK(of({}) == 0);
  CHECK(of(std::vector<std::byte>(32, std::byte{0})) == 0x8a9136aa);
  CHECK(of(std::vector<std::byte>(32, std::byte{0xff})) == 0x62a8ab43);
  std::vector<std::byte> rising;
  for (int i = 0; i < 32; ++i) rising.push_back(static_cast<std::byte>(i));
  CHECK(of(rising) == 0x46dd794e);
  const std::string_view digits = "123456789";
  CHECK(crc32c(std::as_bytes(std::span(digits))) == 0xe3069283);
}
