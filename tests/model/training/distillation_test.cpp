#include <cmath>
#include <string>

#include <catch2/catch.hpp>

#include <troupe/model/training/hf_tensors.h>
#include <troupe/model/training/memory_plan.h>
#include <troupe/model/training/same_vocabulary.h>
#include <troupe/model/training/trainer.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

struct Pair {
  TinyModel student{"llama"}, teacher{"qwen2"};

  TrainerOptions options(float ratio, float temperature, std::size_t micro_batch = 0) const {
    TrainerOptions options;
    options.teacher = {teacher.source.get(), teacher.config};
    options.network.loss.teacher_ratio = ratio;
    options.network.loss.teacher_temperature = temperature;
    options.network.micro_batch = micro_batch;
    return options;
  }
};

// Makes texts of 3 to 60 tokens, in which not every position is trained.
std::vector<Example> texts_of_tokens(const ModelConfig& config, std::size_t count) {
  std::vector<Example> batch;
  std::uint32_t state = 7;
  const auto next = [&](std::size_t bound) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % bound;
  };
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<TokenId> ids(3 + next(58));
    for (TokenId& id : ids) id = static_cast<TokenId>(next(config.vocabulary));
    batch.push_back(next_token_example(std::move(ids)));
    batch.back().targets[0] = kNoTarget;
  }
  return batch;
}

}  // namespace

TEST_CASE("a teacher's part of the loss and of the gradients is PyTorch's") {
  const Pair pair;
  const auto device = training_device(2);
  const auto golden = Safetensors::open_file(TROUPE_TEST_DATA "/golden/distillation.safetensors");
  REQUIRE(golden.is_ok());
  const struct {
    float ratio, temperature, smoothing;
    const char* name;
  } cases[] = {{0.5f, 2.0f, 0.0f, "0.5/2.0/0.0"},
               {1.0f, 1.0f, 0.0f, "1.0/1.0/0.0"},
               {0.25f, 4.0f, 0.1f, "0.25/4.0/0.1"}};
  for (const auto& one : cases) {
    INFO(one.name);
    TrainerOptions options = pair.options(one.ratio, one.temperature, 1);
    options.network.loss.label_smoothing = one.smoothing;
    const auto trainer = trainer_of(pair.student, *device, options);
    Network& network = trainer->network();
    const std::string prefix = one.name;
    const BatchSums sums = network.gradients(pair.student.batch());
    const auto targets = static_cast<double>(sums.targets);
    CHECK(sums.loss / targets ==
          Approx(read_tensor<float>(*golden, prefix + "/loss")[0]).epsilon(1e-5));
    CHECK(network.loss(pair.student.batch()).loss == sums.loss);
    std::size_t compared = 0;
    for (const HfTensor& tensor : hf_tensors(network.config(), network.parameters())) {
      const std::string name = prefix + "/grad." + tensor.name;
      if (golden->find(name) == nullptr) continue;
      INFO(tensor.name);
      const auto expected = read_tensor<float>(*golden, name);
      const auto gradient =
          hf_values(tensor, [](const Parameter& parameter) { return parameter.gradient_values(); });
      double difference = 0, norm = 0;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        difference += std::pow(
            static_cast<double>(gradient[i]) / targets - static_cast<double>(expected[i]), 2);
        norm += std::pow(static_cast<double>(expected[i]), 2);
      }
      CHECK(std::sqrt(difference / norm) < 1e-5);
      ++compared;
    }
    CHECK(compared == 3);
  }
}

TEST_CASE("distillation has the same bits for every grouping and thread count") {
  const Pair pair;
  const auto batch = texts_of_tokens(pair.student.config, 8);
  std::string expected;
  for (const auto& [threads, micro_batch] :
       {std::pair{1, std::size_t{8}}, std::pair{2, std::size_t{4}}, std::pair{3, std::size_t{2}},
        std::pair{4, std::size_t{1}}, std::pair{1, std::size_t{1}}}) {
    const auto device = training_device(threads);
    const auto trainer = trainer_of(pair.student, *device, pair.options(0.5f, 2.0f, micro_batch));
    const std::string taught_by = trainer->teacher_sha256();
    for (int step = 0; step < 10; ++step) REQUIRE(trainer->step(batch, 1e-3)->applied);
    CHECK(trainer->teacher_sha256() == taught_by);
    if (expected.empty()) expected = trainer->parameters().sha256();
    CHECK(trainer->parameters().sha256() == expected);
  }
}

