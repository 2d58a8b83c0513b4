#include <algorithm>
#include <cmath>
#include <string>

#include <catch2/catch.hpp>

#include <troupe/model/training/masking.h>
#include <troupe/model/training/memory_plan.h>
#include <troupe/model/training/trainer.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

constexpr TokenId kFirstOrdinary = 5, kMask = 4;

// Returns options by which tokens 5 to 127 are ordinary, 4 is the mask, and the others are special.
MaskingOptions masking(double rate = 0.15, std::uint64_t seed = 3) {
  MaskingOptions options;
  options.rate = rate;
  options.seed = seed;
  options.mask = kMask;
  for (TokenId id = kFirstOrdinary; id < 128; ++id) options.ordinary.push_back(id);
  return options;
}

Example text_of(std::size_t length, std::uint64_t number = 0) {
  Example example;
  example.ids.push_back(2);
  for (std::size_t i = 0; i < length; ++i)
    example.ids.push_back(static_cast<TokenId>(5 + (i * 7 + number) % 123));
  example.ids.push_back(3);
  example.number = number;
  return example;
}

std::vector<std::size_t> hidden(const Example& example) {
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < example.targets.size(); ++i)
    if (example.targets[i] != kNoTarget) places.push_back(i);
  return places;
}

}  // namespace

TEST_CASE("15 % of the tokens are hidden: 80 % by the mask, 10 % by others, 10 % not at all") {
  std::size_t tokens = 0, targets = 0, masks = 0, same = 0;
  for (std::uint64_t number = 0; number < 400; ++number) {
    const Example text = text_of(100, number);
    const Example out = masked(text, masking(), MaskingUse::kTraining);
    REQUIRE(out.ids.size() == text.ids.size());
    CHECK((out.ids.front() == 2 && out.ids.back() == 3));
    CHECK((out.targets.front() == kNoTarget && out.targets.back() == kNoTarget));
    tokens += 100;
    for (std::size_t i = 0; i < text.ids.size(); ++i) {
      if (out.targets[i] == kNoTarget) {
        REQUIRE(out.ids[i] == text.ids[i]);
        continue;
      }
      REQUIRE(out.targets[i] == text.ids[i]);
      REQUIRE(out.ids[i] >= kMask);
      ++targets;
      masks += out.ids[i] == kMask ? 1 : 0;
      same += out.ids[i] == text.ids[i] ? 1 : 0;
    }
  }
  // Four standard deviations of a binomial distribution.
  const auto is_near = [](std::size_t count, std::size_t of, double part) {
    const auto n = static_cast<double>(of);
    return std::abs(static_cast<double>(count) - part * n) < 4 * std::sqrt(n * part * (1 - part));
  };
  CHECK(is_near(targets, tokens, 0.15));
  CHECK(is_near(masks, targets, 0.8));
  CHECK(is_near(same, targets, 0.1 + 0.1 / 123));
}

TEST_CASE("what is hidden follows from seed, epoch, example and position alone") {
  const Example text = text_of(200, 9);
  const auto places = hidden(masked(text, masking(), MaskingUse::kTraining));
  CHECK(hidden(masked(text, masking(), MaskingUse::kTraining)) == places);
  Example later = text, other = text;
  later.epoch = 1;
  other.number = 10;
  CHECK(hidden(masked(later, masking(), MaskingUse::kTraining)) != places);
  CHECK(hidden(masked(other, masking(), MaskingUse::kTraining)) != places);
  CHECK(hidden(masked(text, masking(0.15, 4), MaskingUse::kTraining)) != places);
  // In a longer text, the same ones among the first tokens are hidden.
  Example longer = text_of(260, 9);
  auto more = hidden(masked(longer, masking(), MaskingUse::kTraining));
  std::erase_if(more, [](std::size_t place) { return place > 200; });
  CHECK(more == places);
  // Validation hides the same tokens in every epoch, but not those that the first epoch hides.
  const auto fixed = hidden(masked(text, masking(), MaskingUse::kValidation));
  CHECK(hidden(masked(later, masking(), MaskingUse::kValidation)) == fixed);
  CHECK(fixed != places);
}

TEST_CASE("a text in which nothing would be hidden has one hidden token") {
  std::size_t at[3] = {};
  for (std::uint64_t number = 0; number < 300; ++number) {
    const auto places = hidden(masked(text_of(3, number), masking(0.001), MaskingUse::kTraining));
    REQUIRE(places.size() == 1);
    ++at[places[0] - 1];
  }
  for (const std::size_t count : at) CHECK(count > 60);
  Example special;
  special.ids = {2, 1, 3};
  CHECK_FALSE(can_be_masked(special.ids, masking()));
  CHECK(hidden(masked(special, masking(), MaskingUse::kTraining)).empty());
}

TEST_CASE("masked tokens are learned with the same bits for every grouping and thread count") {
  const TinyModel bert("bert");
  std::vector<Example> batch;
  for (std::uint64_t number = 0; number < 8; ++number)
    batch.push_back(text_of(3 + number * number % 58, number));
  std::string expected;
  double losses[2] = {};
  for (const auto& [threads, micro_batch] :
       {std::pair{1, std::size_t{8}}, std::pair{2, std::size_t{4}}, std::pair{3, std::size_t{2}},
        std::pair{4, std::size_t{1}}}) {
    const auto device = training_device(threads);
    TrainerOptions options;
    options.head = EncoderHead::kMask;
    options.masking = masking();
    options.network.micro_batch = micro_batch;
    const auto trainer = trainer_of(bert, *device, options);
    losses[0] = trainer->evaluate(batch)->loss;
    for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
      for (Example& example : batch) example.epoch = epoch;
      REQUIRE(trainer->step(batch, 3e-3)->applied);
    }
    losses[1] = trainer->evaluate(batch)->loss;
    if (expected.empty()) expected = trainer->parameters().sha256();
    CHECK(trainer->parameters().sha256() == expected);
  }
  CHECK(losses[1] < losses[0]);
}

TEST_CASE("the predicted memory has room for the logits of hidden tokens") {
  const TinyModel bert("bert");
  MemoryQuestion question;
  question.options.head = EncoderHead::kMask;
  question.options.masking = masking();
  question.config = trained_config(bert.config, question.options);
  question.batch_size = 4;
  const std::vector<Example> batch(4, text_of(60));
  const auto few = plan_memory(question, batch);
  question.options.masking.rate = 0.9;
  const auto many = plan_memory(question, batch);
  REQUIRE((few.is_ok() && many.is_ok()));
  // About half of the 248 positions have targets in addition, each with 128 logits.
  CHECK(many->activations > few->activations + 100 * 128 * sizeof(float));
}
