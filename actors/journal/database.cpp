#include <fcntl.h>
#include <unistd.h>

#include <troupe/actors/journal/database.h>
#include <troupe/runtime/failpoint.h>

namespace troupe::actors {
namespace {

constexpr int kBusyMs = 2000;  // another program may be reading the file

Status explain(const std::string& file, const std::string& contents, int code, const char* words) {
  const std::string journal = "the journal " + file;
  const std::string because = std::string(" (") + words + ")";
  switch (code & 0xFF) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_FORMAT:
    case SQLITE_MISMATCH:
      return {Code::kBadData, journal + " is damaged" + because +
                                  "; move it away, with what lies beside it under the same name, "
                                  "and start again: its " +
                                  contents + " are lost, or copy a backup there"};
    case SQLITE_FULL:
      return {Code::kResourceExhausted,
              journal + " cannot grow" + because + ": make room on its disk"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {Code::kUnavailable,
              journal + " is in use by another program" + because + "; end that one"};
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return {Code::kPermissionDenied, journal + " cannot be opened for writing" + because +
                                           "; check who owns it and its folder"};
    default:
      return {Code::kUnavailable, journal + " cannot be read or written" + because};
  }
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::string& file,
                                                 const std::string& contents) {
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
  const int code = ::sqlite3_open_v2(file.c_str(), &handle, flags, nullptr);
  std::unique_ptr<Database> db(new Database(file, contents, handle));
  if (code != SQLITE_OK) return db->error(code);
  ::sqlite3_extended_result_codes(handle, 1);
  ::sqlite3_busy_timeout(handle, kBusyMs);
  return db;
}

Database::~Database() { ::sqlite3_close_v2(handle_); }

Status Database::run(const char* sql) {
  const int code = ::sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? Status::ok() : error(code);
}

Status Database::error(int code) const {
  return explain(file_, contents_, code,
                 handle_ != nullptr ? ::sqlite3_errmsg(handle_) : ::sqlite3_errstr(code));
}

Status Database::set_up(std::span<const char* const> steps) {
  // Only one process uses the file, so that the log's index needs no shared memory.
  TROUPE_RETURN_IF_ERROR(
      run("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; "
          "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;"));
  const auto newest = static_cast<std::int64_t>(steps.size());
  std::int64_t schema = 0;
  {
    Query query(*this, "PRAGMA user_version");
    if (query.next()) schema = query.number_at(0);
    TROUPE_RETURN_IF_ERROR(query.status());
  }
  if (schema > newest) {
    return Status(Code::kFailedPrecondition,
                  "the journal " + file_ + " was written by a newer Troupe (its schema is " +
                      std::to_string(schema) + ", this program knows " + std::to_string(newest) +
                      "); start that release, or move the file away");
  }
  {
    Query query(*this, "PRAGMA quick_check(1)");
    std::string found;
    if (query.next()) found = query.bytes_at(0);
    TROUPE_RETURN_IF_ERROR(query.status());
    if (found != "ok") {
      return Status(Code::kBadData, "the journal " + file_ + " is damaged (" + found +
                                        "); move it away, with what lies beside it under the same "
                                        "name, and start again: its " +
                                        contents_ + " are lost");
    }
  }
  if (schema < newest) {
    TROUPE_RETURN_IF_ERROR(transact("set_up", [&] {
      for (std::int64_t from = schema; from < newest; ++from) {
        TROUPE_RETURN_IF_ERROR(run(steps[static_cast<std::size_t>(from)]));
      }
      return Status::ok();
    }));
  }
  ::sqlite3_update_hook(
      handle_,
      [](void* self, int change, const char*, const char*, sqlite3_int64) {
        if (change == SQLITE_DELETE) static_cast<Database*>(self)->deleted_ = true;
      },
      this);
  // A process that was killed may have left a log that still has deleted rows.
  deleted_ = true;
  return scrub();
}

Status Database::transact(const char* call, const std::function<Status()>& body) {
  TROUPE_RETURN_IF_ERROR(run("BEGIN IMMEDIATE"));
  Status done = body();
  struct Committing {
    const char* call;
    Status status;
  } committing{call, Status::ok()};
  if (done) done = failpoint("journal", call, "before_commit");
  if (done) {
    // SQLite calls this in the middle of its commit, before anything is written.
    ::sqlite3_commit_hook(
        handle_,
        [](void* out) -> int {
          auto& now = *static_cast<Committing*>(out);
          now.status = failpoint("journal", now.call, "in_commit");
          return now.status ? 0 : 1;
        },
        &committing);
    const Status committed = run("COMMIT");
    ::sqlite3_commit_hook(handle_, nullptr, nullptr);
    if (committed) return failpoint("journal", call, "after_commit");
    done = committing.status ? committed : committing.status;
  }
  // A commit that failed may have rolled back already.
  if (::sqlite3_get_autocommit(handle_) == 0) {
    const Status undone = run("ROLLBACK");
    if (!undone) return undone;
  }
  return done;
}

Status Database::scrub() {
  if (!deleted_) return Status::ok();
  TROUPE_RETURN_IF_ERROR(run("PRAGMA wal_checkpoint(TRUNCATE)"));
  deleted_ = false;
  return Status::ok();
}

void make_private_file(const std::filesystem::path& file) {
  const int made = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (made >= 0) ::close(made);
}

Query::Query(Database& db, const char* sql, const char* rest) : db_(db) {
  std::string whole(sql);
  whole += rest;
  check(::sqlite3_prepare_v2(db.handle(), whole.c_str(), -1, &statement_, nullptr));
}

Query::~Query() { ::sqlite3_finalize(statement_); }

void Query::check(int code) {
  if (status_ && code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE) {
    status_ = db_.error(code);
  }
}

Query& Query::number(std::int64_t value) {
  if (status_) check(::sqlite3_bind_int64(statement_, ++bound_, value));
  return *this;
}

Query& Query::text(std::string_view value) {
  if (status_) {
    check(::sqlite3_bind_text64(statement_, ++bound_, value.data(), value.size(), SQLITE_STATIC,
                                SQLITE_UTF8));
  }
  return *this;
}

Query& Query::bytes(std::string_view value) {
  if (status_) {
    // A blob without bytes is empty, not NULL.
    const char* const data = value.empty() ? "" : value.data();
    check(::sqlite3_bind_blob64(statement_, ++bound_, data, value.size(), SQLITE_STATIC));
  }
  return *this;
}

bool Query::next() {
  if (!status_) return false;
  const int code = ::sqlite3_step(statement_);
  check(code);
  return code == SQLITE_ROW;
}

std::string Query::bytes_at(int column) {
  const auto* data = static_cast<const char*>(::sqlite3_column_blob(statement_, column));
  const int size = ::sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(data, static_cast<std::size_t>(size));
}

}  // namespace troupe::actors
