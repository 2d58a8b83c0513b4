#include <filesystem>
#include <fstream>
#include <set>

#include <catch2/catch.hpp>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/actors/journal/database.h>
#include <troupe/actors/journal/journal.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/runtime/failpoint.h>
#include <troupe/runtime/numerics/arithmetic_version.h>
#include <troupe/runtime/wire/codec.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

struct TemporaryFile {
  std::filesystem::path folder, path;
  TemporaryFile() {
    char name[] = "/tmp/troupe-journal-XXXXXX";
    folder = ::mkdtemp(name);
    path = folder / "journal.db";
  }
  ~TemporaryFile() {
    disarm_failpoints();
    std::filesystem::remove_all(folder);
  }
};

std::unique_ptr<Journal> open(const TemporaryFile& file) {
  auto journal = Journal::open(file.path);
  INFO(journal.message());
  REQUIRE(journal);
  return std::move(*journal);
}

JobPiece piece(const std::string& id, std::uint32_t shard = 0, std::uint32_t shards = 1) {
  return {id, "", "count", "{}", shards, shard, {"input " + std::to_string(shard)}};
}

}  // namespace

TEST_CASE("journal: a job is there when all its shards are, and once, however often it is sent") {
  TemporaryFile file;
  {
    const auto journal = open(file);
    const auto first = journal->receive(piece("a", 1, 3), 5);
    REQUIRE(first);
    CHECK((first->life == JobLife::kReceiving && first->received == 1));
    REQUIRE(journal->receive(piece("a", 0, 3), 6));
    REQUIRE(journal->receive(piece("a", 0, 3), 7));  // the acknowledgement of the piece was lost
    const auto whole = journal->receive(piece("a", 2, 3), 8);
    REQUIRE(whole);
    CHECK((whole->life == JobLife::kRunning && whole->submitted_ms == 8));
    const auto again = journal->receive(piece("a", 2, 3), 9);
    REQUIRE(again);
    CHECK((again->number == whole->number && again->submitted_ms == 8));
    JobPiece other = piece("a", 2, 3);
    other.spec = "{\"x\":1}";
    CHECK(journal->receive(other, 9).code() == Code::kAlreadyExists);
    CHECK(journal->receive(piece("b", 3, 3), 9).code() == Code::kInvalidArgument);
  }
  const auto journal = open(file);
  const auto jobs = journal->jobs();
  REQUIRE(jobs);
  REQUIRE(jobs->size() == 1);
  CHECK((*jobs)[0].received == 3);
  CHECK(*journal->input((*jobs)[0].number, 1) == "input 1");
  CHECK(journal->lines((*jobs)[0].number, 0)->size() == 1);
}

TEST_CASE("journal: a result counts once, with what it does to the job, and none after the end") {
  TemporaryFile file;
  const auto journal = open(file);
  const std::uint64_t job = journal->receive(piece("a", 0, 2), 1)->number;
  REQUIRE(journal->receive(piece("a", 1, 2), 1));
  CHECK(*journal->finish_shard(job, 1, "one", "shard 1 on x", false, 2));
  CHECK_FALSE(*journal->finish_shard(job, 1, "another", "shard 1 on y", false, 3));
  CHECK(*journal->output(job, 1) == "one");
  CHECK(journal->output(job, 0).code() == Code::kNotFound);
  CHECK(*journal->finished_shards(job) == std::vector<std::uint32_t>{1});
  CHECK(*journal->finish_shard(job, 0, "", "shard 0 on x", true, 4));
  const auto record = journal->job("a");
  REQUIRE(record);
  CHECK((record->life == JobLife::kDone && record->ended_ms == 4 && record->finished == 2));
  CHECK(*journal->output(job, 0) == "");
  CHECK_FALSE(*journal->end_job(job, JobLife::kCancelled, "", 5));
  const auto lines = journal->lines(job, 0);
  REQUIRE(lines->size() == 4);
  CHECK(lines->back().text == "done");
  CHECK(journal->lines(job, lines->at(2).sequence)->size() == 1);

  const std::uint64_t merged = journal->receive(piece("b", 0, 1), 1)->number;
  CHECK_FALSE(*journal->merge(merged, 1, 2, "x", false, 2));
  CHECK(*journal->merge(merged, 0, 1, "sum", true, 2));
  CHECK_FALSE(*journal->merge(merged, 0, 1, "sum again", true, 2));
  CHECK(*journal->result(merged) == "sum");
  CHECK(journal->job("b")->life == JobLife::kDone);
}

TEST_CASE("journal: a number is given once, over restarts") {
  TemporaryFile file;
  std::set<std::uint64_t> seen;
  for (int run = 0; run < 3; ++run) {
    const auto journal = open(file);
    for (int i = 0; i < 3; ++i) {
      const auto first = journal->reserve("epochs", 10, 1000);
      REQUIRE(first);
      for (std::uint64_t n = *first; n < *first + 10; ++n) CHECK(seen.insert(n).second);
    }
  }
  CHECK((*seen.begin() == 1000 && *seen.rbegin() == 1089));
  CHECK(*open(file)->reserve("epochs", 1, 5000) == 5000);
}

