#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/model/files/new_file.h>
#include <troupe/runtime/failpoint.h>

namespace troupe::model {

NewFile::NewFile(const std::filesystem::path& path, const char* kind)
    : path_(path), kind_(kind), temporary_(path) {
  temporary_ += ".tmp." + std::to_string(::getpid());
}

NewFile::~NewFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!renamed_) ::unlink(temporary_.c_str());
}

Status NewFile::error(const char* what) const {
  return Status(errno == ENOSPC ? Code::kResourceExhausted : Code::kUnavailable,
                "cannot " + std::string(what) + " " + path_.string() + ": " +
                    std::generic_category().message(errno));
}

Status NewFile::open() {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  return descriptor_ < 0 ? error("create") : Status::ok();
}

Status NewFile::write(std::span<const std::byte> bytes) {
  TROUPE_RETURN_IF_ERROR(failpoint("files", kind_, "write"));
  hash_.update(bytes);
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::write(descriptor_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error("write");
    done += static_cast<std::size_t>(n);
  }
  return Status::ok();
}

Status NewFile::finish() {
  if (::fsync(descriptor_) != 0) return error("write");
  TROUPE_RETURN_IF_ERROR(failpoint("files", kind_, "rename"));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return error("rename");
  renamed_ = true;
  const std::filesystem::path parent = path_.has_parent_path() ? path_.parent_path() : ".";
  const int folder = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return Status::ok();
}

}  // namespace troupe::model
