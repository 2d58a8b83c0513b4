#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/model/store/blob_seal.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/sha256.h>

namespace troupe::model {
namespace {

constexpr timespec kSealTime{1'000'000'000, 0};  // 2001-09-09: no file of ours is so old

bool hashes_to(int fd, const std::string& sha256) {
  Sha256 hash;
  std::byte buffer[1 << 16];
  for (;;) {
    const ssize_t count = ::read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    if (count == 0) return hash.hex() == sha256;
    hash.update({buffer, static_cast<std::size_t>(count)});
  }
}

}  // namespace

void seal_blob(int fd) {
  const timespec times[2] = {{0, UTIME_OMIT}, kSealTime};
  static_cast<void>(::futimens(fd, times));
}

bool check_blob(const std::filesystem::path& path, const std::string& sha256) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  if (info.st_mtim.tv_sec == kSealTime.tv_sec && info.st_mtim.tv_nsec == kSealTime.tv_nsec) {
    return true;
  }
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool intact = hashes_to(fd, sha256);
  if (intact) seal_blob(fd);
  ::close(fd);
  if (!intact) {
    log(LogLevel::kWarning, path.string() +
                                " was changed on this disk: its content is not what its name says; "
                                "it is removed, and will be fetched again when it is needed");
    ::unlink(path.c_str());
  }
  return intact;
}

}  // namespace troupe::model
