#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/actors/coordinator/events.h>

namespace troupe::actors {
namespace {

struct Folder {
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("troupe-events-" + std::to_string(::getpid()));
  std::filesystem::path file() const { return path / "events.jsonl"; }
};

std::size_t lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::size_t count = 0;
  for (std::string line; std::getline(file, line);) ++count;
  return count;
}

}  // namespace

TEST_CASE("events: they are kept through a restart, with their times and words") {
  const Folder folder;
  {
    EventLog log(folder.file());
    log.add(EventKind::kJoined, "a", "127.0.0.1:7700");
    log.add(EventKind::kLost, "b", "say \"hello\"\n");
  }
  struct stat info {};
  REQUIRE(::stat(folder.file().c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  std::ofstream(folder.file(), std::ios::app) << "{\"unix_ms\":\"\n[]\n\n";  // a line that broke
  EventLog again(folder.file());
  again.add(EventKind::kDrained, "c", "");
  REQUIRE(again.all().size() == 3);
  CHECK(again.all()[0].kind == "joined");
  CHECK(again.all()[0].unix_ms > 1'500'000'000'000);
  CHECK(again.all()[1].subject == "b");
  CHECK(again.all()[1].text == "say \"hello\"\n");
  CHECK(again.all()[2].kind == "drained");
}

TEST_CASE("events: neither memory nor the file grows without end") {
  const Folder folder;
  EventLog log(folder.file());
  std::size_t most = 0;
  for (std::size_t i = 0; i < 3 * EventLog::kKept; ++i) {
    log.add(EventKind::kJoined, std::to_string(i), std::string(600, 'x') + "\xc3\xa9");
    most = std::max(most, lines_of(folder.file()));
  }
  CHECK(log.all().size() == EventLog::kKept);
  CHECK(log.all().back().subject == std::to_string(3 * EventLog::kKept - 1));
  CHECK(log.all().back().text.size() == 500);
  CHECK(most <= 2 * EventLog::kKept);
  CHECK(EventLog(folder.file()).all().back().subject == log.all().back().subject);
}

TEST_CASE("events: a folder that cannot be written loses nothing of this run") {
  EventLog log("/nonexistent/events.jsonl");
  log.add(EventKind::kLeft, "a", "it left");
  CHECK(log.all().size() == 1);
}

}  // namespace troupe::actors
