#include <troupe/tools/troupe/local_model.h>
#include <troupe/tools/troupe/models.h>

namespace troupe::tools {

Result<LocalModel> load_local_model(const std::string& home, const std::string& name, int threads) {
  LocalModel loaded;
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(home));
  TROUPE_ASSIGN_OR_RETURN(const std::filesystem::path path, model_file(*store, home, name));
  TROUPE_ASSIGN_OR_RETURN(loaded.source, model::open_gguf(path));
  TROUPE_ASSIGN_OR_RETURN(const model::ModelConfig config,
                          model::config_from_gguf(loaded.source->header()));
  DeviceOptions options;
  options.threads = threads;
  TROUPE_ASSIGN_OR_RETURN(loaded.device, Device::create(options));
  TROUPE_ASSIGN_OR_RETURN(loaded.stage, model::Stage::load(*loaded.source, config,
                                                           {0, config.layers}, *loaded.device, {}));
  return loaded;
}

}  // namespace troupe::tools
