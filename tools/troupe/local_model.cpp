#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/transformer/weights.h>
#include <troupe/runtime/log.h>
#include <troupe/tools/troupe/local_model.h>
#include <troupe/tools/troupe/models.h>

namespace troupe::tools {

Result<LocalModel> load_local_model(const std::string& home, const std::string& name,
                                    const LocalModelOptions& options) {
  LocalModel loaded;
  DeviceOptions device;
  device.threads = options.threads;
  device.accelerator = options.device;
  TROUPE_ASSIGN_OR_RETURN(loaded.device, Device::create(device));
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(home));
  TROUPE_ASSIGN_OR_RETURN(std::filesystem::path path, model_file(*store, home, name));
  if (!options.adapter.empty()) {
    TROUPE_ASSIGN_OR_RETURN(path, adapted_model(*store, home, path.string(), options.adapter));
  }
  TROUPE_ASSIGN_OR_RETURN(loaded.source, model::open_model(path.string()));
  TROUPE_ASSIGN_OR_RETURN(model::ModelConfig config,
                          model::config_from_gguf(loaded.source->header()));
  if (options.without_head) {
    config.labels = 0;
    config.head = model::EncoderHead::kSequence;
  }
  TROUPE_ASSIGN_OR_RETURN(
      loaded.stage, model::Stage::load(*loaded.source, config, {0, config.layers}, *loaded.device,
                                       {options.kv_type, 0, options.f16_activations}));
  const std::string changes = model::changes_text(loaded.stage->weights());
  if (!changes.empty()) log(LogLevel::kWarning, name + ": " + changes);
  return loaded;
}

}  // namespace troupe::tools
