#include <filesystem>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/private_file.h>

using namespace troupe;

TEST_CASE("private file: only this user's own regular file is read", "[private-file]") {
  char name[] = "/tmp/troupe-private-XXXXXX";
  const std::filesystem::path folder = ::mkdtemp(name);
  const std::filesystem::path file = folder / "secret", link = folder / "link";
  REQUIRE(write_file_atomically(file, "secret", 0600).is_ok());
  const auto read = read_private_file(file, 6);
  REQUIRE(read);
  CHECK(*read == "secret");
  CHECK(read_private_file(file, 5).code() == Code::kResourceExhausted);
  CHECK(read_private_file(folder / "absent", 6).code() == Code::kNotFound);
  for (const mode_t mode : {0640, 0604, 0610, 0602}) {
    REQUIRE(::chmod(file.c_str(), mode) == 0);
    const auto refused = read_private_file(file, 6);
    CHECK(refused.code() == Code::kPermissionDenied);
    CHECK(refused.message().find("chmod 600") != std::string::npos);
  }
  REQUIRE(::chmod(file.c_str(), 0400) == 0);
  CHECK(read_private_file(file, 6).is_ok());
  REQUIRE(::symlink(file.c_str(), link.c_str()) == 0);
  CHECK(read_private_file(link, 6).code() == Code::kPermissionDenied);
  CHECK(read_private_file(folder, 6).code() == Code::kPermissionDenied);
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(read_private_file(folder / "pipe", 6).code() == Code::kPermissionDenied);  // and at once
  if (::geteuid() == 0) {
    REQUIRE(::chown(file.c_str(), 12345, 0) == 0);
    CHECK(read_private_file(file, 6).message().find("12345") != std::string::npos);
  }
  std::filesystem::remove_all(folder);
}
