#include <cmath>
#include <string>

#include <troupe/model/sampling/params.h>

namespace troupe::model {

Status validate(const SamplingParams& params) {
  const auto bad = [](const std::string& field, double value, const char* expected) {
    return Status(Code::kInvalidArgument,
                  field + " is " + std::to_string(value) + ", expected a number " + expected);
  };
  const auto finite = [](float x) { return !std::isnan(x) && !std::isinf(x); };
  if (!(params.temperature >= 0.0f) || std::isinf(params.temperature)) {
    return bad("temperature", params.temperature, "from 0 (greedy) up");
  }
  if (!(params.top_p > 0.0f && params.top_p <= 1.0f)) {
    return bad("top_p", params.top_p, "above 0 and at most 1");
  }
  if (!(params.min_p >= 0.0f && params.min_p <= 1.0f)) {
    return bad("min_p", params.min_p, "from 0 to 1");
  }
  if (!(params.typical > 0.0f && params.typical <= 1.0f)) {
    return bad("typical", params.typical, "above 0 and at most 1");
  }
  if (!(params.repeat_penalty > 0.0f) || !finite(params.repeat_penalty)) {
    return bad("repeat_penalty", params.repeat_penalty, "above 0");
  }
  if (!finite(params.presence_penalty)) {
    return bad("presence_penalty", params.presence_penalty, "that is finite");
  }
  if (!finite(params.frequency_penalty)) {
    return bad("frequency_penalty", params.frequency_penalty, "that is finite");
  }
  if (params.logprobs > SamplingParams::kLogprobsMax) {
    return bad("logprobs", params.logprobs, "from 0 to 20");
  }
  if (params.logit_bias.size() > SamplingParams::kBiasesMax) {
    return Status(Code::kInvalidArgument,
                  "logit_bias has " + std::to_string(params.logit_bias.size()) +
                      " entries, expected at most " + std::to_string(SamplingParams::kBiasesMax));
  }
  for (const LogitBias& one : params.logit_bias) {
    if (one.id >= 0 && finite(one.bias)) continue;
    return Status(Code::kInvalidArgument, "logit_bias of token " + std::to_string(one.id) + " is " +
                                              std::to_string(one.bias) +
                                              ", expected a finite number for an id from 0 up");
  }
  return Status::ok();
}

}  // namespace troupe::model
