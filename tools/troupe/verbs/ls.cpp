#include <algorithm>
#include <memory>
#include <set>

#include <nlohmann/json.hpp>

#include <troupe/actors/troupe.h>
#include <troupe/model/store/catalogue.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/tools/troupe/fetch/found_models.h>
#include <troupe/tools/troupe/fetch/part_file.h>
#include <troupe/tools/troupe/fetch/pull.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

namespace fs = std::filesystem;

// The files that an entry shares with other models of the store.
struct Shared {
  std::uint64_t bytes = 0;
  std::set<std::string> with;
};
Shared shared_of(const model::ModelEntry& entry, const std::vector<model::ModelEntry>& all) {
  Shared shared;
  std::set<std::string> seen;
  for (const model::BlobRef& blob : model::blobs_of(entry)) {
    bool elsewhere = false;
    for (const model::ModelEntry& other : all) {
      if (other.name == entry.name) continue;
      for (const model::BlobRef& theirs : model::blobs_of(other)) {
        if (theirs.sha256 != blob.sha256) continue;
        elsewhere = true;
        shared.with.insert(other.name);
      }
    }
    if (elsewhere && seen.insert(blob.sha256).second) shared.bytes += blob.bytes;
  }
  return shared;
}

std::string text_of(const Shared& shared, const model::ModelEntry& entry) {
  if (shared.with.empty()) return "-";
  std::string names;
  for (const std::string& name : shared.with) names += (names.empty() ? "" : ", ") + name;
  return (shared.bytes == entry.bytes ? "all" : format_bytes(shared.bytes)) + " with " + names;
}

bool is_entry_of(const model::ModelEntry& have, const model::CatalogueEntry& known) {
  if (known.sha256.empty()) return have.name == model::store_name(known);
  return have.files.empty() ? have.sha256 == known.sha256
                            : model::listing_sha256(have.files) == known.sha256;
}

// Checks that the home can be read. One that does not exist (yet) has no models, but one that
// cannot be read may have some.
Status check_readable(const fs::path& home) {
  std::error_code error;
  const fs::directory_iterator models(home / "store" / "models", error);
  if (!error || error == std::errc::no_such_file_or_directory) return Status::ok();
  return Status(Code::kPermissionDenied, "the home " + home.string() + " cannot be read (" +
                                             error.message() +
                                             "): give another --home, or change its permissions");
}

int list(const CommonOptions& common) {
  set_up_logging(LogLevel::kWarning, common.verbose);
  Result<std::shared_ptr<model::Store>> store = open_store(common.home);
  if (!store) return fail(store.status(), common.json);
  const std::vector<model::ModelEntry> entries = (*store)->list();
  const Status readable = check_readable(resolve_home(common.home));
  if (!readable) return fail(readable, common.json);
  nlohmann::json models = nlohmann::json::array(), known = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows = {{"NAME", "SIZE", "SHARED", "WHERE"}};
  for (const model::ModelEntry& entry : entries) {
    const Shared shared = shared_of(entry, entries);
    models.push_back({{"name", entry.name},
                      {"sha256", entry.sha256},
                      {"bytes", entry.bytes},
                      {"shared_bytes", shared.bytes},
                      {"shared_with", shared.with},
                      {"path", entry.path.string()}});
    rows.push_back(
        {entry.name, format_bytes(entry.bytes), text_of(shared, entry), entry.path.string()});
  }
  for (const model::CatalogueEntry& entry : model::catalogue()) {
    known.push_back(
        {{"name", entry.name},
         {"source", entry.source},
         {"sha256", entry.sha256.empty() ? nlohmann::json() : nlohmann::json(entry.sha256)},
         {"bytes", entry.bytes == 0 ? nlohmann::json() : nlohmann::json(entry.bytes)},
         {"about", entry.about},
         {"terms", entry.terms.empty() ? nlohmann::json() : nlohmann::json(entry.terms)}});
    const bool here = std::any_of(entries.begin(), entries.end(),
                                  [&](const auto& have) { return is_entry_of(have, entry); });
    if (!here) {
      rows.push_back({entry.name, entry.bytes == 0 ? "-" : format_bytes(entry.bytes), "-",
                      "not here: troupe pull " + entry.name});
    }
  }
  nlohmann::json begun = nlohmann::json::array();
  for (const Unfinished& one : unfinished_in(partial_folder(common.home))) {
    begun.push_back({{"name", one.model},
                     {"bytes", one.bytes},
                     {"received_bytes", one.received},
                     {"path", one.path.string()}});
    say("unfinished: " + one.model + ", " + format_bytes(one.received) +
        (one.bytes > 0 ? " of " + format_bytes(one.bytes) : "") +
        "; the same `troupe pull` goes on with it, `troupe rm " + one.model + "` removes it");
  }
  if (common.json) {
    print_json({{"models", models}, {"catalogue", known}, {"unfinished", begun}});
  } else {
    print_table(rows);
  }
  return kExitOk;
}

