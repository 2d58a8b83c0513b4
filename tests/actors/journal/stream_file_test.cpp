#include <filesystem>
#include <fstream>
#include <iterator>

#include <catch2/catch.hpp>
#include <stdlib.h>
#include <sys/stat.h>

#include <troupe/actors/journal/journal.h>
#include <troupe/actors/journal/stream_file.h>
#include <troupe/runtime/failpoint.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

struct StreamFolder {
  std::filesystem::path folder;
  StreamFolder() {
    char name[] = "/tmp/troupe-streams-XXXXXX";
    folder = ::mkdtemp(name);
  }
  ~StreamFolder() {
    disarm_failpoints();
    std::filesystem::remove_all(folder);
  }
  std::filesystem::path file() const { return folder / "streams" / "a.db"; }
};

std::unique_ptr<StreamFile> open_file(const StreamFolder& place) {
  auto file = StreamFile::open(place.file());
  INFO(file.message());
  REQUIRE(file);
  return std::move(*file);
}

// True if any file below a folder has these bytes.
bool is_anywhere(const std::filesystem::path& folder, const std::string& bytes) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (all.find(bytes) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("stream file: what streams said comes back in order, and what is forgotten does not") {
  StreamFolder place;
  {
    const auto file = open_file(place);
    CHECK(file->load()->empty());
    StreamNews news;
    news.begun = {{"a", "me", "ask a", 0, {}}, {"b", "you", "ask b", 0, {}}};
    news.said = {{"a", "1"}, {"b", "x"}, {"a", std::string("2\0", 2)}, {"gone", "y"}};
    REQUIRE(file->write(news));
    REQUIRE(file->write({.said = {{"a", "3"}}, .rests = {{"b", 17}}}));
    REQUIRE(file->write({.begun = {{"c", "me", "ask c", 0, {}}}, .forgotten = {"c", "nobody"}}));
    // The file belongs to one server at a time.
    CHECK(StreamFile::open(place.file()).code() == Code::kUnavailable);
  }
  for (const auto& entry : std::filesystem::directory_iterator(place.folder / "streams")) {
    struct stat status {};
    REQUIRE(::stat(entry.path().c_str(), &status) == 0);
    CHECK((status.st_mode & 0077) == 0);
  }
  const auto stored = open_file(place)->load();
  REQUIRE(stored);
  REQUIRE(stored->size() == 2);
  CHECK((*stored)[0].id == "a");
  CHECK((*stored)[0].owner == "me");
  CHECK((*stored)[0].request == "ask a");
  CHECK((*stored)[0].rested_ms == 0);
  CHECK((*stored)[0].news == std::vector<std::string>{"1", std::string("2\0", 2), "3"});
  CHECK((*stored)[1].rested_ms == 17);
}

TEST_CASE("stream file: a transaction that fails leaves nothing of itself") {
  StreamFolder place;
  const auto file = open_file(place);
  REQUIRE(file->write({.begun = {{"a", "me", "ask", 0, {}}}}));
  arm_failpoint("journal.write_streams.in_commit", 1,
                [] { return Status(Code::kResourceExhausted, "no room"); });
  CHECK(!file->write({.begun = {{"b", "me", "ask", 0, {}}}, .said = {{"a", "1"}}}));
  disarm_failpoints();
  REQUIRE(file->write({.said = {{"a", "2"}}}));
  const auto stored = file->load();
  REQUIRE(stored->size() == 1);
  CHECK((*stored)[0].news == std::vector<std::string>{"2"});
}

TEST_CASE("stream file: of what was forgotten no byte stays on the disk") {
  StreamFolder place;
  const std::string word = "xyzzy-planted";
  const auto file = open_file(place);
  std::string large;
  for (int i = 0; i < 2000; ++i) large += word;  // over several pages
  StreamNews news;
  for (const char* id : {"a", "b", "c"}) {
    news.begun.push_back({id, "me", large, 0, {}});
    news.said.emplace_back(id, word);
  }
  REQUIRE(file->write(news));
  CHECK(is_anywhere(place.folder, word));
  REQUIRE(file->write({.begun = {{"d", "me", "other", 0, {}}}, .forgotten = {"a", "b", "c"}}));
  REQUIRE(file->scrub());
  CHECK(!is_anywhere(place.folder, word));
  CHECK(file->load()->size() == 1);
}

TEST_CASE("journal: of a stream that is over no byte stays on the disk") {
  StreamFolder place;
  const std::string word = "xyzzy-planted";
  const auto journal = Journal::open(place.folder / "journal.db");
  REQUIRE(journal);
  REQUIRE((*journal)->save_stream({"s", "me", "open", word + std::string(9000, 'x'), {}}, 1));
  REQUIRE((*journal)->add_tokens("s", "me", 0, std::vector<std::int32_t>(3000, 7)));
  CHECK(is_anywhere(place.folder, word));
  REQUIRE((*journal)->forget_stream("s", "me"));
  REQUIRE((*journal)->scrub());
  CHECK(!is_anywhere(place.folder, word));
}

TEST_CASE("journal: what happens to many streams is one transaction, in its order") {
  StreamFolder place;
  const auto opened = Journal::open(place.folder / "journal.db");
  REQUIRE(opened);
  Journal& journal = **opened;
  int commits = 0;
  arm_failpoint("journal.update_streams.after_commit", 1, [&] {
    ++commits;
    return Status::ok();
  });
  const auto begins = [](const std::string& id, const std::string& owner) {
    return StreamUpdate{.id = id, .owner = owner, .begins = StreamRecord{id, owner, "o", "s", {}}};
  };
  const auto outcomes =
      journal.update_streams({begins("a", "me"),
                              begins("b", "me"),
                              begins("a", "other"),
                              {.id = "a", .owner = "me", .first = 0, .tokens = {1, 2}},
                              {.id = "a", .owner = "me", .first = 2, .tokens = {3}},
                              {.id = "b", .owner = "me", .ends = true},
                              {.id = "b", .owner = "me", .first = 0, .tokens = {9}}},
                             1);
  REQUIRE(outcomes);
  REQUIRE(outcomes->size() == 7);
  CHECK(commits == 1);
  CHECK((*outcomes)[0]);
  CHECK((*outcomes)[2].code() == Code::kAlreadyExists);
  CHECK(journal.stream("a")->tokens == std::vector<std::int32_t>{1, 2, 3});
  CHECK(journal.stream("a")->owner == "me");
  CHECK(journal.stream("b").code() == Code::kNotFound);
}
