#include <troupe/actors/journal/database.h>
#include <troupe/actors/journal/journal.h>

// The journal's jobs. Each call is one transaction.

namespace troupe::actors {
namespace {

constexpr std::uint32_t kShardsMax = 1u << 20;

constexpr const char* kJobColumns =
    "SELECT number, id, kind, spec, shards, life, submitted_ms, ended_ms, error, merged,"
    " (SELECT count(*) FROM shards WHERE job = number),"
    " (SELECT count(*) FROM shards WHERE job = number AND output IS NOT NULL), owner FROM jobs ";

JobRecord read_job(Query& row) {
  JobRecord job;
  job.number = static_cast<std::uint64_t>(row.number_at(0));
  job.id = row.bytes_at(1);
  job.kind = row.bytes_at(2);
  job.spec = row.bytes_at(3);
  job.shards = static_cast<std::uint32_t>(row.number_at(4));
  job.life = static_cast<JobLife>(row.number_at(5));
  job.submitted_ms = row.number_at(6);
  job.ended_ms = row.number_at(7);
  job.error = row.bytes_at(8);
  job.merged = static_cast<std::uint32_t>(row.number_at(9));
  job.received = static_cast<std::uint32_t>(row.number_at(10));
  job.finished = static_cast<std::uint32_t>(row.number_at(11));
  job.owner = row.bytes_at(12);
  return job;
}

Result<JobRecord> find_job(Database& db, const std::string& id) {
  Query query(db, kJobColumns, "WHERE id = ?");
  query.text(id);
  if (query.next()) return read_job(query);
  TROUPE_RETURN_IF_ERROR(query.status());
  return Journal::no_job(id);
}

Status write_line(Database& db, std::uint64_t job, std::int64_t now_ms, const std::string& text) {
  return Query(db,
               "INSERT INTO lines(job, sequence, at_ms, text) VALUES(?1,"
               " (SELECT ifnull(max(sequence), 0) + 1 FROM lines WHERE job = ?1), ?2, ?3)")
      .number(job)
      .number(now_ms)
      .text(text)
      .run();
}

Status write_life(Database& db, std::uint64_t job, JobLife life, const std::string& error,
                  std::int64_t now_ms) {
  TROUPE_RETURN_IF_ERROR(
      Query(db, "UPDATE jobs SET life = ?, error = ?, ended_ms = ? WHERE number = ?")
          .number(static_cast<std::int64_t>(life))
          .text(error)
          .number(now_ms)
          .number(job)
          .run());
  const std::string line = std::string(life_name(life)) + (error.empty() ? "" : ": " + error);
  return write_line(db, job, now_ms, line);
}

// Deletes old jobs that have ended, and jobs whose submission was begun a day ago and never
// completed. The rows of a job's shards and lines go with it.
Status forget_old(Database& db, std::int64_t now_ms) {
  constexpr std::int64_t kReceivingMs = 24 * 3600 * std::int64_t{1000};
  return Query(db,
               "DELETE FROM jobs WHERE (life = 0 AND submitted_ms < ?) OR number IN"
               " (SELECT number FROM jobs WHERE life >= 2 ORDER BY number DESC LIMIT -1 OFFSET ?)")
      .number(now_ms - kReceivingMs)
      .number(std::uint64_t{Journal::kEndedJobsMax})
      .run();
}

Result<bool> is_running(Database& db, std::uint64_t job) {
  Query query(db, "SELECT life FROM jobs WHERE number = ?");
  query.number(job);
  const bool running =
      query.next() && query.number_at(0) == static_cast<std::int64_t>(JobLife::kRunning);
  TROUPE_RETURN_IF_ERROR(query.status());
  return running;
}

Result<std::string> one_blob(Query& query, const char* what) {
  if (query.next()) return query.bytes_at(0);
  TROUPE_RETURN_IF_ERROR(query.status());
  return Status(Code::kNotFound, std::string("the journal has no ") + what);
}

}  // namespace

namespace {

// Returns the bytes of an owner's jobs; SQLite knows the length of a value without reading it.
Result<std::uint64_t> bytes_of_owner(Database& db, const std::string& owner) {
  Query query(db,
              "SELECT (SELECT ifnull(sum(length(spec) + length(result)), 0) FROM jobs WHERE owner"
              " = ?1) + (SELECT ifnull(sum(length(input) + ifnull(length(output), 0)), 0) FROM"
              " shards WHERE job IN (SELECT number FROM jobs WHERE owner = ?1))");
  query.text(owner);
  const bool found = query.next();
  const auto bytes = found ? static_cast<std::uint64_t>(query.number_at(0)) : 0;
  TROUPE_RETURN_IF_ERROR(query.status());
  return bytes;
}

}  // namespace

Status Journal::make_room_for(const JobPiece& piece) {
  if (piece.owner_bytes_max == UINT64_MAX) return Status::ok();
  std::uint64_t adds = piece.spec.size();
  for (const std::string& input : piece.inputs) adds += input.size();
  for (bool added_up = false;; added_up = true) {
    auto known = owner_bytes_.find(piece.owner);
    if (known == owner_bytes_.end() || added_up) {
      TROUPE_ASSIGN_OR_RETURN(const std::uint64_t have, bytes_of_owner(*db_, piece.owner));
      if (owner_bytes_.size() >= 4096) owner_bytes_.clear();
      known = owner_bytes_.insert_or_assign(piece.owner, have).first;
      added_up = true;
    }
    if (adds <= piece.owner_bytes_max && known->second <= piece.owner_bytes_max - adds) {
      known->second += adds;
      return Status::ok();
    }
    // A piece that is sent again is counted twice, so a job is refused only by a sum that was just
    // added up.
    if (!added_up) continue;
    TROUPE_RETURN_IF_ERROR(Query(*db_,
                                 "DELETE FROM jobs WHERE number = (SELECT min(number) FROM jobs"
                                 " WHERE owner = ? AND life >= 2)")
                               .text(piece.owner)
                               .run());
    if (db_->changes() == 0) break;
  }
  return Status(Code::kResourceExhausted,
                "the jobs of this client that have not ended take what it may have in the head's "
                "journal (" +
                    std::to_string(piece.owner_bytes_max >> 20) +
                    " MiB); submit again when one has ended, or cancel one");
}

Result<JobRecord> Journal::receive(const JobPiece& piece, std::int64_t now_ms) {
  if (piece.shards == 0 || piece.shards > kShardsMax || piece.first > piece.shards ||
      piece.inputs.size() > piece.shards - piece.first) {
    return Status(Code::kInvalidArgument, std::to_string(piece.inputs.size()) + " shards from " +
                                              std::to_string(piece.first) +
                                              " on do not fit into a job of " +
                                              std::to_string(piece.shards) + "; a job has 1 to " +
                                              std::to_string(kShardsMax) + " shards");
  }
  std::lock_guard lock(mutex_);
  auto known = find_job(*db_, piece.id);
  if (!known && known.code() != Code::kNotFound) return known.status();
  if (known && (known->owner != piece.owner || known->kind != piece.kind ||
                known->spec != piece.spec || known->shards != piece.shards)) {
    return Status(Code::kAlreadyExists,
                  "the id '" + piece.id + "' is that of another job; choose one of its own");
  }
  if (known && known->life != JobLife::kReceiving) return known;
  // The bytes of ended jobs and of outputs are added up anew for each job.
  if (!known) owner_bytes_.erase(piece.owner);
  const Status stored = db_->transact("receive", [&] {
    if (!known) TROUPE_RETURN_IF_ERROR(forget_old(*db_, now_ms));
    TROUPE_RETURN_IF_ERROR(make_room_for(piece));
    TROUPE_RETURN_IF_ERROR(
        Query(*db_,
              "INSERT OR IGNORE INTO jobs(id, owner, kind, spec, shards, life, submitted_ms,"
              " ended_ms, error, merged, result) VALUES(?, ?, ?, ?, ?, 0, ?, 0, '', 0, x'')")
            .text(piece.id)
            .text(piece.owner)
            .text(piece.kind)
            .text(piece.spec)
            .number(piece.shards)
            .number(now_ms)
            .run());
    for (std::uint32_t i = 0; i < piece.inputs.size(); ++i) {
      TROUPE_RETURN_IF_ERROR(Query(*db_,
                                   "INSERT OR IGNORE INTO shards(job, shard, input) VALUES("
                                   "(SELECT number FROM jobs WHERE id = ?), ?, ?)")
                                 .text(piece.id)
                                 .number(piece.first + i)
                                 .bytes(piece.inputs[i])
                                 .run());
    }
    known = find_job(*db_, piece.id);
    TROUPE_RETURN_IF_ERROR(known.status());
    if (known->received < known->shards) return Status::ok();
    known->life = JobLife::kRunning;
    known->submitted_ms = now_ms;
    TROUPE_RETURN_IF_ERROR(
        Query(*db_, "UPDATE jobs SET life = 1, submitted_ms = ? WHERE number = ?")
            .number(now_ms)
            .number(known->number)
            .run());
    return write_line(*db_, known->number, now_ms,
                      "submitted: " + piece.kind + ", " + std::to_string(piece.shards) +
                          (piece.shards == 1 ? " shard" : " shards"));
  });
  if (!stored) {
    owner_bytes_.erase(piece.owner);
    return stored;
  }
  return known;
}

Result<std::vector<JobRecord>> Journal::jobs() {
  std::lock_guard lock(mutex_);
  std::vector<JobRecord> all;
  Query query(*db_, kJobColumns, "ORDER BY number");
  while (query.next()) all.push_back(read_job(query));
  TROUPE_RETURN_IF_ERROR(query.status());
  return all;
}

Status Journal::no_job(const std::string& id) {
  return Status(Code::kNotFound, "there is no job '" + id + "'; 'troupe jobs' lists them");
}

Result<JobRecord> Journal::job(const std::string& id) {
  std::lock_guard lock(mutex_);
  return find_job(*db_, id);
}

Result<JobRecord> Journal::job_number(std::uint64_t job) {
  std::lock_guard lock(mutex_);
  Query query(*db_, kJobColumns, "WHERE number = ?");
  query.number(job);
  if (query.next()) return read_job(query);
  TROUPE_RETURN_IF_ERROR(query.status());
  return Status(Code::kNotFound, "there is no job with the number " + std::to_string(job));
}

Result<std::vector<std::uint32_t>> Journal::finished_shards(std::uint64_t job) {
  std::lock_guard lock(mutex_);
  std::vector<std::uint32_t> shards;
  Query query(*db_, "SELECT shard FROM shards WHERE job = ? AND output IS NOT NULL ORDER BY shard");
  query.number(job);
  while (query.next()) shards.push_back(static_cast<std::uint32_t>(query.number_at(0)));
  TROUPE_RETURN_IF_ERROR(query.status());
  return shards;
}

Result<std::string> Journal::spec(std::uint64_t job) {
  std::lock_guard lock(mutex_);
  Query query(*db_, "SELECT spec FROM jobs WHERE number = ?");
  return one_blob(query.number(job), "such job");
}

Result<std::string> Journal::input(std::uint64_t job, std::uint32_t shard) {
  std::lock_guard lock(mutex_);
  Query query(*db_, "SELECT input FROM shards WHERE job = ? AND shard = ?");
  return one_blob(query.number(job).number(shard), "such shard");
}

Result<std::string> Journal::output(std::uint64_t job, std::uint32_t shard) {
  std::lock_guard lock(mutex_);
  Query query(*db_, "SELECT output FROM shards WHERE job = ? AND shard = ? AND output IS NOT NULL");
  return one_blob(query.number(job).number(shard), "output of that shard yet");
}

Result<std::string> Journal::result(std::uint64_t job) {
  std::lock_guard lock(mutex_);
  Query query(*db_, "SELECT result FROM jobs WHERE number = ?");
  return one_blob(query.number(job), "such job");
}

Result<bool> Journal::finish_shard(std::uint64_t job, std::uint32_t shard,
                                   const std::string& output, const std::string& line, bool ends,
                                   std::int64_t now_ms) {
  std::lock_guard lock(mutex_);
  bool counts = false;
  TROUPE_RETURN_IF_ERROR(db_->transact("finish_shard", [&] {
    TROUPE_ASSIGN_OR_RETURN(const bool running, is_running(*db_, job));
    if (!running) return Status::ok();
    TROUPE_RETURN_IF_ERROR(
        Query(*db_, "UPDATE shards SET output = ? WHERE job = ? AND shard = ? AND output IS NULL")
            .bytes(output)
            .number(job)
            .number(shard)
            .run());
    counts = db_->changes() == 1;
    if (!counts) return Status::ok();
    TROUPE_RETURN_IF_ERROR(write_line(*db_, job, now_ms, line));
    return ends ? write_life(*db_, job, JobLife::kDone, "", now_ms) : Status::ok();
  }));
  return counts;
}

Result<bool> Journal::merge(std::uint64_t job, std::uint32_t from, std::uint32_t to,
                            const std::string& result, bool ends, std::int64_t now_ms) {
  std::lock_guard lock(mutex_);
  bool counts = false;
  TROUPE_RETURN_IF_ERROR(db_->transact("merge", [&] {
    TROUPE_RETURN_IF_ERROR(Query(*db_,
                                 "UPDATE jobs SET result = ?, merged = ? WHERE number = ? AND"
                                 " merged = ? AND life = 1")
                               .bytes(result)
                               .number(to)
                               .number(job)
                               .number(from)
                               .run());
    counts = db_->changes() == 1;
    return counts && ends ? write_life(*db_, job, JobLife::kDone, "", now_ms) : Status::ok();
  }));
  return counts;
}

Result<bool> Journal::end_job(std::uint64_t job, JobLife life, const std::string& error,
                              std::int64_t now_ms) {
  std::lock_guard lock(mutex_);
  bool counts = false;
  TROUPE_RETURN_IF_ERROR(db_->transact("end_job", [&] {
    TROUPE_ASSIGN_OR_RETURN(counts, is_running(*db_, job));
    return counts ? write_life(*db_, job, life, error, now_ms) : Status::ok();
  }));
  return counts;
}

Status Journal::add_line(std::uint64_t job, const std::string& line, std::int64_t now_ms) {
  std::lock_guard lock(mutex_);
  return db_->transact("add_line", [&] { return write_line(*db_, job, now_ms, line); });
}

Result<std::vector<JobLine>> Journal::lines(std::uint64_t job, std::uint64_t after) {
  std::lock_guard lock(mutex_);
  std::vector<JobLine> lines;
  Query query(*db_,
              "SELECT sequence, at_ms, text FROM lines WHERE job = ? AND sequence > ?"
              " ORDER BY sequence LIMIT 1000");
  query.number(job).number(after);
  while (query.next()) {
    lines.push_back(
        {static_cast<std::uint64_t>(query.number_at(0)), query.number_at(1), query.bytes_at(2)});
  }
  TROUPE_RETURN_IF_ERROR(query.status());
  return lines;
}

}  // namespace troupe::actors
