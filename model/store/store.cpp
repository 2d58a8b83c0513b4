#include <algorithm>
#include <atomic>
#include <set>
#include <system_error>
#include <unordered_map>

#include <unistd.h>

#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/source/gguf_split.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/store/blob_seal.h>
#include <troupe/model/store/blob_source.h>
#include <troupe/model/store/catalogue.h>
#include <troupe/model/store/hash_cache.h>
#include <troupe/model/store/store.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

namespace fs = std::filesystem;

bool lies_below(const fs::path& file, const fs::path& folder) {
  std::error_code error;
  const fs::path inner = fs::weakly_canonical(file, error);
  const fs::path outer = fs::weakly_canonical(folder, error);
  if (error) return false;
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

Status file_error(const std::string& doing, const fs::path& path, const std::error_code& error) {
  Code code = Code::kInternal;
  if (error == std::errc::no_such_file_or_directory) code = Code::kNotFound;
  if (error == std::errc::permission_denied) code = Code::kPermissionDenied;
  if (error == std::errc::no_space_on_device) code = Code::kResourceExhausted;
  return Status(code, "cannot " + doing + " " + path.string() + ": " + error.message());
}

// Refuses a file that is one part of a model in several.
Status check_whole(const fs::path& file, const std::string& what) {
  TROUPE_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::open(file));
  TROUPE_ASSIGN_OR_RETURN(const GgufHeader header,
                          parse_gguf_header(mapped.bytes(), mapped.bytes().size(), what));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t parts, gguf_parts(header));
  if (parts == 1) return Status::ok();
  return Status(Code::kBadData,
                what + " is one of the " + std::to_string(parts) +
                    " parts of a model, but the store takes whole files; keep all parts in one "
                    "folder and give the path of any of them where a model is asked for");
}

}  // namespace

Result<std::shared_ptr<Store>> Store::open(const fs::path& home) {
  const fs::path root = home / "store";
  std::error_code ignored;
  if (fs::exists(home, ignored) && !fs::is_directory(home, ignored)) {
    return Status(Code::kInvalidArgument,
                  "the home " + home.string() + " is not a folder; give another --home");
  }
  const std::shared_ptr<Store> store(new Store(root));
  for (const char* folder : {"blobs", "folders", "models", "manifests", "partial"}) {
    std::error_code error;
    fs::create_directories(root / folder, error);
    if (error && store->writable_) {
      store->writable_ = file_error("create the folder", root / folder, error)
                             .with_context(
                                 "the store cannot take a model: give a --home (or "
                                 "TROUPE_HOME) that can be written");
    }
  }
  if (store->writable_) sweep_partial_files(root);
  return store;
}

fs::path Store::blob_path(const std::string& sha256) const {
  // Hashes come from peers, so only a well-formed hash may become a path.
  return root_ / "blobs" / (is_sha256_hex(sha256) ? sha256 : "not-a-hash");
}

bool Store::has_blob(const std::string& sha256) const {
  return is_sha256_hex(sha256) && check_blob(blob_path(sha256), sha256);
}

