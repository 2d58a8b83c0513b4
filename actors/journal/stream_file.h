#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <troupe/runtime/status.h>

// The streams of an HTTP server that may be taken up again, for the server that is started after
// it was killed. It is one SQLite file, readable by its owner alone, and what is forgotten is
// overwritten. The texts are the server's own (http/stored_stream.h). Calls wait for the disk: one
// thread, which may block.
//
// Errors of every call, and failpoints: as in journal.h; the calls are write_streams and set_up.

namespace troupe::actors {

class Database;  // journal/database.h

struct StoredStream {
  std::string id;
  std::string owner;              // who may take it up
  std::string request;            // what was asked for, fixed at acceptance
  std::int64_t rested_ms = 0;     // Unix time since when nobody computes it; 0 while somebody does
  std::vector<std::string> news;  // what it said, in the order of writing
};

// What has happened to streams since the last write.
struct StreamNews {
  std::vector<StoredStream> begun;
  std::vector<std::pair<std::string, std::string>> said;    // (id, news)
  std::vector<std::pair<std::string, std::int64_t>> rests;  // (id, rested_ms)
  std::vector<std::string> forgotten;
  bool empty() const { return begun.empty() && said.empty() && rests.empty() && forgotten.empty(); }
};

class StreamFile {
 public:
  // Opens the file, and makes it and its folder if they are absent.
  //   Errors: kUnavailable (another server has it open), kFailedPrecondition (a newer release wrote
  //   it), those of every call.
  static Result<std::unique_ptr<StreamFile>> open(const std::filesystem::path& file);
  ~StreamFile();
  const std::string& name() const;

  Result<std::vector<StoredStream>> load();
  // Writes all of it in one transaction, in the order of the fields. News of streams that are not
  // in the file are left out.
  Status write(const StreamNews& news);
  // Removes the last traces of forgotten streams from the disk (Database::scrub).
  Status scrub();

 private:
  StreamFile() = default;
  std::unique_ptr<Database> db_;
};

}  // namespace troupe::actors
