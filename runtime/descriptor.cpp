#include <cerrno>
#include <cstring>
#include <utility>

#include <unistd.h>

#include <troupe/runtime/descriptor.h>

namespace troupe {

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

int Descriptor::release() { return std::exchange(fd_, -1); }

Status system_error(const char* doing, const std::filesystem::path& path, int error) {
  Code code = Code::kInternal;
  if (error == ENOENT || error == ENOTDIR) code = Code::kNotFound;
  if (error == EACCES || error == EPERM) code = Code::kPermissionDenied;
  if (error == ENOSPC || error == EDQUOT || error == ENOMEM) code = Code::kResourceExhausted;
  return Status(code,
                std::string("cannot ") + doing + " " + path.string() + ": " + std::strerror(error));
}

Result<std::string> read_rest(const Descriptor& file, const std::filesystem::path& path,
                              std::size_t bytes_max) {
  std::string content;
  char buffer[65536];
  for (;;) {
    const ssize_t n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read", path, errno);
    if (n == 0) return content;
    if (content.size() + static_cast<std::size_t>(n) > bytes_max) {
      return Status(Code::kResourceExhausted, path.string() + " is larger than the limit of " +
                                                  std::to_string(bytes_max) + " bytes");
    }
    content.append(buffer, static_cast<std::size_t>(n));
  }
}

}  // namespace troupe
