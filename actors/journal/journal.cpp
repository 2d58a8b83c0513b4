#include <algorithm>

#include <troupe/actors/journal/database.h>
#include <troupe/actors/journal/journal.h>

namespace troupe::actors {
namespace {

// Each step leads from one schema to the next, whose number it has (from 1). A newer schema gets a
// step at the end; steps that releases contain never change.
constexpr const char* kSteps[] = {
    R"(
CREATE TABLE counters(name TEXT PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE jobs(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,
  kind TEXT NOT NULL, spec TEXT NOT NULL, shards INTEGER NOT NULL, life INTEGER NOT NULL,
  submitted_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, error TEXT NOT NULL,
  merged INTEGER NOT NULL, result BLOB NOT NULL);
CREATE TABLE shards(job INTEGER NOT NULL REFERENCES jobs(number) ON DELETE CASCADE,
  shard INTEGER NOT NULL, input BLOB NOT NULL, output BLOB, UNIQUE(job, shard));
CREATE INDEX finished ON shards(job) WHERE output IS NOT NULL;
CREATE TABLE lines(job INTEGER NOT NULL REFERENCES jobs(number) ON DELETE CASCADE,
  sequence INTEGER NOT NULL, at_ms INTEGER NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY(job, sequence)) WITHOUT ROWID;
CREATE TABLE manifests(model TEXT PRIMARY KEY, manifest BLOB NOT NULL);
CREATE TABLE models(id INTEGER PRIMARY KEY, model TEXT NOT NULL REFERENCES manifests(model),
  open BLOB NOT NULL);
CREATE TABLE model_nodes(id INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
  node BLOB NOT NULL);
CREATE TABLE streams(id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, open BLOB NOT NULL,
  submit BLOB NOT NULL, tokens BLOB NOT NULL);
PRAGMA user_version = 1;
)",
    // Releases with schema 1 computed by arithmetic version 1. The encoded Submit got a last field
    // of four bytes; the cast is needed because || turns blobs into text. Jobs and streams without
    // an owner belong to the head's own user.
    R"(
ALTER TABLE streams ADD COLUMN arithmetic INTEGER NOT NULL DEFAULT 1;
UPDATE streams SET submit = CAST(submit || x'00000000' AS BLOB);
ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN owner TEXT NOT NULL DEFAULT '';
PRAGMA user_version = 2;
)",
    // Submit got three more fields at its end: two empty texts and a number.
    R"(
UPDATE streams SET submit = CAST(submit || x'000000000000000000000000' AS BLOB);
PRAGMA user_version = 3;
)",
    // Submit got a number at its end.
    R"(
UPDATE streams SET submit = CAST(submit || x'00000000' AS BLOB);
PRAGMA user_version = 4;
)",
    // Submit got a flag at its end.
    R"(
UPDATE streams SET submit = CAST(submit || x'00' AS BLOB);
PRAGMA user_version = 5;
)",
    // Submit got a weight and a priority: 1 and 0 for those that had none.
    R"(
UPDATE streams SET submit = CAST(submit || x'0100000000000000' AS BLOB);
PRAGMA user_version = 6;
)",
    // Models have ids that their manifests prove; before, they had the hashes of their files. A
    // head renames them when it starts (facade/daemon.cpp), because its store knows both.
    R"(
PRAGMA user_version = 7;
)"};

}  // namespace

const char* life_name(JobLife life) {
  switch (life) {
    case JobLife::kReceiving:
      return "receiving";
    case JobLife::kRunning:
      return "running";
    case JobLife::kDone:
      return "done";
    case JobLife::kFailed:
      return "failed";
    case JobLife::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

Journal::~Journal() = default;

const std::string& Journal::name() const { return db_->file(); }

Result<std::unique_ptr<Journal>> Journal::open(const std::filesystem::path& file) {
  make_private_file(file);
  return make(file.string());
}

Result<std::unique_ptr<Journal>> Journal::in_memory() { return make(":memory:"); }

Result<std::unique_ptr<Journal>> Journal::make(const std::string& file) {
  std::unique_ptr<Journal> journal(new Journal);
  TROUPE_ASSIGN_OR_RETURN(journal->db_, Database::open(file));
  TROUPE_RETURN_IF_ERROR(journal->db_->set_up(kSteps));
  return journal;
}

Status Journal::scrub() {
  std::lock_guard lock(mutex_);
  return db_->scrub();
}

Result<std::uint64_t> Journal::reserve(const std::string& counter, std::uint64_t count,
                                       std::uint64_t floor) {
  std::lock_guard lock(mutex_);
  std::uint64_t first = floor;
  TROUPE_RETURN_IF_ERROR(db_->transact("reserve", [&] {
    {
      Query query(*db_, "SELECT next FROM counters WHERE name = ?");
      query.text(counter);
      if (query.next()) first = std::max(floor, static_cast<std::uint64_t>(query.number_at(0)));
      TROUPE_RETURN_IF_ERROR(query.status());
    }
    return Query(*db_, "INSERT OR REPLACE INTO counters(name, next) VALUES(?, ?)")
        .text(counter)
        .number(first + count)
        .run();
  }));
  return first;
}

}  // namespace troupe::actors
