#include <catch2/catch.hpp>

#include <troupe/tools/troupe/terminal/output.h>

using troupe::tools::without_secrets;

TEST_CASE("output: passwords in addresses are not shown") {
  CHECK(without_secrets("cannot reach https://me:secret@host:80/a/b: gone") ==
        "cannot reach https://***@host:80/a/b: gone");
  CHECK(without_secrets("http://me:secret@a and ftp://token@b/c") ==
        "http://***@a and ftp://***@b/c");
  CHECK(without_secrets("\"https://me:a@b@host\" is wrong") == "\"https://***@host\" is wrong");
  // These characters should have been escaped.
  for (const char* password : {"se/cret", "/", "a?b", "a#b/c", "12/34", "a@b/c@d"}) {
    CHECK(without_secrets("https://me:" + std::string(password) + "@host/model.gguf is bad") ==
          "https://***@host/model.gguf is bad");
  }
}

TEST_CASE("output: addresses without a password stay as they are") {
  for (const char* text :
       {"https://host/a", "https://host:8080/a/b?c#d", "https://host/user@v2/file",
        "see http://127.0.0.1:7700 or ask me@host", "TOKEN@host:7700", "://"}) {
    CHECK(without_secrets(text) == text);
  }
}
