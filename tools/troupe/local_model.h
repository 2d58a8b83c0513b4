#pragma once

#include <memory>
#include <optional>
#include <string>

#include <troupe/model/transformer/stage.h>
#include <troupe/runtime/device/device.h>

// A whole model in this process, without actors, for the verbs that measure. Main thread only.

namespace troupe::tools {

struct LocalModel {
  std::unique_ptr<model::WholeModel> source;
  std::unique_ptr<Device> device;
  std::unique_ptr<model::Stage> stage;  // every layer; declared after the device on which it runs
};
struct LocalModelOptions {
  int threads = 0;                         // 0 means every usable CPU
  std::optional<kernels::KvType> kv_type;  // absent means the model's default
  bool f16_activations = false;
  std::string device = {};    // "": the CPU; or a GPU such as "cuda:0"
  bool without_head = false;  // for an encoder, the rows of the last layer are the result
  std::string adapter = {};   // the folder of an adapter to compute beside the weights
};
// Loads MODEL as people write it (models.h). TROUPE_ISA is obeyed.
Result<LocalModel> load_local_model(const std::string& home, const std::string& name,
                                    const LocalModelOptions& options);

}  // namespace troupe::tools