// This is the whole promise: whatever was acknowledged is there, and anything else is there
// completely or not at all.
TEST_CASE("journal: killed before, in and after a commit") {
  const auto [point, survives] = GENERATE(std::pair{"journal.receive.before_commit", false},
                                          std::pair{"journal.receive.in_commit", false},
                                          std::pair{"journal.receive.after_commit", true});
  TemporaryFile file;
  REQUIRE(open(file)->receive(piece("a"), 1));
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    auto journal = Journal::open(file.path);
    if (!journal) ::_exit(1);
    (void)arm_failpoint_from(std::string(point) + ":1");
    (void)(*journal)->receive(piece("b"), 2);
    ::_exit(2);  // acknowledged, although the process should have died
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);
  const auto journal = open(file);
  CHECK(journal->job("a"));
  CHECK(journal->job("b").is_ok() == survives);
  // A client without an answer sends it again: there is one job.
  REQUIRE(journal->receive(piece("b"), 3));
  CHECK(journal->jobs()->size() == 2);
  CHECK(journal->lines(journal->job("b")->number, 0)->size() == 1);
}

TEST_CASE("journal: a commit that fails leaves nothing behind and says so") {
  const auto point = GENERATE("journal.receive.before_commit", "journal.receive.in_commit");
  TemporaryFile file;
  const auto journal = open(file);
  arm_failpoint(point, 1, [] { return Status(Code::kResourceExhausted, "the disk is full"); });
  const auto refused = journal->receive(piece("a"), 1);
  CHECK(refused.code() == Code::kResourceExhausted);
  CHECK(refused.message() == "the disk is full");
  disarm_failpoints();
  CHECK(journal->job("a").code() == Code::kNotFound);
  CHECK(journal->receive(piece("a"), 1));
}

