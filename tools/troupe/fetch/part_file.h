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

// A file that is being fetched, KEY.part, and beside it KEY.json, with what a later process must
// know to continue: {"bytes","validator","missing":[[begin,end],...],"model"}. The JSON never
// claims bytes that are not on the disk. One owner at a time, which holds the lock on pulls.

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
    std::string validator;  // the server's name for this content, for If-Range; "" if it gave none
    RangePlan plan;
  };
  // Returns what an earlier transfer left; nullopt if there is nothing from which to continue.
  std::optional<State> load() const;
  // Reserves room on the disk for the whole file.
  //   Errors: kResourceExhausted (says how much is free), kInternal.
  Status reserve(std::uint64_t bytes);
  Status write(std::uint64_t at, std::span<const std::byte> bytes);
  // Records how far the transfer has come, and for which model. The bytes themselves are on the
  // disk before the record.
  Status save(const RangePlan& plan, const std::string& validator, const std::string& model);
  // Empties the file and erases its record.
  Status clear();
  // Cuts or extends the file to exactly this length.
  Status cut(std::uint64_t bytes);

 private:
  PartFile(std::filesystem::path path, int fd);
  Status failure(const std::string& doing, int error) const;
  std::filesystem::path path_, state_path_;
  int fd_ = -1;
};

// Returns the path of the PartFile for `url`. The name follows from the address, so that a later
// process finds what an earlier one began.
std::filesystem::path part_path(const std::filesystem::path& folder, const std::string& url);
// A transfer that was cut off.
struct Unfinished {
  std::filesystem::path path;
  std::string model;  // the name that it is to have; that of the file if this is not known
  std::uint64_t bytes = 0, received = 0;  // of the file; 0 bytes if not known
};
// Returns the unfinished transfers in a folder, sorted by model.
std::vector<Unfinished> unfinished_in(const std::filesystem::path& folder);
// Removes a part file that is no longer needed, and its record.
void forget_part(const std::filesystem::path& path);

}  // namespace troupe::tools