TEST_CASE("a student that is its teacher has nothing to learn from it") {
  const TinyModel tiny("llama");
  const auto device = training_device(2);
  TrainerOptions options;
  options.teacher = {tiny.source.get(), tiny.config};
  options.network.loss.teacher_ratio = 1.0f;
  const auto trainer = trainer_of(tiny, *device, options);
  const auto batch = texts_of_tokens(tiny.config, 4);
  const BatchSums sums = trainer->network().gradients(batch);
  CHECK(std::abs(sums.loss) < 1e-4);
  for (const Parameter* parameter : trainer->parameters().trained())
    for (std::size_t i = 0; i < parameter->floats; ++i)
      REQUIRE(std::abs(parameter->gradient_values()[i]) < 1e-4f);
}

TEST_CASE("a student comes closer to its teacher, beside adapters too") {
  const Pair pair;
  const auto device = training_device(2);
  for (const std::size_t rank : {0, 4}) {
    TrainerOptions options = pair.options(1.0f, 2.0f);
    options.lora.rank = rank;
    options.lora.alpha = 16.0;
    const auto trainer = trainer_of(pair.student, *device, options);
    const auto batch = texts_of_tokens(pair.student.config, 8);
    double first = 0, last = 0;
    for (int step = 0; step < 40; ++step) {
      const auto report = trainer->step(batch, rank == 0 ? 3e-3 : 1e-2);
      REQUIRE(report.is_ok());
      REQUIRE(report->applied);
      if (step == 0) first = report->loss;
      last = report->loss;
    }
    CHECK(last < 0.8 * first);
  }
}

TEST_CASE("a teacher that does not fit is refused in words") {
  const Pair pair;
  const TinyModel bert("bert"), gemma("gemma2");
  const auto device = training_device(1);
  const auto refusal = [&](const TinyModel& student, const TinyModel& teacher,
                           TrainerOptions options) {
    options.teacher = {teacher.source.get(), teacher.config};
    if (!student.config.causal) options.labels = 2;
    const auto made = Trainer::create(*student.source, student.config, *device, options);
    REQUIRE_FALSE(made.is_ok());
    return made.message();
  };
  CHECK_THAT(refusal(pair.student, bert, {}), Contains("both must be decoders"));
  CHECK_THAT(refusal(bert, pair.teacher, {}), Contains("both must be decoders"));
  CHECK_THAT(refusal(pair.student, gemma, {}), Contains("the teacher") && Contains("not train"));
  TrainerOptions options;
  options.network.loss.teacher_ratio = 0.0f;
  CHECK_THAT(refusal(pair.student, pair.teacher, options), Contains("not in (0, 1]"));
  options = {};
  options.network.loss.teacher_temperature = 0.0f;
  CHECK_THAT(refusal(pair.student, pair.teacher, options), Contains("temperature is 0"));
  options = {};
  options.preference_beta = 0.1;
  options.lora.rank = 4;
  CHECK_THAT(refusal(pair.student, pair.teacher, options), Contains("have no teacher"));
  options = {};
  TinyModel larger("qwen2");
  larger.config.vocabulary += 1;
  CHECK_THAT(refusal(pair.student, larger, options),
             Contains("vocabulary of 129 tokens, but the model has 128"));
  // The teacher cannot read this text.
  TinyModel shorter("qwen2");
  shorter.config.context_max = 10;
  options.teacher = {shorter.source.get(), shorter.config};
  const auto trainer = trainer_of(pair.student, *device, options);
  const auto report = trainer->step(pair.student.batch(), 1e-3);
  REQUIRE_FALSE(report.is_ok());
  CHECK_THAT(report.message(), Contains("the teacher") && Contains("has 12 tokens"));
}

TEST_CASE("a teacher is part of the predicted memory") {
  const Pair pair;
  MemoryQuestion question;
  question.config = pair.student.config;
  question.batch_size = 4;
  const auto batch = texts_of_tokens(pair.student.config, 8);
  const auto alone = plan_memory(question, batch);
  question.options = pair.options(0.5f, 2.0f);
  const auto taught = plan_memory(question, batch);
  REQUIRE((alone.is_ok() && taught.is_ok()));
  CHECK(alone->teacher == 0);
  // The teacher's weights alone have more than a hundred thousand values.
  CHECK(taught->teacher > 400'000);
  CHECK(taught->total() == alone->total() + taught->teacher);
  CHECK_THAT(memory_text(*taught), Contains("teacher"));
}