// Lists what other programs have fetched.
int list_found(const CommonOptions& common) {
  const std::vector<FoundPlace> places = found_places();
  nlohmann::json models = nlohmann::json::array(), folders = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows = {{"NAME", "SIZE", "WHERE"}};
  for (const FoundPlace& place : places)
    folders.push_back({{"program", place.program}, {"path", place.folder.string()}});
  constexpr std::size_t kShownBytesMax = 300;
  for (const FoundModel& model : find_models(places)) {
    const bool usable = model.trouble.empty();
    models.push_back({{"name", model.name},
                      {"path", model.path.string()},
                      {"bytes", model.bytes},
                      {"trouble", usable ? nlohmann::json() : nlohmann::json(model.trouble)}});
    rows.push_back({plain_line(model.name, kShownBytesMax), format_bytes(model.bytes),
                    usable ? plain_line(model.path.string(), kShownBytesMax)
                           : "cannot be used: " + plain_line(model.trouble, 2 * kShownBytesMax)});
  }
  if (common.json) {
    print_json({{"found", models}, {"folders", folders}});
  } else {
    print_table(rows);
  }
  std::string looked;
  for (const FoundPlace& place : places)
    looked += (looked.empty() ? "" : ", ") + place.folder.string();
  say(looked.empty() ? "no folder of Ollama, LM Studio, llama.cpp or the Hugging Face hub was found"
                     : "looked into " + looked);
  return kExitOk;
}

}  // namespace

Action add_ls(CLI::App& app) {
  auto common = std::make_shared<CommonOptions>();
  auto found = std::make_shared<bool>(false);
  app.add_flag("--found", *found, "List models that other programs have fetched");
  add_common_options(app, *common);
  app.footer(
      "SHARED says how much of a model's files other models also have, and which models these\n"
      "are; `troupe rm` leaves such files. Unfinished transfers of `troupe pull` are listed on\n"
      "stderr.\n"
      "--found lists what Ollama, LM Studio, llama.cpp and Hugging Face's programs have fetched.\n"
      "Such a name can be given wherever a model is asked for; the file is used where it lies.\n"
      "\n"
      "Examples:\n"
      "  troupe ls\n"
      "  troupe ls --found         then, e.g., troupe run ollama:llama3.2:1b \"Hello\"\n"
      "  troupe ls --json          {\"models\":[{\"name\",\"sha256\",\"bytes\",\"shared_bytes\",\n"
      "                            \"shared_with\":[...],\"path\"}],\"catalogue\":[{\"name\",\n"
      "                            \"source\",\"sha256\",\"bytes\",\"about\",\"terms\"}],\n"
      "                            \"unfinished\":[{\"name\",\"bytes\",\"received_bytes\",\n"
      "                            \"path\"}]}\n"
      "  troupe ls --found --json  {\"found\":[{\"name\",\"path\",\"bytes\",\"trouble\"}],\n"
      "                            \"folders\":[{\"program\",\"path\"}]}");
  return [common, found] { return *found ? list_found(*common) : list(*common); };
}

}  // namespace troupe::tools
