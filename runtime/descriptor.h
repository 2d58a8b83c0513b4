#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include <troupe/runtime/status.h>

// What file.cpp and private_file.cpp share: open files, and what the system says of them. Any
// thread.

namespace troupe {

// Owns an open file; negative: it could not be opened. Closed at destruction.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  // The caller closes it.
  int release();

 private:
  int fd_;
};

// "cannot <doing> <path>: <what the system calls `error`, an errno>", with the code that fits.
Status system_error(const char* doing, const std::filesystem::path& path, int error);

// What the file holds from where it is read to its end. `path` is for messages.
//   Errors: kResourceExhausted (more than `bytes_max` bytes), else those of system_error.
Result<std::string> read_rest(const Descriptor& file, const std::filesystem::path& path,
                              std::size_t bytes_max);

}  // namespace troupe
