#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <troupe/runtime/status.h>

// The key with which programs of a head's own user, on its machine, connect to it without a token.
// It lies in two places, as PORT.client (0600) in each: HOME/keys, which lasts, and
// $XDG_RUNTIME_DIR/troupe (without that variable, a 0700 folder of the user under /tmp), where
// programs that do not know the head's home find it. The file holds TOKEN@HOST:PORT.

namespace troupe::actors {

// Returns both places, the one in `home` first. The folders need not exist.
std::vector<std::filesystem::path> local_key_places(const std::string& home, std::uint16_t port);

// Reads the newest token that lies in one of the places. Any thread; reads files.
//   Errors: kUnavailable (there is none; the text names the places that were searched).
Result<std::string> find_local_token(const std::string& home, std::uint16_t port);

// Kept by a head: writes the key, and writes it again if it is deleted (the run-time folder is
// deleted when the user's last session ends). Removes the key at the end. Has a thread of its own.
class LocalKey {
 public:
  // Errors: those of writing into HOME. If the run-time folder is missing, only a warning is
  // logged.
  static Result<std::unique_ptr<LocalKey>> publish(const std::string& home, std::uint16_t port,
                                                   std::string text);
  ~LocalKey();
  LocalKey(const LocalKey&) = delete;
  LocalKey& operator=(const LocalKey&) = delete;

 private:
  LocalKey(const std::string& home, std::uint16_t port, std::string text);
  Status write_where_missing();
  void keep();

  const std::vector<std::filesystem::path> places_;
  const std::string text_;
  bool warned_ = false;  // the run-time folder is missing
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace troupe::actors
