#include <cmath>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/model/training/dropout.h>
#include <troupe/model/training/trainer.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

TrainerOptions with_dropout(double rate, std::size_t micro_batch = 0) {
  TrainerOptions options;
  options.network.micro_batch = micro_batch;
  options.lora.rank = 4;
  options.lora.dropout = rate;
  options.lora.seed = 9;
  return options;
}

std::unique_ptr<Trainer> adapted(const TinyModel& tiny, Device& device,
                                 const TrainerOptions& options) {
  auto trainer = trainer_of(tiny, device, options);
  // Make B different from zero, as it is after some steps.
  int n = 0;
  for (const auto& adapter : trainer->parameters().adapters())
    for (std::size_t row = 0; row < adapter->up.spec.rows; ++row)
      for (std::size_t i = 0; i < adapter->rank(); ++i)
        adapter->b(row, i) = static_cast<float>(0.1 * std::sin(++n));
  return trainer;
}

// Makes texts of several lengths, numbered as a run numbers them.
std::vector<Example> numbered(const TinyModel& tiny, std::size_t count, std::uint64_t epoch) {
  std::vector<Example> batch;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<TokenId> ids;
    for (std::size_t at = 0; at < 2 + i * i * 5 % 23; ++at)
      ids.push_back(static_cast<TokenId>((i * 17 + at * at + 3) % 100));
    Example example = tiny.config.causal ? next_token_example(ids) : Example{};
    example.ids = ids;
    example.number = i;
    example.epoch = epoch;
    batch.push_back(std::move(example));
  }
  return batch;
}

std::vector<float> dropped(double rate, const DropoutRow& row) {
  std::vector<float> values(4001, 1.0f);
  drop_row({rate, 7}, row, values.data(), values.size(), false, values.data());
  return values;
}

}  // namespace

TEST_CASE("dropout keeps the mean, and draws by epoch, example, matrix and position") {
  const std::vector<float> first = dropped(0.25, {0, 5, 3, 2});
  std::size_t zeros = 0;
  for (const float value : first) {
    CHECK((value == 0.0f || value == 1.0f / 0.75f));
    zeros += value == 0.0f ? 1 : 0;
  }
  // 4001 draws of 0.25 have a deviation of 27.
  CHECK(std::abs(static_cast<double>(zeros) - 1000.0) < 4 * 27.0);
  CHECK(first == dropped(0.25, {0, 5, 3, 2}));
  for (const DropoutRow& other : {DropoutRow{1, 5, 3, 2}, DropoutRow{0, 6, 3, 2},
                                  DropoutRow{0, 5, 4, 2}, DropoutRow{0, 5, 3, 1}}) {
    const std::vector<float> values = dropped(0.25, other);
    std::size_t equal = 0;
    for (std::size_t i = 0; i < values.size(); ++i) equal += values[i] == first[i] ? 1 : 0;
    CHECK(equal < 2700);  // two independent masks agree in 5 of 8 values
  }
  std::vector<float> sum(4001, 2.0f), ones(4001, 1.0f);
  drop_row({0.25, 7}, {0, 5, 3, 2}, ones.data(), ones.size(), true, sum.data());
  for (std::size_t i = 0; i < sum.size(); ++i) CHECK(sum[i] == 2.0f + first[i]);
}

TEST_CASE("gradients through dropout are those of finite differences") {
  for (const char* family : {"llama", "bert"}) {
    const TinyModel tiny(family);
    const auto device = training_device(2);
    const auto trainer = adapted(tiny, *device, with_dropout(0.3));
    const std::vector<Example> batch = numbered(tiny, 6, 1);
    Network& network = trainer->network();
    network.gradients(batch);
    for (const std::size_t layer : {0, 1})
      for (const std::size_t slot : {kQ, kV, kAttnOut, kUp, kDown}) {
        Adapter& adapter = *trainer->parameters().adapter(layer, slot);
        for (Parameter* parameter : {&adapter.down, &adapter.up}) {
          INFO(family << " " << parameter->spec.name);
          network.gradients(batch);
          const std::vector<float> gradient(parameter->gradient_values(),
                                            parameter->gradient_values() + parameter->floats);
          const std::vector<float> before(parameter->values(),
                                          parameter->values() + parameter->floats);
          double norm = 0.0;
          for (const float value : gradient)
            norm += static_cast<double>(value) * static_cast<double>(value);
          REQUIRE(norm > 0.0);
          const double step = 2e-2 / std::sqrt(norm);
          double losses[2];
          for (const int side : {0, 1}) {
            for (std::size_t i = 0; i < parameter->floats; ++i)
              parameter->values()[i] =
                  before[i] + static_cast<float>(side == 0 ? -step : step) * gradient[i];
            losses[side] = network.gradients(batch).loss;
          }
          std::copy(before.begin(), before.end(), parameter->values());
          // Along the gradient, the loss changes by its squared norm; passes in f32 give three
          // digits.
          CHECK((losses[1] - losses[0]) / (2 * step) == Approx(norm).epsilon(0.03));
        }
      }
  }
}

TEST_CASE("dropout is the same for all micro-batches and threads, and not the same each epoch") {
  for (const char* family : {"llama", "bert"}) {
    INFO(family);
    const TinyModel tiny(family);
    std::vector<std::string> hashes;
    for (const std::size_t micro_batch : {8u, 3u, 1u}) {
      const auto device = training_device(micro_batch == 3 ? 3 : 1);
      TrainerOptions options = with_dropout(0.2, micro_batch);
      options.network.checkpointing = micro_batch == 1;
      const auto trainer = adapted(tiny, *device, options);
      for (std::uint64_t epoch = 0; epoch < 4; ++epoch)
        REQUIRE(trainer->step(numbered(tiny, 8, epoch), 1e-3)->applied);
      hashes.push_back(trainer->parameters().sha256());
    }
    CHECK(hashes[0] == hashes[1]);
    CHECK(hashes[0] == hashes[2]);
    const auto device = training_device(1);
    const auto with = adapted(tiny, *device, with_dropout(0.2));
    const auto without = adapted(tiny, *device, with_dropout(0.0));
    const auto loss_in = [&](Trainer& trainer, std::uint64_t epoch) {
      return trainer.network().gradients(numbered(tiny, 8, epoch)).loss;
    };
    CHECK(loss_in(*with, 0) == loss_in(*with, 0));
    CHECK(loss_in(*with, 0) != loss_in(*with, 1));
    CHECK(loss_in(*without, 0) == loss_in(*without, 1));
    // If nothing is trained, nothing is dropped.
    const std::vector<Example> batch = numbered(tiny, 8, 0);
    CHECK(with->evaluate(batch)->loss == without->evaluate(batch)->loss);
  }
}

TEST_CASE("a dropout that makes no sense is refused") {
  const TinyModel tiny("llama");
  const auto device = training_device(1);
  auto refused = Trainer::create(*tiny.source, tiny.config, *device, with_dropout(1.0));
  REQUIRE_FALSE(refused.is_ok());
  CHECK_THAT(refused.message(), Contains("not in [0, 1)"));
  TrainerOptions options = with_dropout(0.1);
  options.preference_beta = 0.1;
  refused = Trainer::create(*tiny.source, tiny.config, *device, options);
  REQUIRE_FALSE(refused.is_ok());
  CHECK_THAT(refused.message(), Contains("preferences compare two passes"));
}
