#pragma once

#include <memory>
#include <string>

#include <troupe/model/transformer.h>
#include <troupe/runtime/device.h>

// A whole model in this process, without actors: for the verbs that measure. Main thread only.

namespace troupe::tools {

struct LocalModel {
  std::unique_ptr<model::TensorSource> source;
  std::unique_ptr<Device> device;
  std::unique_ptr<model::Stage> stage;  // every layer; before the device it runs on
};
// MODEL as people write it (models.h); `threads` 0 is every usable CPU. TROUPE_ISA is honoured.
Result<LocalModel> load_local_model(const std::string& home, const std::string& name, int threads);

}  // namespace troupe::tools
