#include <cstring>
#include <random>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/runtime/file.h>

using namespace troupe;

namespace {

struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "troupe-file-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
};

unsigned mode_of(const std::filesystem::path& path) {
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

}  // namespace

TEST_CASE("file: what is written atomically is read back", "[file]") {
  TemporaryFolder folder;
  const auto path = folder.path / "a";
  std::string content(300000, 'x');
  content[1000] = '\0';
  REQUIRE(write_file_atomically(path, content, 0600).is_ok());
  CHECK(mode_of(path) == 0600);
  CHECK(*read_file(path, content.size()) == content);
  CHECK(read_file(path, content.size() - 1).code() == Code::kResourceExhausted);
  REQUIRE(write_file_atomically(path, "", 0644).is_ok());
  CHECK(mode_of(path) == 0644);
  CHECK(read_file(path, 0)->empty());
  // No temporary file is left.
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}

TEST_CASE("file: errors name the path and the reason", "[file]") {
  TemporaryFolder folder;
  const auto missing = folder.path / "no" / "such";
  for (const Status& status :
       {read_file(missing, 10).status(), MappedFile::open(missing).status(),
        write_file_atomically(missing, "x"), FileLock::try_acquire(missing).status()}) {
    CHECK(status.code() == Code::kNotFound);
    CHECK(status.message().find(missing.string()) != std::string::npos);
  }
  CHECK(read_file(folder.path, 10).code() == Code::kBadData);
  CHECK(MappedFile::open(folder.path).code() == Code::kBadData);
  // A pipe without a writer is refused at once.
  REQUIRE(::mkfifo((folder.path / "pipe").c_str(), 0600) == 0);
  CHECK(MappedFile::open(folder.path / "pipe").code() == Code::kBadData);
}

TEST_CASE("file: a reader never sees a mix of two writes", "[file]") {
  TemporaryFolder folder;
  const auto path = folder.path / "a";
  const std::string one(50000, '1'), two(70000, '2');
  REQUIRE(write_file_atomically(path, one).is_ok());
  std::thread writer([&] {
    for (int i = 0; i < 40; ++i) (void)write_file_atomically(path, i % 2 == 0 ? two : one);
  });
  for (int i = 0; i < 400; ++i) {
    const auto content = read_file(path, 100000);
    REQUIRE(content.is_ok());
    REQUIRE((*content == one || *content == two));
  }
  writer.join();
}

TEST_CASE("file: whether it can be written is known without writing", "[file]") {
  TemporaryFolder folder;
  const auto path = folder.path / "a";
  CHECK(check_writable(path).is_ok());
  CHECK(std::filesystem::is_empty(folder.path));
  REQUIRE(write_file_atomically(path, "kept").is_ok());
  CHECK(check_writable(path).is_ok());
  CHECK(*read_file(path, 100) == "kept");
  const auto absent = folder.path / "absent" / "a";
  CHECK(check_writable(absent).code() == Code::kNotFound);
  CHECK(check_writable(absent).message() ==
        "cannot write " + absent.string() + ": No such file or directory");
  CHECK(check_writable(path / "b").code() == Code::kNotFound);
  CHECK(check_writable(folder.path).code() == Code::kInvalidArgument);
  CHECK(check_writable("/dev/null").code() == Code::kInvalidArgument);
}

TEST_CASE("file: a piece is all there or an error", "[file]") {
  const TemporaryFolder folder;
  const auto path = folder.path / "ten";
  REQUIRE(write_file_atomically(path, "0123456789").is_ok());
  const auto text = [&](std::uint64_t offset, std::size_t length) {
    const auto piece = read_piece(path, offset, length);
    REQUIRE(piece.is_ok());
    return std::string(reinterpret_cast<const char*>(piece->data()), piece->size());
  };
  CHECK(text(0, 10) == "0123456789");
  CHECK(text(3, 4) == "3456");
  CHECK(text(10, 0).empty());
  const auto late = read_piece(path, 8, 3);
  CHECK(late.code() == Code::kBadData);
  CHECK(late.message().find(path.string()) != std::string::npos);
  CHECK_FALSE(read_piece(path, ~std::uint64_t{0}, 1).is_ok());
  CHECK(read_piece(folder.path / "none", 0, 1).code() == Code::kNotFound);
}

TEST_CASE("file: mappings", "[file]") {
  TemporaryFolder folder;
  const auto path = folder.path / "a";
  const std::string content(10000, 'm');
  REQUIRE(write_file_atomically(path, content).is_ok());
  auto file = MappedFile::open(path);
  REQUIRE(file.is_ok());
  CHECK(file->bytes().size() == content.size());
  MappedFile moved = std::move(*file);
  CHECK(file->bytes().empty());
  moved.drop_pages(0, content.size());
  moved.drop_pages(100, 1);
  moved.drop_pages(9000, 1 << 20);
  CHECK(std::memcmp(moved.bytes().data(), content.data(), content.size()) == 0);
  // The mapping stays as it was when the file is replaced.
  REQUIRE(write_file_atomically(path, "short").is_ok());
  CHECK(std::memcmp(moved.bytes().data(), content.data(), content.size()) == 0);
  REQUIRE(write_file_atomically(path, "").is_ok());
  CHECK(MappedFile::open(path)->bytes().empty());
}

TEST_CASE("file: a lock has one holder, until it dies", "[file]") {
  TemporaryFolder folder;
  const auto path = folder.path / "lock";
  {
    auto lock = FileLock::try_acquire(path);
    REQUIRE(lock.is_ok());
    CHECK(lock->held());
    const auto second = FileLock::try_acquire(path);
    REQUIRE(second.code() == Code::kAlreadyExists);
    CHECK(second.message().find(path.string()) != std::string::npos);
    FileLock moved = std::move(*lock);
    CHECK(FileLock::try_acquire(path).code() == Code::kAlreadyExists);
  }
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const auto lock = FileLock::try_acquire(path);
    const char answer = lock.is_ok() ? 'y' : 'n';
    (void)!::write(ready[1], &answer, 1);
    ::pause();
    ::_exit(0);
  }
  char answer = 0;
  REQUIRE(::read(ready[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  CHECK(FileLock::try_acquire(path).code() == Code::kAlreadyExists);
  ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  CHECK(FileLock::try_acquire(path).is_ok());
  ::close(ready[0]);
  ::close(ready[1]);
}
