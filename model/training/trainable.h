#pragma once

#include <troupe/model/config/model_config.h>
#include <troupe/runtime/status.h>

namespace troupe::model {

// Says whether training can compute the gradients of a model's layers. Pure.
//   Errors: kFailedPrecondition names the family.
Status check_trainable(const ModelConfig& config);

}  // namespace troupe::model
