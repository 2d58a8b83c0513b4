#include <catch2/catch.hpp>

#include <troupe/runtime/text/base64.h>

using namespace troupe;

// The vectors are those of RFC 4648, section 10.
TEST_CASE("base64 gives the bytes back, and nothing for what is none") {
  CHECK(from_base64("") == "");
  CHECK(from_base64("Zg==") == "f");
  CHECK(from_base64("Zm8=") == "fo");
  CHECK(from_base64("Zm9v") == "foo");
  CHECK(from_base64("Zm9vYg==") == "foob");
  CHECK(from_base64("Zm9vYmE=") == "fooba");
  CHECK(from_base64("Zm9vYmFy") == "foobar");
  CHECK(from_base64("//79AA==") == std::string("\xff\xfe\xfd\0", 4));
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "Z===", "Zg==Zg==", "Zm9 ", "Zm-_", "Zh=="})
    CHECK(!from_base64(bad).has_value());
}
