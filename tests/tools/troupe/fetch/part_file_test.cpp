#include <fstream>
#include <string>

#include <catch2/catch.hpp>
#include <unistd.h>

#include <troupe/tools/troupe/fetch/part_file.h>

using namespace troupe;
using namespace troupe::tools;

namespace {

struct Folder {
  Folder() {
    path = std::filesystem::temp_directory_path() / ("troupe-part-" + std::to_string(::getpid()));
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

constexpr const char* kUrl = "https://example.org/model.gguf";

}  // namespace

TEST_CASE("part file: a later process goes on where an earlier one ended") {
  const Folder folder;
  const auto path = part_path(folder.path, kUrl);
  CHECK(path == part_path(folder.path, kUrl));
  CHECK(path != part_path(folder.path, std::string(kUrl) + "?v=2"));
  {
    auto file = PartFile::open(path);
    REQUIRE(file);
    CHECK_FALSE(file->load());  // nothing yet
    REQUIRE(file->reserve(10));
    REQUIRE(file->write(4, bytes_of("efgh")));
    REQUIRE(file->save(RangePlan(10, {{0, 4}, {8, 10}}), "\"tag\"", "mine"));
  }
  auto file = PartFile::open(path);
  REQUIRE(file);
  const auto state = file->load();
  REQUIRE(state);
  CHECK(state->bytes == 10);
  CHECK(state->validator == "\"tag\"");
  CHECK(state->plan.received() == 4);
  REQUIRE(file->write(0, bytes_of("abcd")));
  REQUIRE(file->write(8, bytes_of("ij")));
  CHECK(content_of(path) == "abcdefghij");
}

TEST_CASE("part file: a record that does not fit the file is nothing to go on from") {
  const Folder folder;
  const auto path = part_path(folder.path, kUrl);
  auto file = PartFile::open(path);
  REQUIRE(file);
  REQUIRE(file->cut(10));
  REQUIRE(file->save(RangePlan(10, {{5, 10}}), "", "mine"));
  CHECK(file->load());
  REQUIRE(file->cut(9));
  CHECK_FALSE(file->load());
  REQUIRE(file->cut(10));
  auto record = path;
  record.replace_extension(".json");
  for (const char* text :
       {"", "{", "[]", "null", "{\"bytes\":10}", "{\"bytes\":-1,\"validator\":\"\",\"missing\":[]}",
        "{\"bytes\":10,\"validator\":\"\",\"missing\":[[5,11]]}",
        "{\"bytes\":10,\"validator\":\"\",\"missing\":[[5]]}",
        "{\"bytes\":10,\"validator\":7,\"missing\":[]}"}) {
    INFO(text);
    std::ofstream(record) << text;
    CHECK_FALSE(file->load());
  }
  std::ofstream(record) << std::string(200000, '[');  // deeper than a stack
  CHECK_FALSE(file->load());
}

TEST_CASE("part file: clear and forget leave nothing to go on from") {
  const Folder folder;
  const auto path = part_path(folder.path, kUrl);
  auto file = PartFile::open(path);
  REQUIRE(file);
  REQUIRE(file->write(0, bytes_of("abc")));
  REQUIRE(file->save(RangePlan(3, {}), "", "mine"));
  REQUIRE(file->clear());
  CHECK_FALSE(file->load());
  CHECK(std::filesystem::file_size(path) == 0);
  REQUIRE(file->save(RangePlan(3, {{0, 3}}), "", "mine"));
  forget_part(path);
  CHECK(std::filesystem::is_empty(folder.path));
}

TEST_CASE("part file: unfinished transfers by model; an empty file without a record is none") {
  const Folder folder;
  {
    auto b = PartFile::open(part_path(folder.path, "https://b"));
    auto a = PartFile::open(part_path(folder.path, "https://a"));
    auto unknown = PartFile::open(part_path(folder.path, "https://c"));
    const auto empty = PartFile::open(part_path(folder.path, "https://d"));
    REQUIRE((b && a && unknown && empty));
    REQUIRE(b->cut(10));
    REQUIRE(b->save(RangePlan(10, {{6, 10}}), "", "b"));
    REQUIRE(a->cut(10));
    REQUIRE(a->save(RangePlan(10, {{0, 10}}), "", "a"));
    REQUIRE(unknown->write(0, bytes_of("xyz")));
  }
  const auto found = unfinished_in(folder.path);
  REQUIRE(found.size() == 3);
  const auto of = [&](const std::string& model) {
    for (const Unfinished& one : found) {
      if (one.model == model) return one;
    }
    return Unfinished{};
  };
  CHECK(of("b").bytes == 10);
  CHECK(of("b").received == 6);
  CHECK(of("a").received == 0);
  const auto unknown = of(part_path("", "https://c").filename().string());
  CHECK(unknown.bytes == 0);
  CHECK(unknown.received == 3);
  CHECK(unfinished_in(folder.path / "absent").empty());
}

TEST_CASE("part file: a folder that does not take it says so") {
  const auto file = PartFile::open("/nonexistent/folder/x.part");
  REQUIRE_FALSE(file);
  CHECK(file.message().find("/nonexistent/folder/x.part") != std::string::npos);
}