Result<ModelEntry> Store::import_model(const fs::path& file, const std::string& name,
                                       const std::optional<std::string>& expected_sha256) {
  TROUPE_RETURN_IF_ERROR(check_model_name(name));
  TROUPE_RETURN_IF_ERROR(writable_);
  // A file of the store's own (a download) is moved; a user's file is copied.
  const bool ours = lies_below(file, root_);
  static std::atomic<unsigned> counter{0};
  const fs::path copy = root_ / "partial" /
                        ("import." + std::to_string(::getpid()) + "." + std::to_string(counter++));
  std::error_code error;
  if (!ours && !fs::copy_file(file, copy, fs::copy_options::overwrite_existing, error)) {
    fs::remove(copy, error);
    return Status(Code::kNotFound, "cannot copy " + file.string() + " into the store " +
                                       root_.string() +
                                       ": is it a file that can be read, and is "
                                       "there space?");
  }
  const fs::path& source = ours ? file : copy;
  Result<Manifest> hashed = manifest(source);
  Status status = check_whole(source, file.string());
  if (status.is_ok()) status = hashed.status();
  if (expected_sha256.has_value()) {
    // If the file is not a readable model, report the hash mismatch instead: it explains why.
    Result<std::string> hash = hashed.is_ok() ? hashed->file_sha256 : sha256_of_file(source);
    if (hash.is_ok() && *hash != *expected_sha256) {
      status = Status(Code::kBadData, file.string() + " has the sha256 " + *hash + ", expected " +
                                          *expected_sha256 + "; it is damaged or another file");
    }
  }
  if (status.is_ok() && !has_blob(hashed->file_sha256)) {
    status = move_into_store(source, blob_path(hashed->file_sha256));
  } else {
    fs::remove(source, error);
  }
  if (!status.is_ok()) return status;
  const ModelEntry entry{name, hashed->file_sha256, blob_path(hashed->file_sha256),
                         hashed->file_bytes};
  TROUPE_RETURN_IF_ERROR(write_entry(root_, entry));
  return entry;
}

std::vector<ModelEntry> Store::list() const {
  std::vector<ModelEntry> entries;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(root_ / "models", error)) {
    if (item.path().extension() != ".json") continue;
    if (auto entry = read_entry(root_, item.path().stem().string())) {
      entries.push_back(std::move(*entry));
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const ModelEntry& a, const ModelEntry& b) { return a.name < b.name; });
  return entries;
}

Result<fs::path> Store::resolve(const std::string& model) const {
  for (const std::string_view kind : {"sha256:", "model:"}) {
    if (!model.starts_with(kind)) continue;
    const std::string hex = model.substr(kind.size());
    if (!is_sha256_hex(hex)) {
      return Status(Code::kInvalidArgument,
                    in_quotes(model) +
                        " is not a hash: 64 lower-case hex digits are expected after '" +
                        std::string(kind) + "'");
    }
    if (const auto path = kind == "model:" ? whole_file(hex) : file_of(hex)) return *path;
    return Status(Code::kNotFound, "there is no model " + model + " in the store " +
                                       root_.string() + "; 'troupe ls' lists what is there");
  }
  const CatalogueEntry* const known = find_in_catalogue(model);
  if (auto entry = read_entry(root_, known != nullptr ? store_name(*known) : model)) {
    if (intact(*entry)) return entry->path;
    return Status(Code::kNotFound, "the file of the model " + in_quotes(model) +
                                       " in the store was changed or cut off and is removed; "
                                       "'troupe pull' fetches it again");
  }
  std::error_code error;
  if (fs::is_regular_file(model, error)) return fs::path(model);
  if (fs::is_directory(model, error)) {
    TROUPE_ASSIGN_OR_RETURN(const auto files, model_files(model));  // says what is missing
    return fs::path(model);
  }
  const std::string what_to_do =
      known != nullptr
          ? "fetch it with 'troupe pull " + model + "'"
          : "give the path of a GGUF file, a name that 'troupe ls' lists, or 'troupe pull' one of "
            "the catalogue";
  return Status(Code::kNotFound, "there is no model " + in_quotes(model) +
                                     ": it is not a name in " + root_.string() +
                                     " and not a file; " + what_to_do);
}

Result<Manifest> Store::manifest(const fs::path& path) {
  const std::lock_guard lock(mutex_);  // so that two threads do not hash the same file
  TROUPE_ASSIGN_OR_RETURN(const std::string key, content_key(root_, path));
  // A blob's name is its hash. Any other file is identified by what the file system says about it.
  std::error_code ignored;
  const bool is_blob =
      fs::equivalent(path.parent_path(), root_ / "blobs", ignored) && has_blob(path.filename());
  std::optional<Manifest> manifest =
      is_blob ? read_manifest(root_, path.filename()) : recall_manifest(root_, key);
  if (!manifest.has_value()) {
    TROUPE_ASSIGN_OR_RETURN(manifest, hash_model_file(path));
    TROUPE_ASSIGN_OR_RETURN(const std::string key_after, content_key(root_, path));
    if (key_after != key) {
      return Status(Code::kFailedPrecondition,
                    path.string() + " was changed while it was read; try again");
    }
    remember_manifest(root_, key, *manifest);
  }
  manifest->name = path.filename().string();
  for (const ModelEntry& entry : list()) {
    if (entry.sha256 == manifest->file_sha256) manifest->name = entry.name;
  }
  for (const CatalogueEntry& entry : catalogue()) {
    if (entry.sha256 == manifest->file_sha256) manifest->name = store_name(entry);
  }
  return std::move(*manifest);
}

