#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/runtime/descriptor.h>
#include <troupe/runtime/private_file.h>

namespace troupe {
namespace {

Status check_private(const std::string& path, const struct stat& info) {
  const auto denied = [](const std::string& why) { return Status(Code::kPermissionDenied, why); };
  if (!S_ISREG(info.st_mode))
    return denied(path + " is not a regular file, and must hold a secret");
  if (info.st_uid != ::geteuid()) {
    return denied(path + " belongs to the user with the number " + std::to_string(info.st_uid) +
                  ", who could read what it holds: chown it, or use a file of your own");
  }
  if ((info.st_mode & 077) == 0) return Status::ok();
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(info.st_mode & 07777));
  return denied("the file " + path + " holds a secret and has mode " + mode +
                ", so that others can reach it: chmod 600 " + path);
}

}  // namespace

Result<std::string> read_private_file(const std::filesystem::path& path, std::size_t bytes_max) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0 && errno == ELOOP) {
    return Status(Code::kPermissionDenied,
                  path.string() + " is a link, and must hold a secret: put the file itself there");
  }
  if (file.get() < 0) return system_error("open", path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return system_error("stat", path, errno);
  TROUPE_RETURN_IF_ERROR(check_private(path.string(), info));
  return read_rest(file, path, bytes_max);
}

}  // namespace troupe
