#pragma once

#include <filesystem>

#include <stdlib.h>

// A home for a daemon or a client of a test.

namespace troupe {

struct TemporaryHome {
  std::filesystem::path path;
  TemporaryHome() {
    char name[] = "/tmp/troupe-home-XXXXXX";
    path = ::mkdtemp(name);
  }
  TemporaryHome(const TemporaryHome&) = delete;
  TemporaryHome& operator=(const TemporaryHome&) = delete;
  ~TemporaryHome() {
    std::error_code error;
    std::filesystem::remove_all(path, error);
  }
};

}  // namespace troupe
