#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <troupe/model/store/blob_seal.h>
#include <troupe/model/store/blob_writer.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

Status system_error(const std::string& doing, const std::filesystem::path& path) {
  const int error = errno;
  Code code = Code::kInternal;
  if (error == ENOENT) code = Code::kNotFound;
  if (error == EACCES || error == EPERM || error == EROFS) code = Code::kPermissionDenied;
  if (error == ENOSPC || error == EDQUOT) code = Code::kResourceExhausted;
  return Status(code, "cannot " + doing + " " + path.string() + ": " + std::strerror(error));
}

class Writer final : public BlobWriter {
 public:
  Writer(const std::filesystem::path& root, const BlobRef& blob, FileLock lock)
      : blob_(blob),
        partial_(root / "partial" / blob.sha256),
        lock_path_(root / "partial" / (blob.sha256 + ".lock")),
        target_(root / "blobs" / blob.sha256),
        lock_(std::move(lock)) {}
  ~Writer() override {
    if (fd_ >= 0) ::close(fd_);
  }

  // Continues after the bytes that an earlier transfer left.
  Status open() {
    if (check_blob(target_, blob_.sha256)) {
      received_ = blob_.bytes;
      committed_ = true;
      ::unlink(partial_.c_str());
      ::unlink(lock_path_.c_str());
      return Status::ok();
    }
    fd_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd_ < 0) return system_error("open", partial_);
    struct stat info {};
    if (::fstat(fd_, &info) != 0) return system_error("stat", partial_);
    if (static_cast<std::uint64_t>(info.st_size) > blob_.bytes && ::ftruncate(fd_, 0) != 0) {
      return system_error("truncate", partial_);
    }
    std::byte buffer[65536];
    for (;;) {
      const ssize_t count = ::pread(fd_, buffer, sizeof buffer, static_cast<off_t>(received_));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return system_error("read", partial_);
      if (count == 0) return Status::ok();
      hash_.update({buffer, static_cast<std::size_t>(count)});
      received_ += static_cast<std::uint64_t>(count);
    }
  }

  std::uint64_t received() const override { return received_; }

  Status append(std::span<const std::byte> bytes) override {
    if (bytes.size() > blob_.bytes - received_) {
      return Status(Code::kBadData, "blob " + blob_.sha256 + " has " + std::to_string(blob_.bytes) +
                                        " bytes, " + std::to_string(received_ + bytes.size()) +
                                        " were sent");
    }
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return system_error("write", partial_);
      hash_.update(bytes.first(static_cast<std::size_t>(count)));
      received_ += static_cast<std::uint64_t>(count);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return Status::ok();
  }

  Status commit() override {
    if (committed_) return Status::ok();
    if (received_ != blob_.bytes) {
      return Status(Code::kFailedPrecondition,
                    "blob " + blob_.sha256 + " is not complete: " + std::to_string(received_) +
                        " of " + std::to_string(blob_.bytes) + " bytes are here");
    }
    const std::string hash = Sha256(hash_).hex();
    if (hash != blob_.sha256) {
      ::unlink(partial_.c_str());
      return Status(Code::kBadData, "blob " + blob_.sha256 +
                                        " arrived damaged: it has the sha256 " + hash +
                                        "; the file was changed where it came "
                                        "from, or damaged on the way; ask again");
    }
    TROUPE_RETURN_IF_ERROR(move_into_store(partial_, target_));
    committed_ = true;
    // A process that is still waiting for this lock will find the blob.
    ::unlink(lock_path_.c_str());
    return Status::ok();
  }

 private:
  BlobRef blob_;
  std::filesystem::path partial_, lock_path_, target_;
  FileLock lock_;
  Sha256 hash_;
  int fd_ = -1;
  std::uint64_t received_ = 0;
  bool committed_ = false;
};

Status check_room(const std::filesystem::path& root, const BlobRef& blob, std::uint64_t missing) {
  struct statvfs disk {};
  if (missing == 0 || ::statvfs(root.c_str(), &disk) != 0) return Status::ok();
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  const std::uint64_t kept =
      std::min<std::uint64_t>(kFreeBytesMin, std::uint64_t{disk.f_blocks} * disk.f_frsize / 20);
  if (free >= kept && free - kept >= missing) return Status::ok();
  return Status(Code::kResourceExhausted,
                "the disk of " + root.string() + " has " + std::to_string(free >> 20) +
                    " MiB of free space; blob " + blob.sha256 + " takes " +
                    std::to_string(missing >> 20) + " MiB more, and " + std::to_string(kept >> 20) +
                    " MiB stay free: make room ('troupe rm' removes models)");
}

constexpr std::chrono::hours kPartialAge{72};

// Returns the time at which the file, or anything in the folder, was last written.
std::filesystem::file_time_type written_last(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  auto last = fs::last_write_time(path, error);
  if (!fs::is_directory(fs::symlink_status(path, error))) return last;
  for (const auto& entry : fs::recursive_directory_iterator(path, error)) {
    last = std::max(last, entry.last_write_time(error));
  }
  return last;
}

}  // namespace

void sweep_partial_files(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  std::error_code error;
  const auto oldest = fs::file_time_type::clock::now() - kPartialAge;
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(root / "partial", error)) {
    if (written_last(entry.path()) < oldest) old.push_back(entry.path());
  }
  for (const fs::path& path : old) {
    // The age of a lock file does not show whether its writer is alive, because only the file that
    // it guards is written again. So the lock is tried.
    fs::path lock_path = path;
    if (path.extension() != ".lock") lock_path += ".lock";
    const bool guarded = fs::exists(lock_path, error);
    const auto lock = guarded ? FileLock::try_acquire(lock_path) : Result<FileLock>(FileLock());
    if (!lock) continue;
    fs::remove_all(path, error);
    if (path.extension() != ".lock" && guarded) fs::remove(lock_path, error);
  }
}

Result<std::unique_ptr<BlobWriter>> open_blob_writer(const std::filesystem::path& root,
                                                     const BlobRef& blob) {
  if (!is_sha256_hex(blob.sha256)) {
    return Status(Code::kInvalidArgument,
                  "a blob's hash is " + in_quotes(blob.sha256) + ", expected 64 hex digits");
  }
  Result<FileLock> lock = FileLock::try_acquire(root / "partial" / (blob.sha256 + ".lock"));
  if (!lock.is_ok() && lock.code() == Code::kAlreadyExists) {
    return Status(Code::kAlreadyExists, "blob " + blob.sha256 + " is being written already");
  }
  if (!lock.is_ok()) return lock.status();
  auto writer = std::make_unique<Writer>(root, blob, std::move(*lock));
  TROUPE_RETURN_IF_ERROR(writer->open());
  TROUPE_RETURN_IF_ERROR(check_room(root, blob, blob.bytes - writer->received()));
  return std::unique_ptr<BlobWriter>(std::move(writer));
}

Status move_into_store(const std::filesystem::path& file, const std::filesystem::path& target) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return system_error("open", file);
  const bool durable = ::fchmod(fd, 0444) == 0 && ::fsync(fd) == 0;
  Status status = durable ? Status::ok() : system_error("sync", file);
  if (durable) seal_blob(fd);
  ::close(fd);
  if (!status) return status;
  if (::rename(file.c_str(), target.c_str()) != 0) return system_error("move", file);
  const int folder = ::open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return Status::ok();
}

}  // namespace troupe::model