void Store::adopt(const Manifest& manifest, const fs::path& path) {
  const std::lock_guard lock(adopted_mutex_);
  adopted_[manifest.model] = path;
}

std::optional<fs::path> Store::file_of(const std::string& sha256) const {
  if (has_blob(sha256)) return blob_path(sha256);
  for (const ModelEntry& entry : list()) {
    if (!entry.files.empty() && entry.sha256 == sha256 && intact(entry)) return entry.path;
  }
  return std::nullopt;
}

std::optional<Manifest> Store::manifest_of_file(const std::string& sha256) {
  const auto path = resolve("sha256:" + sha256);
  if (!path) return std::nullopt;
  auto found = manifest(*path);
  if (!found || found->file_sha256 != sha256) return std::nullopt;
  return std::move(*found);
}

std::string Store::file_sha256(const std::string& model) const {
  const std::lock_guard lock(ids_mutex_);
  const auto known = ids_.find(model);
  if (known != ids_.end()) return known->second;
  // Another process may have hashed a file since the last look.
  std::error_code error;
  for (const auto& item : fs::directory_iterator(root_ / "manifests", error)) {
    const std::string sha256 = item.path().stem().string();
    if (!known_files_.insert(sha256).second) continue;
    if (const auto manifest = read_manifest(root_, sha256)) ids_[manifest->model] = sha256;
  }
  const auto found = ids_.find(model);
  return found == ids_.end() ? "" : found->second;
}

std::optional<fs::path> Store::whole_file(const std::string& model) const {
  const std::string sha256 = file_sha256(model);
  if (!sha256.empty() && has_blob(sha256)) return blob_path(sha256);
  {
    const std::lock_guard lock(adopted_mutex_);
    const auto found = adopted_.find(model);
    std::error_code error;
    if (found != adopted_.end() && fs::exists(found->second, error)) return found->second;
  }
  return sha256.empty() ? std::nullopt : file_of(sha256);
}

Result<std::unique_ptr<TensorSource>> Store::source(const Manifest& manifest) const {
  if (const auto file = whole_file(manifest.model)) {
    TROUPE_ASSIGN_OR_RETURN(std::unique_ptr<WholeModel> model, open_model(file->string()));
    return std::unique_ptr<TensorSource>(std::move(model));
  }
  return open_blobs(root_ / "blobs", manifest);
}

std::vector<BlobRef> Store::missing(const Manifest& manifest,
                                    const std::vector<std::string>& tensors) const {
  if (whole_file(manifest.model)) return {};
  std::unordered_map<std::string_view, const BlobRef*> by_name;
  for (const Manifest::Tensor& tensor : manifest.tensors) by_name[tensor.name] = &tensor.blob;
  std::vector<BlobRef> blobs;
  std::set<std::string_view> seen;  // equal tensors share one blob
  for (const std::string& name : tensors) {
    const auto found = by_name.find(name);
    if (found == by_name.end() || has_blob(found->second->sha256)) continue;
    if (seen.insert(found->second->sha256).second) blobs.push_back(*found->second);
  }
  return blobs;
}

Result<std::unique_ptr<BlobWriter>> Store::begin_blob(const BlobRef& blob) {
  TROUPE_RETURN_IF_ERROR(writable_);
  return open_blob_writer(root_, blob);
}

}  // namespace troupe::model
