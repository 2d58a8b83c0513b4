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

// The key by which programs of a head's own user, on its machine, speak to it without a token. It
// lies in two places, PORT.client (0600) in each: HOME/keys, which lasts, and
// $XDG_RUNTIME_DIR/troupe (without that variable a 0700 folder of the user's under /tmp), where
// programs find it that do not know the head's home. The file holds TOKEN@HOST:PORT.

namespace troupe::actors {

// Both places, the one in `home` first. The folders need not exist.
std::vector<std::filesystem::path> local_key_places(const std::string& home, std::uint16_t port);

// The newest token that lies in one of the places. Any thread; reads files.
//   Errors: kUnavailable (there is none), with the places that were looked at.
Result<std::string> find_local_token(const std::string& home, std::uint16_t port);

// A head's: writes the key, and writes it again where it has gone (the run-time folder goes when
// the user's last session ends). Removes it at the end. Has a thread of its own.
class LocalKey {
 public:
  // Errors: those of writing into HOME. Without the run-time folder there is a warning.
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
  bool warned_ = false;  // the run-time folder cannot be had
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace troupe::actors
