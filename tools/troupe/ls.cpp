#include <algorithm>
#include <memory>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/logging.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

int list(const CommonOptions& common) {
  set_up_logging(LogLevel::kWarning, common.verbose);
  Result<std::shared_ptr<model::Store>> store = open_store(common.home);
  if (!store) return fail(store.status(), common.json);
  const std::vector<model::ModelEntry> entries = (*store)->list();
  if (entries.empty() && !(*store)->writable()) return fail((*store)->writable(), common.json);
  nlohmann::json models = nlohmann::json::array(), known = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows = {{"NAME", "SIZE", "WHERE"}};
  for (const model::ModelEntry& entry : entries) {
    models.push_back({{"name", entry.name},
                      {"sha256", entry.sha256},
                      {"bytes", entry.bytes},
                      {"path", entry.path.string()}});
    rows.push_back({entry.name, format_bytes(entry.bytes), entry.path.string()});
  }
  for (const model::CatalogueEntry& entry : model::catalogue()) {
    known.push_back({{"name", entry.name},
                     {"source", entry.source},
                     {"sha256", entry.sha256},
                     {"bytes", entry.bytes},
                     {"about", entry.about}});
    const bool here = std::any_of(entries.begin(), entries.end(),
                                  [&](const auto& have) { return have.sha256 == entry.sha256; });
    if (!here) {
      rows.push_back(
          {entry.name, format_bytes(entry.bytes), "not here: troupe pull " + entry.name});
    }
  }
  if (common.json) {
    print_json({{"models", models}, {"catalogue", known}});
  } else {
    print_table(rows);
  }
  return kExitOk;
}

}  // namespace

Action add_ls(CLI::App& app) {
  auto common = std::make_shared<CommonOptions>();
  add_common_options(app, *common);
  app.footer(
      "Examples:\n"
      "  troupe ls\n"
      "  troupe ls --json          {\"models\":[...],\"catalogue\":[...]}");
  return [common] { return list(*common); };
}

}  // namespace troupe::tools
