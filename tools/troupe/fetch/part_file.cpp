#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <tuple>
#include <utility>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/tools/troupe/fetch/part_file.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kStateBytesMax = 1 << 20;
constexpr const char* kPart = ".part";

fs::path state_path_of(const fs::path& part) {
  fs::path path = part;
  return path.replace_extension(".json");
}

// Reads the record beside a part file as JSON; null if it cannot be read.
nlohmann::json read_state(const fs::path& path) {
  const Result<std::string> text = read_file(path, kStateBytesMax);
  if (!text) return nullptr;
  const auto value = parse_json(*text, path.string(), {.bytes_max = kStateBytesMax});
  return value ? *value : nlohmann::json();
}

std::optional<PartFile::State> state_from(const nlohmann::json& value) {
  try {
    std::vector<ByteRange> missing;
    for (const nlohmann::json& range : value.at("missing")) {
      missing.push_back({range.at(0).get<std::uint64_t>(), range.at(1).get<std::uint64_t>()});
    }
    const auto bytes = value.at("bytes").get<std::uint64_t>();
    if (!RangePlan::fits(bytes, missing)) return std::nullopt;
    return PartFile::State{bytes, value.at("validator").get<std::string>(),
                           RangePlan(bytes, missing)};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

PartFile::PartFile(fs::path path, int fd)
    : path_(std::move(path)), state_path_(state_path_of(path_)), fd_(fd) {}

PartFile::PartFile(PartFile&& other) noexcept
    : path_(std::move(other.path_)),
      state_path_(std::move(other.state_path_)),
      fd_(std::exchange(other.fd_, -1)) {}

PartFile::~PartFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status PartFile::failure(const std::string& doing, int error) const {
  const std::string what = "cannot " + doing + " " + path_.string() + ": ";
  if (error != ENOSPC && error != EDQUOT && error != EFBIG) {
    const Code code = error == EACCES || error == EPERM || error == EROFS ? Code::kPermissionDenied
                                                                          : Code::kInternal;
    return Status(code,
                  what + std::strerror(error) + "; check the permissions of the home and its disk");
  }
  std::error_code no_answer;
  const fs::space_info space = fs::space(path_.parent_path(), no_answer);
  return Status(Code::kResourceExhausted,
                what + "its disk is full" +
                    (no_answer ? "" : " (" + format_bytes(space.available) + " are free)") +
                    "; make room and run the same command again, which continues from here, or "
                    "give another --home");
}

Result<PartFile> PartFile::open(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  PartFile file(path, fd);
  if (fd < 0) return file.failure("open", errno);
  return file;
}

std::optional<PartFile::State> PartFile::load() const {
  std::optional<State> state = state_from(read_state(state_path_));
  std::error_code error;
  // The bytes that the record claims must fit into the file.
  if (!state || fs::file_size(path_, error) < state->bytes || error) return std::nullopt;
  return state;
}

Status PartFile::reserve(std::uint64_t bytes) {
  if (bytes == 0) return Status::ok();
  if (::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) == 0) return Status::ok();
  if (errno != EOPNOTSUPP) return failure("make room for " + format_bytes(bytes) + " in", errno);
  return cut(bytes);  // this file system cannot reserve: the disk may be full later
}

Status PartFile::write(std::uint64_t at, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failure("write", errno);
    at += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return Status::ok();
}

Status PartFile::save(const RangePlan& plan, const std::string& validator,
                      const std::string& model) {
  if (::fdatasync(fd_) != 0) return failure("write", errno);
  nlohmann::json missing = nlohmann::json::array();
  for (const ByteRange& range : plan.missing()) missing.push_back({range.begin, range.end});
  const nlohmann::json state = {
      {"bytes", plan.bytes()}, {"validator", validator}, {"missing", missing}, {"model", model}};
  return write_file_atomically(state_path_,
                               state.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
}

Status PartFile::clear() {
  std::error_code error;
  fs::remove(state_path_, error);  // before the bytes are cut
  return cut(0);
}

Status PartFile::cut(std::uint64_t bytes) {
  return ::ftruncate(fd_, static_cast<off_t>(bytes)) == 0 ? Status::ok() : failure("resize", errno);
}

fs::path part_path(const fs::path& folder, const std::string& url) {
  return folder / (sha256_hex(std::as_bytes(std::span(url))).substr(0, 32) + kPart);
}

std::vector<Unfinished> unfinished_in(const fs::path& folder) {
  std::vector<Unfinished> found;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    if (item.path().extension() != kPart) continue;
    Unfinished one{item.path(), item.path().filename().string()};
    const nlohmann::json json = read_state(state_path_of(item.path()));
    if (const auto state = state_from(json)) {
      one.bytes = state->bytes;
      one.received = state->plan.received();
      if (json.contains("model") && json["model"].is_string()) one.model = json["model"];
    } else {
      std::error_code gone;
      one.received = fs::file_size(item.path(), gone);
      if (gone || one.received == 0) continue;
    }
    found.push_back(std::move(one));
  }
  std::sort(found.begin(), found.end(), [](const Unfinished& a, const Unfinished& b) {
    return std::tie(a.model, a.path) < std::tie(b.model, b.path);
  });
  return found;
}

void forget_part(const fs::path& path) {
  std::error_code ignored;
  fs::remove(state_path_of(path), ignored);
  fs::remove(path, ignored);
}

}  // namespace troupe::tools
