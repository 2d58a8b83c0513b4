#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <sqlite3.h>

#include <troupe/runtime/status.h>

// SQLite in our words: a connection, and statements whose errors are sentences that name the file.
// Only the journal's files include it. One thread at a time.

namespace troupe::actors {

class Database {
 public:
  // ":memory:" for none.
  static Result<std::unique_ptr<Database>> open(const std::string& file);
  ~Database();

  const std::string& file() const { return file_; }
  // Statements without parameters and without rows.
  Status run(const char* sql);
  // What the last call that failed says of the journal.
  Status error(int code) const;
  std::int64_t changes() const { return ::sqlite3_changes64(handle_); }
  sqlite3* handle() { return handle_; }

 private:
  Database(std::string file, sqlite3* handle) : file_(std::move(file)), handle_(handle) {}
  std::string file_;
  sqlite3* handle_ = nullptr;
};

// One statement: bind in the order of its question marks, then step through its rows. The first
// error sticks and is what status() gives.
class Query {
 public:
  // The statement is `sql`, then `rest`.
  Query(Database& db, const char* sql, const char* rest = "");
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& number(std::int64_t value);
  Query& number(std::uint64_t value) { return number(static_cast<std::int64_t>(value)); }
  Query& number(std::uint32_t value) { return number(static_cast<std::int64_t>(value)); }
  Query& text(std::string_view value);   // the bytes must live until the query ends
  Query& bytes(std::string_view value);  // the same
  // True: there is a row. False: at the end, or failed.
  bool next();
  // For statements without rows.
  Status run() {
    while (next()) {
    }
    return status_;
  }
  std::int64_t number_at(int column) { return ::sqlite3_column_int64(statement_, column); }
  std::string bytes_at(int column);
  const Status& status() const { return status_; }

 private:
  void check(int code);
  Database& db_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
  Status status_;
};

}  // namespace troupe::actors
