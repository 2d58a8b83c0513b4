#include <catch2/catch.hpp>

#include <troupe/model/training/memory_plan.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

MemoryQuestion question(const TinyModel& tiny) {
  MemoryQuestion question;
  question.config = tiny.config;
  question.batch_size = 4;
  return question;
}

std::vector<Example> examples(std::size_t count, std::size_t length) {
  std::vector<Example> examples;
  for (std::size_t i = 0; i < count; ++i)
    examples.push_back(next_token_example(std::vector<TokenId>(length, 5)));
  return examples;
}

}  // namespace

TEST_CASE("the memory of weights, gradients and optimizer is what a trainer makes") {
  const TinyModel tiny("llama");
  const auto device = training_device(1);
  MemoryQuestion asked = question(tiny);
  const auto batch = examples(4, 20);
  for (const std::size_t rank : {std::size_t{0}, std::size_t{3}}) {
    asked.options.lora.rank = rank;
    const auto plan = plan_memory(asked, batch);
    REQUIRE(plan.is_ok());
    const auto trainer = Trainer::create(*tiny.source, tiny.config, *device, asked.options);
    REQUIRE(trainer.is_ok());
    REQUIRE((*trainer)->step(batch, 1e-3).is_ok());
    std::uint64_t weights = 0, gradients = 0, moments = 0;
    for (const Parameter& parameter : (*trainer)->parameters().all())
      weights += parameter.floats * sizeof(float);
    for (const Parameter* parameter : (*trainer)->parameters().trained()) {
      if (rank != 0) weights += parameter->floats * sizeof(float);
      gradients += parameter->floats * sizeof(float);
      moments += parameter->first_moment.bytes() + parameter->second_moment.bytes();
    }
    CHECK(plan->weights == weights);
    CHECK(plan->gradients == gradients);
    CHECK(plan->optimizer == moments);
  }
}

TEST_CASE("flags that save memory are predicted to, and named when a run does not fit") {
  const TinyModel tiny("llama");
  MemoryQuestion asked = question(tiny);
  const auto batch = examples(9, 40);
  const std::uint64_t all = plan_memory(asked, batch)->total();
  asked.options.network.micro_batch = 1;
  const std::uint64_t one = plan_memory(asked, batch)->total();
  asked.options.network.checkpointing = true;
  const std::uint64_t least = plan_memory(asked, batch)->total();
  CHECK(one < all);
  CHECK(least < one);
  asked.options.network = {};
  CHECK(check_memory(asked, batch, all).is_ok());
  const Status little = check_memory(asked, batch, all - 1);
  CHECK(little.code() == Code::kResourceExhausted);
  CHECK_THAT(little.message(), Contains("--micro-batch 1 would need"));
  CHECK_THAT(check_memory(asked, batch, one - 1).message(),
             Contains("--micro-batch 1 --checkpointing would need"));
  CHECK_THAT(check_memory(asked, batch, least - 1).message(), Contains("--lora-rank 8"));
  asked.may_adapt = false;
  CHECK_THAT(check_memory(asked, batch, least - 1).message(), !Contains("--lora-rank"));
  CHECK_THAT(check_memory(asked, batch, 1000).message(), Contains("a smaller model"));
}
