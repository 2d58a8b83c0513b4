#include <optional>
#include <span>

#include <troupe/actors/facade/proved_models.h>
#include <troupe/model/store/model_id.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/runtime/wire/codec.h>

namespace troupe::actors {

Result<ProvedModels> prove_models(const std::string& home, model::Store& store, Journal& journal) {
  ProvedModels proved;
  TROUPE_ASSIGN_OR_RETURN(const auto manifests, journal.manifests());
  for (const auto& [model, bytes] : manifests) {
    auto manifest = wire::decode<model::Manifest>(std::as_bytes(std::span<const char>(bytes)));
    if (!manifest) {
      return Status(Code::kBadData, "the journal " + home + "/journal.db is damaged (model " +
                                        model + ": " + manifest.message() +
                                        "); move it away and start again: its jobs are lost");
    }
    if (manifest->model == model && model::prove(&*manifest)) {
      proved[model] = std::move(*manifest);
      continue;
    }
    const std::optional<model::Manifest> own = store.manifest_of_file(model);
    TROUPE_RETURN_IF_ERROR(journal.rename_model(model, own));
    if (own) {
      log(LogLevel::kInfo, "the journal's model sha256:" + model + " is model:" + own->model);
      proved[own->model] = *own;
    } else {
      log(LogLevel::kWarning,
          "forgot the model " + in_quotes(manifest->name) + " (" + model.substr(0, 64) +
              ") of the journal: its parts do not prove what it is, and this head's own store does "
              "not have its file; answers and jobs that wait for it end when they are asked for");
    }
  }
  return proved;
}

}  // namespace troupe::actors
