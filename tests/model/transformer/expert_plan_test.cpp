#include <cmath>
#include <limits>
#include <random>

#include <catch2/catch.hpp>

#include <troupe/model/transformer/expert_plan.h>

using namespace troupe;
using namespace troupe::model;

namespace {

ModelConfig mixture(std::size_t experts, std::size_t used, bool norm) {
  ModelConfig config;
  config.experts = experts;
  config.experts_used = used;
  config.expert_weights_norm = norm;
  return config;
}

}  // namespace

TEST_CASE("a row goes through the experts of its largest logits, ties to the lower ones") {
  ExpertPlan plan;
  const float logits[] = {1, 3, 3, 3, 0, /**/ 0, 0, 0, 0, 0, /**/ -1, -5, -2, -9, -1};
  plan.choose(mixture(5, 2, true), logits, 3);
  const std::size_t experts[][2] = {{1, 2}, {0, 1}, {0, 4}};
  for (std::size_t row = 0; row < 3; ++row)
    for (std::size_t i = 0; i < 2; ++i) {
      const ExpertPlan::Share& share = plan.shares[plan.of_row[row * 2 + i]];
      CHECK(share.row == row);
      CHECK(share.expert == experts[row][i]);
      CHECK(share.weight == 0.5f);
    }
  CHECK(plan.active == std::vector<std::size_t>{0, 1, 2, 4});
  CHECK(plan.first == std::vector<std::size_t>{0, 2, 4, 5, 5, 6});
  CHECK(plan.shares[0].row == 1);  // an expert sees its rows in order
  CHECK(plan.shares[1].row == 2);
}

TEST_CASE("the weights of a row's experts are parts of all experts' or of its own") {
  ExpertPlan plan;
  const float logits[] = {0.0f, std::log(2.0f), std::log(5.0f)};
  plan.choose(mixture(3, 2, false), logits, 1);
  CHECK(plan.shares[0].weight == Approx(2.0 / 8));
  CHECK(plan.shares[1].weight == Approx(5.0 / 8));
  plan.choose(mixture(3, 2, true), logits, 1);
  CHECK(plan.shares[0].weight == Approx(2.0 / 7));
  CHECK(plan.shares[1].weight == Approx(5.0 / 7));
}

TEST_CASE("a row's experts do not depend on the rows beside it") {
  std::mt19937 random(3);
  const ModelConfig config = mixture(16, 4, true);
  std::vector<float> logits(20 * 16);
  for (float& value : logits) value = static_cast<float>(random() % 7);
  ExpertPlan all, alone;
  all.choose(config, logits.data(), 20);
  for (std::size_t row = 0; row < 20; ++row) {
    alone.choose(config, &logits[row * 16], 1);
    for (std::size_t i = 0; i < 4; ++i) {
      const auto &one = alone.shares[alone.of_row[i]], &same = all.shares[all.of_row[row * 4 + i]];
      CHECK(one.expert == same.expert);
      CHECK(one.weight == same.weight);
    }
  }
}

TEST_CASE("logits that are not numbers choose some experts all the same") {
  ExpertPlan plan;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float logits[] = {nan, 1, nan, 2};
  plan.choose(mixture(4, 3, true), logits, 1);
  CHECK(plan.active == std::vector<std::size_t>{0, 1, 3});
}
