#include <vector>

#include <catch2/catch.hpp>

#include <troupe/model/sampling/params.h>
#include <troupe/model/sampling/sampler.h>
#include <troupe/tests/model/sampling/random_logits.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

TEST_CASE("parameters out of range are named") {
  CHECK(validate({}).is_ok());
  CHECK(validate({2.0f, 0.5f, 1}).is_ok());
  CHECK(validate({-0.5f, 1.0f, 0}).message() ==
        "temperature is -0.500000, expected a number from 0 (greedy) up");
  CHECK(validate({kNan, 1.0f, 0}).code() == Code::kInvalidArgument);
  CHECK(validate({kInfinity, 1.0f, 0}).code() == Code::kInvalidArgument);
  for (const float top_p : {0.0f, -1.0f, 1.5f, kNan}) {
    CHECK(validate({1.0f, top_p, 0}).message().starts_with("top_p is "));
  }
  CHECK(sample(std::vector<float>{1.0f}, {-1.0f, 1.0f, 0}, 0).code() == Code::kInvalidArgument);
}

TEST_CASE("the new parameters are checked by name") {
  const auto message = [](auto set) {
    SamplingParams params;
    set(params);
    return validate(params).message();
  };
  CHECK(message([](auto& p) { p.min_p = 1.5f; }) ==
        "min_p is 1.500000, expected a number from 0 to 1");
  CHECK(message([](auto& p) { p.typical = 0.0f; }).starts_with("typical is 0.000000"));
  CHECK(message([](auto& p) { p.repeat_penalty = 0.0f; }).starts_with("repeat_penalty is 0"));
  CHECK(message([](auto& p) { p.presence_penalty = kNan; }).starts_with("presence_penalty is"));
  CHECK(message([](auto& p) { p.frequency_penalty = kInfinity; }).starts_with("frequency_penalty"));
  CHECK(message([](auto& p) { p.logprobs = 21; }) ==
        "logprobs is 21.000000, expected a number from 0 to 20");
  CHECK(message([](auto& p) {
          p.logit_bias = {{-1, 0.0f}};
        }).starts_with("logit_bias of token -1"));
  CHECK(message([](auto& p) {
          p.logit_bias = {{1, kInfinity}};
        }).starts_with("logit_bias of token 1 is inf"));
  CHECK(message([](auto& p) {
          p.logit_bias.resize(1025);
        }).starts_with("logit_bias has 1025 entries"));
}
