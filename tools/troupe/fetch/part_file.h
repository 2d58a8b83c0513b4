#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/fetch/range_plan.h>

// A file that is being fetched, KEY.part, and beside it what a later process must know to go on:
// KEY.json, {"bytes","validator","missing":[[begin,end],...],"model"}. The JSON never claims bytes
// that are not on the disk. One owner at a time, which holds the lock on pulls.

namespace troupe::tools {

class PartFile {
 public:
  // Opens the file at part_path(), or makes it.
  static Result<PartFile> open(const std::filesystem::path& path);
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;
  ~PartFile();

  const std::filesystem::path& path() const { return path_; }

  struct State {
    std::uint64_t bytes = 0;
    std::string validator;  // the server's name of this content, for If-Range; "": it gave none
    RangePlan plan;
  };
  // What an earlier transfer left; nullopt if there is nothing to go on from.
  std::optional<State> load() const;
  // Makes room on the disk for the whole file at once.
  //   Errors: kResourceExhausted (says how much is free), kInternal.
  Status reserve(std::uint64_t bytes);
  Status write(std::uint64_t at, std::span<const std::byte> bytes);
  // Records how far the transfer is, and for which model, after the bytes themselves are on the
  // disk.
  Status save(const RangePlan& plan, const std::string& validator, const std::string& model);
  // Empties the file and erases its record.
  Status clear();
  // Gives the file exactly this length.
  Status cut(std::uint64_t bytes);

 private:
  PartFile(std::filesystem::path path, int fd);
  Status failure(const std::string& doing, int error) const;
  std::filesystem::path path_, state_path_;
  int fd_ = -1;
};

// Where a PartFile for `url` lies. The name follows from the address, so that a later process finds
// what an earlier one began.
std::filesystem::path part_path(const std::filesystem::path& folder, const std::string& url);
// The transfers that were begun in a folder and have not ended, sorted by model.
struct Unfinished {
  std::filesystem::path path;
  std::string model;                      // the name it is to have; the file's if that is unknown
  std::uint64_t bytes = 0, received = 0;  // of the file; bytes 0: unknown
};
std::vector<Unfinished> unfinished_in(const std::filesystem::path& folder);
// Removes a part file that nobody needs any more, and its record.
void forget_part(const std::filesystem::path& path);

}  // namespace troupe::tools
