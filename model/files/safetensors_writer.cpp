#include <cerrno>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/model/files/safetensors_writer.h>
#include <troupe/runtime/failpoint.h>
#include <troupe/runtime/sha256.h>

namespace troupe::model {
namespace {

std::uint64_t count_of(const TensorToWrite& tensor) {
  std::uint64_t count = 1;
  for (const std::uint64_t size : tensor.shape) count *= size;
  return count;
}

std::string header_of(std::span<const TensorToWrite> tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::uint64_t at = 0;
  for (const TensorToWrite& tensor : tensors) {
    const std::uint64_t bytes = count_of(tensor) * sizeof(float);
    header[tensor.name] = {
        {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  header["__metadata__"] = {{"format", "pt"}};  // transformers asks for it
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t bytes = text.size();
  return std::string(reinterpret_cast<const char*>(&bytes), sizeof bytes) + text;
}

// A file under a temporary name, which goes away unless it is given its own.
class NewFile {
 public:
  explicit NewFile(const std::filesystem::path& path) : path_(path), temporary_(path) {
    temporary_ += ".tmp." + std::to_string(::getpid());
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  }
  ~NewFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!renamed_) ::unlink(temporary_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  bool is_open() const { return descriptor_ >= 0; }
  Status error(const char* what) const {
    return Status(errno == ENOSPC ? Code::kResourceExhausted : Code::kUnavailable,
                  "cannot " + std::string(what) + " " + path_.string() + ": " +
                      std::generic_category().message(errno));
  }

  Status write(std::span<const std::byte> bytes) {
    TROUPE_RETURN_IF_ERROR(failpoint("files", "safetensors", "write"));
    hash_.update(bytes);
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(descriptor_, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return error("write");
      done += static_cast<std::size_t>(n);
    }
    return Status::ok();
  }

  Status finish() {
    if (::fsync(descriptor_) != 0) return error("write");
    TROUPE_RETURN_IF_ERROR(failpoint("files", "safetensors", "rename"));
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
  std::string hash() { return hash_.hex(); }

 private:
  const std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool renamed_ = false;
  Sha256 hash_;
};

}  // namespace

Result<std::string> write_safetensors(const std::filesystem::path& path,
                                      std::span<const TensorToWrite> tensors,
                                      const TensorValues& values) {
  NewFile file(path);
  if (!file.is_open()) return file.error("create");
  const std::string header = header_of(tensors);
  TROUPE_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(header))));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::vector<float> floats = values(i);
    TROUPE_CHECK(floats.size() == count_of(tensors[i]), tensors[i].name);
    TROUPE_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(floats))));
  }
  TROUPE_RETURN_IF_ERROR(file.finish());
  return file.hash();
}

}  // namespace troupe::model
