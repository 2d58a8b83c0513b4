#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/runtime/status.h>

// Files: read-only mappings, whole reads with a limit, atomic writes, advisory locks. Every failure
// is a Status that names the path and the system's reason.

namespace troupe {

// A read-only private mapping of a whole file; movable, unmapped at destruction.
// Any thread may read `bytes()`. The file must not shrink while mapped (SIGBUS), which is why the
// store keeps its blobs read-only.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Tells the kernel that the pages wholly inside [offset, offset + length) will not be needed
  // soon, so that they stop counting as resident.
  void drop_pages(std::size_t offset, std::size_t length) const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// A bound for read_file(), which none of the files of /proc and /sys that Troupe reads will reach.
constexpr std::size_t kSystemFileBytesMax = std::size_t{1} << 16;

// Reads the whole file.
//   Errors: kResourceExhausted (it is larger than `bytes_max`).
Result<std::string> read_file(const std::filesystem::path& path, std::size_t bytes_max);
// Reads the `length` bytes from `offset` on.
//   Errors: kBadData (the file ends before them).
Result<std::vector<std::byte>> read_piece(const std::filesystem::path& path, std::uint64_t offset,
                                          std::size_t length);

// Writes to a temporary file beside `path`, fsyncs, renames: a reader sees the old content or the
// new, never a mix. `mode` has the permissions of the new file (such as 0600 for keys). A link is
// followed.
//   Errors: kInvalidArgument if `path` is not a regular file, else those of the system.
Status write_file_atomically(const std::filesystem::path& path, std::string_view content,
                             unsigned mode = 0644);

// Checks whether write_file_atomically could put a file there now, without doing so. Its errors are
// the same, except that it does not notice a full disk.
Status check_writable(const std::filesystem::path& path);

// An exclusive advisory lock (flock) on a file, which is created if it is absent. The lock is
// released by the destructor, and when the process dies.
class FileLock {
 public:
  // Errors: kAlreadyExists (another process holds the lock).
  static Result<FileLock> try_acquire(const std::filesystem::path& path);
  FileLock() = default;
  FileLock(FileLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();
  bool held() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace troupe
