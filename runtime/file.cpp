#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/runtime/descriptor.h>
#include <troupe/runtime/file.h>

namespace troupe {
Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // Opening a pipe without a writer would block; O_NONBLOCK does not affect regular files.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return system_error("open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_error("stat", path, errno);
  if (!S_ISREG(info.st_mode)) {
    return Status(Code::kBadData, path.string() + " is not a regular file; give the path of one");
  }
  MappedFile file;
  file.size_ = static_cast<std::size_t>(info.st_size);
  if (file.size_ == 0) return file;
  void* address = ::mmap(nullptr, file.size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED) return system_error("map", path, errno);
  file.data_ = static_cast<const std::byte*>(address);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::drop_pages(std::size_t offset, std::size_t length) const {
  const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t begin = (offset + page - 1) / page * page;
  const std::size_t end = std::min(offset + length, size_) / page * page;
  if (begin < end) {
    ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
  }
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t bytes_max) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return system_error("open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_error("stat", path, errno);
  if (S_ISDIR(info.st_mode)) {
    return Status(Code::kBadData, path.string() + " is a folder; give the path of a file");
  }
  return read_rest(fd, path, bytes_max);
}

Result<std::vector<std::byte>> read_piece(const std::filesystem::path& path, std::uint64_t offset,
                                          std::size_t length) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return system_error("open", path, errno);
  std::vector<std::byte> piece(length);
  for (std::size_t have = 0; have < length;) {
    const ssize_t n =
        ::pread(fd.get(), piece.data() + have, length - have, static_cast<off_t>(offset + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read", path, errno);
    if (n == 0) {
      return Status(Code::kBadData, path.string() + " ends before byte " +
                                        std::to_string(offset + length) +
                                        ", up to which it is read");
    }
    have += static_cast<std::size_t>(n);
  }
  return piece;
}

namespace {

// Where a new file is made, and the name that it then gets.
struct Replacement {
  std::filesystem::path temporary, path;
};

Result<Replacement> replacement_of(const std::filesystem::path& wished) {
  static std::atomic<unsigned> counter{0};
  // The new file replaces the old one, or the file to which a link leads, but never a device.
  std::error_code none;
  const bool linked = std::filesystem::is_symlink(wished, none);
  const std::filesystem::path target = linked ? std::filesystem::canonical(wished, none) : wished;
  const std::filesystem::path path = target.empty() ? wished : target;
  const auto there = std::filesystem::status(path, none);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there)) {
    return Status(Code::kInvalidArgument,
                  wished.string() +
                      " is a folder, a pipe or a device, and would be replaced; give "
                      "the name of a file");
  }
  std::filesystem::path temporary = path;
  temporary += ".tmp." + std::to_string(::getpid()) + "." + std::to_string(counter++);
  return Replacement{std::move(temporary), path};
}

}  // namespace

Status check_writable(const std::filesystem::path& wished) {
  TROUPE_ASSIGN_OR_RETURN(const Replacement file, replacement_of(wished));
  Descriptor fd(::open(file.temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd.get() < 0) return system_error("write", file.path, errno);
  ::unlink(file.temporary.c_str());
  return Status::ok();
}

Status write_file_atomically(const std::filesystem::path& wished, std::string_view content,
                             unsigned mode) {
  TROUPE_ASSIGN_OR_RETURN(const Replacement file, replacement_of(wished));
  const auto& [temporary, path] = file;
  int error = 0;
  {
    Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (fd.get() < 0) return system_error("create", temporary, errno);
    ::fchmod(fd.get(), mode);
    std::size_t done = 0;
    while (done < content.size() && error == 0) {
      const ssize_t n = ::write(fd.get(), content.data() + done, content.size() - done);
      if (n >= 0) {
        done += static_cast<std::size_t>(n);
      } else if (errno != EINTR) {
        error = errno;
      }
    }
    if (error == 0 && ::fsync(fd.get()) != 0) error = errno;
  }
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    return system_error("write", path, error);
  }
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  Descriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) ::fsync(directory.get());
  return Status::ok();
}

Result<FileLock> FileLock::try_acquire(const std::filesystem::path& path) {
  Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (fd.get() < 0) return system_error("open", path, errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return Status(Code::kAlreadyExists, path.string() + " is locked by another process");
    }
    return system_error("lock", path, errno);
  }
  FileLock lock;
  lock.fd_ = fd.release();
  return lock;
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace troupe
