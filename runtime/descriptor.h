#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include <troupe/runtime/status.h>

// What file.cpp and private_file.cpp share: open files, and the system's error messages. Any
// thread.

namespace troupe {

// Owns an open file; a negative number means that it could not be opened. The destructor closes it.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  // Releases the descriptor; the caller must close it.
  int release();

 private:
  int fd_;
};

// Returns the failure "cannot <doing> <path>: <the system's text for `error`, an errno>", with the
// code that fits.
Status system_error(const char* doing, const std::filesystem::path& path, int error);

// Reads from the present position to the end of the file. `path` is for messages.
//   Errors: kResourceExhausted (more than `bytes_max` bytes), else those of system_error.
Result<std::string> read_rest(const Descriptor& file, const std::filesystem::path& path,
                              std::size_t bytes_max);

}  // namespace troupe