TEST_CASE("journal: a damaged file, and one of a newer release, are said in one sentence") {
  TemporaryFile file;
  SECTION("no journal at all") {
    std::ofstream(file.path) << std::string(8192, 'x');
    const auto journal = Journal::open(file.path);
    CHECK(journal.code() == Code::kBadData);
    CHECK(journal.message().find(file.path.string() + " is damaged") != std::string::npos);
    CHECK(journal.message().find("move it away") != std::string::npos);
  }
  SECTION("pages that were overwritten") {
    {
      const auto journal = open(file);
      for (int i = 0; i < 50; ++i) {
        JobPiece large = piece("job " + std::to_string(i));
        large.inputs = {std::string(20000, 'a')};
        REQUIRE(journal->receive(large, 1));
      }
    }
    std::fstream bytes(file.path, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(4096);
    bytes << std::string(40000, '\xee');
    bytes.close();
    const auto journal = Journal::open(file.path);
    CHECK(journal.code() == Code::kBadData);
    CHECK(journal.message().find("is damaged") != std::string::npos);
  }
  SECTION("a newer schema") {
    { open(file); }
    std::fstream bytes(file.path, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(63);  // the low byte of user_version
    bytes.put(9);
    bytes.close();
    const auto journal = Journal::open(file.path);
    CHECK(journal.code() == Code::kFailedPrecondition);
    CHECK(journal.message().find("newer Troupe (its schema is 9, this program knows 7)") !=
          std::string::npos);
  }
  SECTION("a folder that cannot be written") {
    const auto journal = Journal::open(file.folder / "nowhere" / "journal.db");
    CHECK(journal.code() == Code::kPermissionDenied);
  }
}

TEST_CASE(
    "journal: a file of schema 1 is migrated, and its answers keep their arithmetic version") {
  TemporaryFile file;
  const Submit asked = [] {
    Submit submit;
    submit.prompt = "once upon";
    submit.stream = "s";
    submit.arithmetic = 0;
    return submit;
  }();
  const auto bytes = wire::encode(asked);
  const std::string submit(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  {
    auto journal = open(file);
    REQUIRE(journal->receive(piece("a"), 1));
    REQUIRE(journal->save_stream({"s", "", "open", submit, {4, 5}}, 1));
    CHECK(journal->stream("s")->arithmetic == kArithmeticVersion);
  }
  {
    // What schema 1 had: none of the columns, and Submit without its last eight fields.
    auto database = Database::open(file.path.string());
    REQUIRE(database);
    REQUIRE((*database)->run(
        "ALTER TABLE streams DROP COLUMN arithmetic;"
        "ALTER TABLE streams DROP COLUMN owner;"
        "ALTER TABLE jobs DROP COLUMN owner;"
        "UPDATE streams SET submit = CAST(substr(submit, 1, length(submit) - 29) AS BLOB);"
        "PRAGMA user_version = 1;"));
  }
  for (int run = 0; run < 2; ++run) {  // migrated once, then opened as it is
    INFO(run);
    const auto journal = open(file);
    const auto stream = journal->stream("s");
    REQUIRE(stream);
    CHECK(stream->arithmetic == 1);
    CHECK(stream->tokens == std::vector<std::int32_t>{4, 5});
    CHECK(stream->open == "open");
    CHECK(stream->submit == submit);
    const auto decoded = wire::decode<Submit>(std::as_bytes(std::span<const char>(stream->submit)));
    REQUIRE(decoded);
    CHECK(decoded->prompt == asked.prompt);
    CHECK(decoded->stream == "s");
    CHECK(journal->job("a"));
    REQUIRE(journal->save_stream({"new", "", "open", submit, {}}, 2));
    CHECK(journal->stream("new")->arithmetic == kArithmeticVersion);
  }
}

TEST_CASE("journal: nobody else may read it") {
  TemporaryFile file;
  const auto journal = open(file);
  REQUIRE(journal->receive(piece("a"), 1));
  for (const auto& entry : std::filesystem::directory_iterator(file.folder)) {
    struct stat status {};
    REQUIRE(::stat(entry.path().c_str(), &status) == 0);
    CHECK((status.st_mode & 0077) == 0);
  }
}

TEST_CASE("journal: models that were placed, and streams with their tokens") {
  TemporaryFile file;
  {
    const auto journal = open(file);
    REQUIRE(journal->save_model(
        {7, "abc", "manifest", std::string("open\0x", 6), {"node a", "node b"}}));
    REQUIRE(journal->save_model({8, "def", "manifest too", "other", {}}));
    REQUIRE(journal->forget_model(8));
    REQUIRE(journal->save_stream({"s", "me", "open", "submit", {}}, 1));
    REQUIRE(journal->add_tokens("s", "me", 0, {1, 2}));
    REQUIRE(journal->add_tokens("s", "me", 1, {2, 3}));  // a resumed stream says 2 again
    REQUIRE(journal->add_tokens("s", "me", 9, {9}));     // tokens after a gap are not kept
    REQUIRE(journal->add_tokens("gone", "me", 0, {1}));
  }
  const auto journal = open(file);
  const auto models = journal->models();
  REQUIRE(models);
  REQUIRE(models->size() == 1);
  CHECK((*models)[0].open == std::string("open\0x", 6));
  CHECK(((*models)[0].model == "abc" && (*models)[0].manifest == "manifest"));
  CHECK(journal->manifests()->size() == 2);  // also the manifest of a model that was unloaded
  CHECK((*models)[0].nodes == std::vector<std::string>{"node a", "node b"});
  CHECK(journal->stream("s")->tokens == std::vector<std::int32_t>{1, 2, 3});
  // Another owner can neither take the stream's id, nor change the stream, nor end it.
  CHECK(journal->save_stream({"s", "other", "x", "y", {}}, 2).code() == Code::kAlreadyExists);
  REQUIRE(journal->add_tokens("s", "other", 3, {4}));
  REQUIRE(journal->forget_stream("s", "other"));
  CHECK(journal->stream("s")->owner == "me");
  CHECK(journal->stream("s")->tokens == std::vector<std::int32_t>{1, 2, 3});
  REQUIRE(journal->forget_stream("s", "me"));
  CHECK(journal->stream("s").code() == Code::kNotFound);
}

TEST_CASE("journal: one owner's jobs take only so much, and its ended jobs make room") {
  TemporaryFile file;
  const auto journal = open(file);
  const auto job = [&](const std::string& id, const std::string& owner, std::size_t bytes) {
    JobPiece one = piece(id);
    one.owner = owner;
    one.inputs = {std::string(bytes, 'x')};
    one.owner_bytes_max = 1'000'000;
    return journal->receive(one, 5);
  };
  const auto first = job("first", "a", 600'000);
  REQUIRE(first);
  const auto refused = job("second", "a", 600'000);
  CHECK(refused.code() == Code::kResourceExhausted);
  CHECK(refused.message().find("have not ended") != std::string::npos);
  CHECK(journal->job("second").code() == Code::kNotFound);
  CHECK(job("other", "b", 900'000));  // another owner does not notice
  CHECK(job("first", "a", 600'000));  // a piece that is sent again is not a second one
  CHECK(job("small", "a", 300'000));
  REQUIRE(journal->end_job(first->number, JobLife::kCancelled, "", 6));
  CHECK(job("second", "a", 600'000));
  CHECK(journal->job("first").code() == Code::kNotFound);
  CHECK(journal->job("small"));
  CHECK(job("huge", "a", 2'000'000).code() == Code::kResourceExhausted);
}

TEST_CASE("journal: one owner's streams do not push out another's") {
  const auto journal = std::move(*Journal::in_memory());
  const auto save = [&](const std::string& id, const std::string& owner, std::int64_t at_ms) {
    StreamRecord stream;
    stream.id = id;
    stream.owner = owner;
    return journal->save_stream(stream, at_ms);
  };
  REQUIRE(save("mine", "a", 1).is_ok());
  for (std::size_t i = 0; i < Journal::kOwnerStreamsMax + 10; ++i) {
    REQUIRE(save("theirs " + std::to_string(i), "b", static_cast<std::int64_t>(10 + i)).is_ok());
  }
  CHECK(journal->stream("mine"));
  CHECK(journal->stream("theirs 9").code() == Code::kNotFound);
  CHECK(journal->stream("theirs 10"));
}
