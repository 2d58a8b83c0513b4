#include <algorithm>
#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/actors/troupe.h>
#include <troupe/model/store/catalogue.h>
#include <troupe/tools/troupe/fetch/part_file.h>
#include <troupe/tools/troupe/fetch/pull.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct RmOptions {
  CommonOptions common;
  std::string model;
  bool force = false;
};

constexpr std::string_view kHash = "sha256:";

// Finds a model by its name, or by a hash that only one name has.
Result<model::ModelEntry> find_entry(const model::Store& store, const std::string& model) {
  std::vector<model::ModelEntry> found;
  std::string names;
  const model::CatalogueEntry* const known = model::find_in_catalogue(model);
  const std::string called = known != nullptr ? model::store_name(*known) : model;
  for (model::ModelEntry& entry : store.list()) {
    if (entry.name != called && std::string(kHash) + entry.sha256 != model) continue;
    names += (names.empty() ? "" : ", ") + entry.name;
    found.push_back(std::move(entry));
  }
  if (found.size() == 1) return std::move(found.front());
  if (found.empty()) {
    return Status(Code::kNotFound, "there is no model '" + model +
                                       "' in the store: 'troupe ls' lists what is there, by name");
  }
  return Status(Code::kInvalidArgument,
                model + " has several names (" + names + "): give the one to remove");
}

// Checks that the daemon of this home, or the cluster that it belongs to, does not hold layers of
// the model.
Status check_not_loaded(const std::string& home, model::Store& store,
                        const model::ModelEntry& entry) {
  const Result<std::string> address = daemon_address(home);
  if (!address) return Status::ok();  // no daemon runs
  const std::string what_to_do = ": end it first ('troupe stop'), or give --force";
  const Status silent(Code::kFailedPrecondition,
                      "a daemon runs on this home, and cannot say whether it has " + entry.name +
                          " loaded" + what_to_do);
  Result<Cluster> cluster = Cluster::connect({home, *address});
  if (!cluster) return silent;
  const Result<ClusterStatus> status = cluster->status();
  if (!status) return silent;
  // (The store remembers the hashes, so this is quick. A model that cannot be read is not loaded.)
  const Result<model::Manifest> manifest = store.manifest(entry.path);
  if (!manifest) return Status::ok();
  for (const DeploymentStatus& deployment : status->deployments) {
    if (deployment.model_id != manifest->model) continue;
    return Status(Code::kFailedPrecondition, "the cluster at " + *address + " has " + entry.name +
                                                 " loaded, and this home's daemon is part of it" +
                                                 what_to_do);
  }
  return Status::ok();
}

// Removes unfinished transfers of this name, and returns the number of bytes that were freed.
std::uint64_t remove_unfinished(const std::string& home, const std::string& name) {
  std::uint64_t freed = 0;
  for (const Unfinished& one : unfinished_in(partial_folder(home))) {
    if (one.model != name) continue;
    std::error_code error;
    const std::uint64_t bytes = std::filesystem::file_size(one.path, error);
    if (!error) freed += bytes;
    forget_part(one.path);
  }
  return freed;
}

bool is_unfinished(const std::string& home, const std::string& name) {
  const std::vector<Unfinished> all = unfinished_in(partial_folder(home));
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.model == name; });
}

Result<model::Store::Removed> remove(const RmOptions& options) {
  const std::string& home = options.common.home;
  TROUPE_ASSIGN_OR_RETURN(const std::shared_ptr<model::Store> store, open_store(home));
  TROUPE_RETURN_IF_ERROR(store->writable());
  TROUPE_ASSIGN_OR_RETURN(const FileLock lock, lock_store(home));
  const Result<model::ModelEntry> entry = find_entry(*store, options.model);
  if (entry.code() == Code::kNotFound && is_unfinished(home, options.model)) {
    model::Store::Removed removed;
    removed.entry.name = options.model;
    removed.freed_bytes = remove_unfinished(home, options.model);
    return removed;
  }
  if (!entry) return entry.status();
  if (!options.force) TROUPE_RETURN_IF_ERROR(check_not_loaded(home, *store, *entry));
  TROUPE_ASSIGN_OR_RETURN(model::Store::Removed removed, store->remove(*entry));
  removed.freed_bytes += remove_unfinished(home, entry->name);
  return removed;
}

int run_rm(const RmOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<model::Store::Removed> removed = remove(options);
  if (!removed) return fail(removed.status(), options.common.json);
  if (options.common.json) {
    print_json({{"name", removed->entry.name},
                {"sha256", removed->entry.sha256.empty() ? nlohmann::json()
                                                         : nlohmann::json(removed->entry.sha256)},
                {"freed_bytes", removed->freed_bytes},
                {"kept_bytes", removed->kept_bytes},
                {"kept_for", removed->kept_for}});
    return kExitOk;
  }
  const bool unfinished = removed->entry.sha256.empty();
  std::string text = "removed " + std::string(unfinished ? "what was fetched of " : "") +
                     removed->entry.name + ", " + format_bytes(removed->freed_bytes) +
                     " are free again";
  if (removed->kept_bytes > 0) {
    text += "; " + format_bytes(removed->kept_bytes) + " stay for ";
    for (std::size_t i = 0; i < removed->kept_for.size(); ++i) {
      text += (i == 0 ? "" : ", ") + removed->kept_for[i];
    }
  }
  std::printf("%s\n", text.c_str());
  return kExitOk;
}

}  // namespace

Action add_rm(CLI::App& app) {
  auto options = std::make_shared<RmOptions>();
  app.add_option("MODEL", options->model, "A name that `troupe ls` lists, or sha256:HEX")
      ->required()
      ->type_name("");
  app.add_flag("--force", options->force, "Remove it even if this home's daemon has it loaded");
  add_common_options(app, options->common);
  app.footer(
      "Removes the name, the files that no other model of the store has, and what an unfinished\n"
      "`troupe pull` of this name left (then \"sha256\" may be null).\n"
      "\n"
      "Examples:\n"
      "  troupe rm smollm2-135m\n"
      "  troupe rm mine --json     {\"name\",\"sha256\",\"freed_bytes\",\"kept_bytes\","
      "\"kept_for\":[...]}");
  return [options] { return run_rm(*options); };
}

}  // namespace troupe::tools
