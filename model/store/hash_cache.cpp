#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <sys/stat.h>

#include <troupe/model/source/open_model.h>
#include <troupe/model/store/hash_cache.h>
#include <troupe/model/store/model_entries.h>
#include <troupe/model/store/model_id.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/bounded_json.h>

namespace troupe::model {
namespace {

using nlohmann::json;

constexpr JsonLimits kHashesLimits{.bytes_max = std::size_t{1} << 20, .depth_max = 2};
constexpr JsonLimits kManifestLimits{.bytes_max = std::size_t{64} << 20, .depth_max = 4};
constexpr std::size_t kKeysMax = 1024;
// A part of a folder's key. It must change whenever hf_folder.cpp makes another header of a folder.
constexpr std::string_view kFolderLayout = "folder layout 1\n";
constexpr std::chrono::milliseconds kLockPatience{2000};

std::filesystem::path manifest_path(const std::filesystem::path& root, const std::string& sha256) {
  return root / "manifests" / (sha256 + ".json");
}

// Returns null if the file cannot be read or parsed.
json read_json(const std::filesystem::path& path, const JsonLimits& limits) {
  const Result<std::string> content = read_file(path, limits.bytes_max);
  if (!content.is_ok()) return json();
  Result<json> value = parse_json(*content, path.string(), limits);
  return value.is_ok() ? std::move(*value) : json();
}

json to_json(const Manifest& manifest) {
  json tensors = json::array();
  for (const Manifest::Tensor& tensor : manifest.tensors) {
    tensors.push_back({tensor.name, tensor.offset, tensor.blob.bytes, tensor.blob.sha256});
  }
  return {{"model", manifest.file_sha256},
          {"file_bytes", manifest.file_bytes},
          {"header", {manifest.header.bytes, manifest.header.sha256}},
          {"tensors", std::move(tensors)}};
}

// Brings the tensors into the file's order, and sets the id that the parts prove.
Status name_by_parts(Manifest* manifest) {
  std::stable_sort(manifest->tensors.begin(), manifest->tensors.end(),
                   [](const auto& a, const auto& b) { return a.offset < b.offset; });
  TROUPE_ASSIGN_OR_RETURN(manifest->model, model_id(*manifest));
  return Status::ok();
}

std::optional<Manifest> manifest_from(const json& value, const std::string& sha256) {
  try {
    Manifest manifest;
    manifest.file_sha256 = value.at("model");
    manifest.file_bytes = value.at("file_bytes");
    manifest.header = {value.at("header").at(1), value.at("header").at(0)};
    for (const json& tensor : value.at("tensors")) {
      manifest.tensors.push_back({tensor.at(0), tensor.at(1), BlobRef{tensor.at(3), tensor.at(2)}});
    }
    if (manifest.file_sha256 != sha256) return std::nullopt;
    return name_by_parts(&manifest).is_ok() ? std::optional(std::move(manifest)) : std::nullopt;
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

// Hashes [at, at + bytes) of the file into `whole` and, if it is given, `part`. It drops the pages
// on the way: a file that is only hashed must not count as memory of this process.
void hash_range(const WholeModel& file, std::uint64_t at, std::uint64_t bytes, Sha256* whole,
                Sha256* part) {
  constexpr std::uint64_t kStep = 1 << 18;
  while (bytes > 0) {
    const std::span<const std::byte> piece = file.piece(at, std::min(kStep, bytes));
    TROUPE_CHECK(!piece.empty(), std::to_string(at));
    whole->update(piece);
    if (part != nullptr) part->update(piece);
    file.drop_piece(piece);
    at += piece.size();
    bytes -= piece.size();
  }
}

Result<std::string> file_key(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return Status(errno == ENOENT || errno == ENOTDIR ? Code::kNotFound : Code::kInternal,
                  "cannot stat " + path.string() + ": " + std::strerror(errno));
  }
  const auto mtime_ns = std::int64_t{info.st_mtim.tv_sec} * 1000000000 + info.st_mtim.tv_nsec;
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) + ":" +
         std::to_string(info.st_size) + ":" + std::to_string(mtime_ns);
}

}  // namespace

Result<std::string> content_key(const std::filesystem::path& root,
                                const std::filesystem::path& path) {
  TROUPE_ASSIGN_OR_RETURN(const std::vector<std::filesystem::path> files, model_files(path));
  // All blobs are sealed with one modification time, and a new blob can have the inode of one that
  // is gone. So their metadata could not distinguish them.
  if (const std::string listing = listing_of(root, path); !listing.empty()) {
    return "listing:" + listing + ":" +
           std::string(kFolderLayout.substr(0, kFolderLayout.size() - 1));
  }
  if (files.size() == 1) return file_key(files.front());
  Sha256 all;
  all.update(std::as_bytes(std::span(kFolderLayout)));
  for (const std::filesystem::path& file : files) {
    TROUPE_ASSIGN_OR_RETURN(std::string key, file_key(file));
    key += file.filename().string() + '\n';
    all.update(std::as_bytes(std::span(key.data(), key.size())));
  }
  return "folder:" + all.hex();
}

std::optional<Manifest> read_manifest(const std::filesystem::path& root,
                                      const std::string& sha256) {
  if (!is_sha256_hex(sha256)) return std::nullopt;
  return manifest_from(read_json(manifest_path(root, sha256), kManifestLimits), sha256);
}

std::optional<Manifest> recall_manifest(const std::filesystem::path& root, const std::string& key) {
  const json hashes = read_json(root / "hashes.json", kHashesLimits);
  if (!hashes.is_object() || !hashes.contains(key) || !hashes[key].is_string()) {
    return std::nullopt;
  }
  return read_manifest(root, hashes[key]);
}

void remember_manifest(const std::filesystem::path& root, const std::string& key,
                       const Manifest& manifest) {
  if (!write_file_atomically(manifest_path(root, manifest.file_sha256), to_json(manifest).dump())) {
    return;
  }
  // Another process may be adding a key of its own, so read and write under a lock.
  const auto deadline = std::chrono::steady_clock::now() + kLockPatience;
  Result<FileLock> lock = FileLock::try_acquire(root / "hashes.lock");
  while (!lock.is_ok() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    lock = FileLock::try_acquire(root / "hashes.lock");
  }
  if (!lock.is_ok()) return;
  json hashes = read_json(root / "hashes.json", kHashesLimits);
  if (!hashes.is_object() || hashes.size() >= kKeysMax) hashes = json::object();
  hashes[key] = manifest.file_sha256;
  const Status written = write_file_atomically(root / "hashes.json", hashes.dump(1));
  static_cast<void>(written);  // without the entry, the file will be hashed again
}

Result<Manifest> hash_model_file(const std::filesystem::path& path) {
  TROUPE_ASSIGN_OR_RETURN(const std::unique_ptr<WholeModel> file, open_model(path.string()));
  const GgufHeader& header = file->header();
  Manifest manifest;
  manifest.file_bytes = file->file_bytes();
  manifest.header.bytes = header.header_bytes;
  for (const TensorInfo& tensor : header.tensors) {
    manifest.tensors.push_back({tensor.name, tensor.offset, BlobRef{"", tensor.bytes}});
  }
  std::vector<Manifest::Tensor*> order;
  for (Manifest::Tensor& tensor : manifest.tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const auto* a, const auto* b) { return a->offset < b->offset; });
  Sha256 whole, head;
  hash_range(*file, 0, header.header_bytes, &whole, &head);
  manifest.header.sha256 = head.hex();
  std::uint64_t at = header.header_bytes;
  for (Manifest::Tensor* tensor : order) {
    hash_range(*file, at, tensor->offset - at, &whole, nullptr);
    Sha256 part;
    hash_range(*file, tensor->offset, tensor->blob.bytes, &whole, &part);
    tensor->blob.sha256 = part.hex();
    at = tensor->offset + tensor->blob.bytes;
  }
  hash_range(*file, at, file->file_bytes() - at, &whole, nullptr);
  manifest.file_sha256 = whole.hex();
  TROUPE_RETURN_IF_ERROR(name_by_parts(&manifest));
  return manifest;
}

}  // namespace troupe::model
