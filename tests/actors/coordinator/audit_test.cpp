#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <troupe/actors/coordinator/audit.h>
#include <troupe/tests/actors/temporary_home.h>

namespace troupe::actors {
namespace {

std::vector<nlohmann::json> lines_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

TEST_CASE("audit: an entry is one line, readable by its owner alone") {
  const TemporaryHome home;
  const std::filesystem::path file = home.path / "audit.log";
  AuditLog log(file, false);
  log.add(AuditKind::kEnrolled, {"abcd", "node", "t0k3n", "127.0.0.1", "a\nb\x1b[31m\xff", ""}, 0);
  const auto lines = lines_of(file);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0]["what"] == "enrolled");
  CHECK(lines[0]["token"] == "t0k3n");
  CHECK(lines[0]["address"] == "127.0.0.1");
  CHECK(!lines[0].contains("text"));
  struct stat info {};
  REQUIRE(::stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("audit: what others cause at will is written at a bounded pace, what admins do always") {
  const TemporaryHome home;
  const std::filesystem::path file = home.path / "audit.log";
  AuditLog log(file, false);
  for (int i = 0; i < 2 * AuditLog::kBurst; ++i) log.add(AuditKind::kRefused, {"k"}, 1000);
  CHECK(lines_of(file).size() == AuditLog::kBurst);
  log.add(AuditKind::kRevoked, {"k"}, 1000);
  log.add(AuditKind::kRefused, {"k"}, 2'001'000);
  const auto lines = lines_of(file);
  REQUIRE(lines.size() == AuditLog::kBurst + 2);
  CHECK(lines[AuditLog::kBurst]["left_out_before"] == AuditLog::kBurst);
  CHECK(!lines.back().contains("left_out_before"));
}

TEST_CASE("audit: the file is moved aside before it grows too large") {
  const TemporaryHome home;
  const std::filesystem::path file = home.path / "audit.log";
  AuditLog log(file, false);
  const std::string text(10'000, 'x');
  for (int i = 0; i < 10'000; ++i) log.add(AuditKind::kTokenMade, {"k", "", "", "", "", text}, 0);
  CHECK(std::filesystem::file_size(file) <= AuditLog::kFileBytesMax);
  CHECK(std::filesystem::file_size(file.string() + ".1") <= AuditLog::kFileBytesMax);
}

TEST_CASE("audit: a link in the place of the file is not followed") {
  const TemporaryHome home;
  const std::filesystem::path file = home.path / "audit.log", other = home.path / "other";
  std::filesystem::create_symlink(other, file);
  AuditLog log(file, false);
  log.add(AuditKind::kStarted, {"k"}, 0);
  CHECK(!std::filesystem::exists(other));
}

}  // namespace
}  // namespace troupe::actors
