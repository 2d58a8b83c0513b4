#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <sqlite3.h>

#include <troupe/runtime/status.h>

// A thin layer over SQLite: a connection, and statements whose errors are sentences that name the
// file. Only the journal's files include it. One thread at a time.

namespace troupe::actors {

class Database {
 public:
  // Opens a file; ":memory:" stands for no file.
  static Result<std::unique_ptr<Database>> open(const std::string& file);
  ~Database();

  const std::string& file() const { return file_; }
  // Runs statements without parameters and without rows.
  Status run(const char* sql);
  // Explains the failure of the last call.
  Status error(int code) const;
  std::int64_t changes() const { return ::sqlite3_changes64(handle_); }
  sqlite3* handle() { return handle_; }

 private:
  Database(std::string file, sqlite3* handle) : file_(std::move(file)), handle_(handle) {}
  std::string file_;
  sqlite3* handle_ = nullptr;
};

// One statement. Bind its parameters in the order of the question marks, then step through its
// rows. The first error sticks, and status() returns it.
class Query {
 public:
  // The statement is `sql` followed by `rest`.
  Query(Database& db, const char* sql, const char* rest = "");
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& number(std::int64_t value);
  Query& number(std::uint64_t value) { return number(static_cast<std::int64_t>(value)); }
  Query& number(std::uint32_t value) { return number(static_cast<std::int64_t>(value)); }
  Query& text(std::string_view value);   // the bytes must live until the query ends
  Query& bytes(std::string_view value);  // as for text()
  // Returns true if there is a row, and false at the end or after a failure.
  bool next();
  // Runs a statement without rows.
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
