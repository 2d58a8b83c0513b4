#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/config/model_config.h>
#include <troupe/model/files/gguf.h>

// The config.json of a trained model. Pure.

namespace troupe::model {

// Returns the text: the model's own config.json, changed where training changed the model, or one
// made from the ModelConfig if the model came as a GGUF file. `labels` are the names of a
// classifier's labels, or empty.
//   Errors: kFailedPrecondition if config.json cannot express the model, or it cannot be trained.
Result<std::string> hf_config_text(const GgufHeader& header, const ModelConfig& config,
                                   const std::vector<std::string>& labels);

// Returns the text for the same model with weights of the dtype `dtype` ("F32", "F16", "BF16"):
// the config.json of a folder, of any family, or one that is made as above.
//   Errors: as hf_config_text.
Result<std::string> converted_config_text(const GgufHeader& header, const ModelConfig& config,
                                          std::string_view dtype);

// Returns the names of a classifier's labels ("id2label"), or nothing if the header has none.
std::vector<std::string> label_names(const GgufHeader& header);

}  // namespace troupe::model
