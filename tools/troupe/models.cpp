#include <system_error>

#include <troupe/actors/troupe.h>
#include <troupe/model/source/adapted_model.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/store/catalogue.h>
#include <troupe/tools/troupe/fetch/found_models.h>
#include <troupe/tools/troupe/fetch/pull.h>
#include <troupe/tools/troupe/models.h>

namespace troupe::tools {
namespace {

namespace fs = std::filesystem;

bool has_prefix(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

bool is_in_store(const model::Store& store, const std::string& name) {
  for (const model::ModelEntry& entry : store.list()) {
    if (entry.name == name && store.intact(entry)) return true;
  }
  return false;
}

}  // namespace

Result<std::shared_ptr<model::Store>> open_store(const std::string& home) {
  return model::Store::open(resolve_home(home));
}

Result<std::string> prepare_model(model::Store& store, const std::string& home,
                                  const std::string& name, bool remote) {
  // The cluster may have what we lack.
  const bool is_hash = has_prefix(name, "sha256:") || has_prefix(name, "model:");
  if (remote && is_hash) return name;
  const model::CatalogueEntry* const known = model::find_in_catalogue(name);
  const std::string called = known != nullptr ? model::store_name(*known) : name;
  Result<fs::path> path = store.resolve(name);
  if (path.code() == Code::kNotFound && known != nullptr) {
    TROUPE_ASSIGN_OR_RETURN(const Pulled pulled, pull(store, home, {name, "", std::nullopt}));
    return called;
  }
  if (path.code() == Code::kNotFound && is_found_name(name)) {
    path = resolve_found(name, found_places());
  }
  if (!path) return path.status();
  if (known != nullptr && is_in_store(store, called)) return called;
  if (is_in_store(store, name) || is_hash) return name;
  return fs::absolute(*path).string();
}

Result<std::string> adapted_model(model::Store& store, const std::string& home,
                                  const std::string& ready, const std::string& adapter) {
  const Result<fs::path> base = store.resolve(ready);
  if (!base) return base.status().with_context("an adapter needs its model on this machine");
  TROUPE_ASSIGN_OR_RETURN(
      const fs::path folder,
      model::write_adapted_model(fs::path(resolve_home(home)) / "adapted", *base, adapter));
  // Opening it says whether the two fit, before anything is loaded.
  TROUPE_RETURN_IF_ERROR(model::open_model(folder.string()).status());
  return fs::absolute(folder).string();
}

Result<fs::path> model_file(model::Store& store, const std::string& home, const std::string& name) {
  TROUPE_ASSIGN_OR_RETURN(const std::string ready, prepare_model(store, home, name, false));
  return store.resolve(ready);
}

}  // namespace troupe::tools
