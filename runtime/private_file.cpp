#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/runtime/private_file.h>

namespace troupe {
namespace {

struct Descriptor {
  explicit Descriptor(int from) : fd(from) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int fd;
};

Status check_private(const std::string& path, const struct stat& info) {
  const auto denied = [](const std::string& why) { return Status(Code::kPermissionDenied, why); };
  if (!S_ISREG(info.st_mode)) return denied(path + " is no regular file, and must hold a secret");
  if (info.st_uid != ::geteuid()) {
    return denied(path + " belongs to the user with the number " + std::to_string(info.st_uid) +
                  ", who could read what it holds: chown it, or use a file of your own");
  }
  if ((info.st_mode & 077) == 0) return Status::ok();
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(info.st_mode & 07777));
  return denied("the file " + path + " holds a secret and has mode " + mode +
                ", others can reach it: chmod 600 " + path);
}

}  // namespace

Result<std::string> read_private_file(const std::filesystem::path& path, std::size_t bytes_max) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.fd < 0) {
    const int error = errno;
    if (error == ELOOP) {
      return Status(
          Code::kPermissionDenied,
          path.string() + " is a link, and must hold a secret: put the file itself there");
    }
    const Code code = error == ENOENT || error == ENOTDIR ? Code::kNotFound
                      : error == EACCES                   ? Code::kPermissionDenied
                                                          : Code::kUnavailable;
    return Status(code, "cannot open " + path.string() + ": " + std::strerror(error));
  }
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) {
    return Status(Code::kInternal, "cannot look at " + path.string() + ": " + std::strerror(errno));
  }
  TROUPE_RETURN_IF_ERROR(check_private(path.string(), info));
  std::string content(bytes_max + 1, '\0');
  std::size_t have = 0;
  while (have < content.size()) {
    const ssize_t n = ::read(file.fd, content.data() + have, content.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return Status(Code::kUnavailable,
                    "cannot read " + path.string() + ": " + std::strerror(errno));
    }
    if (n == 0) {
      content.resize(have);
      return content;
    }
    have += static_cast<std::size_t>(n);
  }
  return Status(Code::kResourceExhausted, path.string() + " is larger than the limit of " +
                                              std::to_string(bytes_max) + " bytes");
}

}  // namespace troupe
