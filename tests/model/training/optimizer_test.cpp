#include <algorithm>
#include <cmath>
#include <fstream>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/training/optimizer.h>
#include <troupe/model/training/schedule.h>

using namespace troupe;
using namespace troupe::model;

namespace {

nlohmann::json golden() {
  return nlohmann::json::parse(std::ifstream(TROUPE_TEST_DATA "/golden/training.json"));
}

std::vector<float> sines(double size, double phase) {
  std::vector<float> out(37);
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(size * std::sin(1.7 * static_cast<double>(i) + phase));
  return out;
}

// One vector of 37 weights, like a model's only parameter.
struct OneParameter {
  OneParameter() {
    weight.vector = sines(1.0, 0.1);
    parameter.weight = &weight;
    parameter.floats = 37;
    parameter.decays = true;
    parameter.reserve(1);
  }
  Weight weight;
  Parameter parameter;
};

}  // namespace

TEST_CASE("twenty steps of each optimizer are PyTorch's") {
  const auto expected = golden()["optimizers"];
  ThreadPoolOptions two;
  two.threads = 2;
  two.pin = false;
  const auto pool = ThreadPool::create(two);
  REQUIRE(pool.is_ok());
  for (const std::string name : {"adamw", "sgd", "plain_sgd"}) {
    INFO(name);
    OptimizerOptions options;
    options.kind = name == "adamw" ? OptimizerKind::kAdamW : OptimizerKind::kSgd;
    options.beta2 = 0.95;
    options.weight_decay = name == "plain_sgd" ? 0.0 : 0.1;
    options.momentum = name == "sgd" ? 0.9 : 0.0;
    Optimizer optimizer(options);
    OneParameter one;
    for (int step = 1; step <= 20; ++step) {
      const std::vector<float> sums = sines(3.0, step);
      std::copy(sums.begin(), sums.end(),
                reinterpret_cast<float*>(one.parameter.gradient[0].data()));
      const std::vector<Parameter*> parameters{&one.parameter};
      REQUIRE(optimizer.update(parameters, 7.0, 1e-2, **pool).applied);
    }
    const std::vector<double> weights = expected[name];
    for (std::size_t i = 0; i < weights.size(); ++i)
      REQUIRE(one.weight.vector[i] == Approx(weights[i]).epsilon(1e-5).margin(1e-6));
  }
}

TEST_CASE("the rates of each schedule are transformers'") {
  const auto expected = golden()["schedules"];
  for (const auto& [name, kind] : {std::pair{"constant", ScheduleKind::kConstant},
                                   {"linear", ScheduleKind::kLinear},
                                   {"cosine", ScheduleKind::kCosine}}) {
    INFO(name);
    const std::vector<double> rates = expected[name];
    const Schedule schedule{kind, 1e-2, 5, 30};
    for (std::size_t step = 0; step < rates.size(); ++step)
      CHECK(schedule.at(step) == Approx(rates[step]).epsilon(1e-9).margin(1e-12));
  }
}
