#include <chrono>

#include <troupe/actors/facade/open_model.h>

namespace troupe::actors {
namespace {

// The model may have to be fetched and loaded.
constexpr auto kOpenPatience = std::chrono::minutes(10);

}  // namespace

Result<OpenModel> describe_model(model::Store& store, const std::string& model,
                                 const std::vector<model::LayerRange>& layers, std::uint8_t kv_code,
                                 const bulk_actor& bulk) {
  if (model.empty()) {
    return Status(Code::kInvalidArgument,
                  "the request names no model; give a name, a path, model:HEX or "
                  "sha256:HEX");
  }
  OpenModel open;
  open.kv = kv_code;
  const auto path = store.resolve(model);
  if (path) {
    TROUPE_ASSIGN_OR_RETURN(open.manifest, store.manifest(*path));
    open.has_manifest = true;
    open.model = open.manifest.model;
    store.adopt(open.manifest, *path);
    if (bulk) {
      caf::anon_send(
          bulk, std::make_shared<const ExportedFile>(ExportedFile{path->string(), open.manifest}));
    }
  } else if (model.rfind("model:", 0) == 0 || model.rfind("sha256:", 0) == 0) {
    open.model = model;  // the cluster or the head's own store may have the model
  } else {
    return path.status();
  }
  set_layer_ranges(layers, &open);
  return open;
}

Result<OpenPtr> describe_model(model::Store& store, const GenerateRequest& request,
                               const bulk_actor& bulk) {
  TROUPE_ASSIGN_OR_RETURN(OpenModel open,
                          describe_model(store, request.model, request.layers,
                                         kv_code(request.kv_type, request.f16_activations), bulk));
  open.alone = request.no_replicas;
  open.context = request.context;
  return std::make_shared<const OpenModel>(std::move(open));
}

Result<ReadyPtr> open_model(Cluster::Impl& impl, const OpenPtr& open) {
  caf::scoped_actor self(impl.process->system());
  ReadyPtr ready;
  std::string trouble;
  self->request(impl.service, kOpenPatience, open_atom::value, open)
      .receive([&](const ReadyPtr& answer) { ready = answer; },
               [&](const caf::error& error) { trouble = impl.process->system().render(error); });
  if (!ready) {
    return Status(Code::kUnavailable,
                  "the cluster did not answer while the model was loaded (" + trouble + ")");
  }
  if (!ready->outcome.is_ok()) return ready->outcome.status();
  return ready;
}

}  // namespace troupe::actors
