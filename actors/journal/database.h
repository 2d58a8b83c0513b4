#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <sqlite3.h>

#include <troupe/runtime/status.h>

// A thin layer over SQLite: a connection with a schema that has a number, transactions that are on
// the disk when they return, and statements whose errors are sentences that name the file. What is
// deleted is overwritten. Only the files of this room include it. One thread at a time.

namespace troupe::actors {

class Database {
 public:
  // Opens a file; ":memory:" stands for no file. `contents` names in messages what is lost with the
  // file.
  static Result<std::unique_ptr<Database>> open(const std::string& file,
                                                const std::string& contents = "jobs");
  ~Database();

  // Prepares a connection that is the file's only one, and brings the schema up to date: each of
  // `steps` leads from one schema to the next, whose number it sets as user_version (from 1).
  //   Errors: kFailedPrecondition (a newer release wrote it), kBadData (damaged).
  Status set_up(std::span<const char* const> steps);
  // Runs `body` in a transaction, which is committed if it returns ok. Failpoints:
  // journal.CALL.before_commit, .in_commit and .after_commit.
  Status transact(const char* call, const std::function<Status()>& body);
  // Empties the write-ahead log if a row was deleted since the last call, because the log has
  // earlier versions of the pages. Callers do so about once a minute.
  Status scrub();

  const std::string& file() const { return file_; }
  // Runs statements without parameters and without rows.
  Status run(const char* sql);
  // Explains the failure of the last call.
  Status error(int code) const;
  std::int64_t changes() const { return ::sqlite3_changes64(handle_); }
  sqlite3* handle() { return handle_; }

 private:
  Database(std::string file, std::string contents, sqlite3* handle)
      : file_(std::move(file)), contents_(std::move(contents)), handle_(handle) {}
  std::string file_, contents_;
  sqlite3* handle_ = nullptr;
  bool deleted_ = false;
};

// Makes the file, readable by its owner alone, if it is absent: prompts must not be readable by
// other users of this machine. SQLite gives its log the same mode. If it cannot be made, opening
// it says why.
void make_private_file(const std::filesystem::path& file);

// One statement. Bind its parameters in the order of the question marks, then step through its
// rows. The first error sticks, and status() returns it.
class Query {
 public:
  // Prepares the statement that is `sql` followed by `rest`.
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
