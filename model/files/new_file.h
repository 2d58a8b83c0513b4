#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include <troupe/runtime/sha256.h>
#include <troupe/runtime/status.h>

// A large file that is written piece by piece under a temporary name, and gets its own name when it
// is whole and on the disk. If the object is destroyed before that, the file is removed. One
// thread.

namespace troupe::model {

class NewFile {
 public:
  // `kind` names the failpoints: files.KIND.write, files.KIND.rename.
  NewFile(const std::filesystem::path& path, const char* kind);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // Each returns what the system says; kResourceExhausted if the disk is full.
  Status open();
  Status write(std::span<const std::byte> bytes);
  // Puts the file in the place of `path`.
  Status finish();
  // Returns the SHA-256 of what was written, as 64 hexadecimal digits.
  std::string hash() { return hash_.hex(); }

 private:
  Status error(const char* what) const;

  const std::filesystem::path path_;
  const char* const kind_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool renamed_ = false;
  Sha256 hash_;
};

}  // namespace troupe::model
