#include <troupe/actors/journal/database.h>

namespace troupe::actors {
namespace {

constexpr int kBusyMs = 2000;  // another program may be reading the file

Status explain(const std::string& file, int code, const char* words) {
  const std::string journal = "the journal " + file;
  const std::string because = std::string(" (") + words + ")";
  switch (code & 0xFF) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_FORMAT:
    case SQLITE_MISMATCH:
      return {Code::kBadData, journal + " is damaged" + because +
                                  "; move it away, with what lies beside it under the same name, "
                                  "and start again: its jobs are lost, or copy a backup there"};
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

Result<std::unique_ptr<Database>> Database::open(const std::string& file) {
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
  const int code = ::sqlite3_open_v2(file.c_str(), &handle, flags, nullptr);
  std::unique_ptr<Database> db(new Database(file, handle));
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
  return explain(file_, code,
                 handle_ != nullptr ? ::sqlite3_errmsg(handle_) : ::sqlite3_errstr(code));
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
    // The blob of no bytes is empty, not NULL.
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
