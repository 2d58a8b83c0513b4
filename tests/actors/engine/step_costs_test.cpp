#include <algorithm>
#include <cmath>
#include <random>

#include <catch2/catch.hpp>

#include <troupe/actors/engine/step_costs.h>

using namespace troupe::actors;

TEST_CASE("step costs: what rows and depths cost is learned from whole steps") {
  // A step of answers costs 4 ms, and each of its rows 300 us; a row of a prompt costs 400 us, and
  // each position before it 0.1 us.
  StepCosts costs;
  CHECK_FALSE(costs.is_known());
  std::mt19937 random(5);
  const auto noise = [&] { return 0.95 + 0.1 * static_cast<double>(random() % 1000) / 1000; };
  for (int i = 0; i < 300; ++i) {
    StepRows rows;
    rows.answers = i % 3 == 0 ? 0 : 1 + random() % 16;
    rows.answers_depth = static_cast<double>(rows.answers * (random() % 1000));
    rows.prompts = i % 3 == 1 ? 0 : 8 + random() % 100;
    rows.prompts_depth = static_cast<double>(rows.prompts * (random() % 8000));
    double us = 400.0 * static_cast<double>(rows.prompts) + 0.1 * rows.prompts_depth;
    if (rows.answers > 0) us += 4000 + 300.0 * static_cast<double>(rows.answers);
    costs.note(rows, static_cast<std::int64_t>(us * noise()));
  }
  REQUIRE(costs.is_known());
  CHECK(costs.of_prompt_row().row == Approx(400).epsilon(0.15));
  CHECK(costs.of_prompt_row().depth == Approx(0.1).epsilon(0.15));
  CHECK(costs.prompt_budget_us(15, 7500) == Approx(1.7 * 8500).epsilon(0.15));
  CHECK(costs.prompt_budget_us(0, 0) > costs.prompt_budget_us(1, 100));
}

TEST_CASE("step costs: a step's fixed cost does not shrink the steps of prompts") {
  // These are the costs of a model of gigabytes: each step reads all weights, however few rows it
  // has.
  constexpr double kFixedUs = 160'000, kRowUs = 10'000;
  StepCosts costs;
  std::size_t rows = 256, computed = 0;
  double us = 0;
  for (int step = 0; step < 60; ++step) {
    const double taken = kFixedUs + kRowUs * static_cast<double>(rows);
    costs.note({0, rows, 0, static_cast<double>(rows * 100)}, static_cast<std::int64_t>(taken));
    us += taken;
    computed += rows;
    rows = std::clamp<std::size_t>(costs.of_prompt_row().fitting(100, costs.prompt_budget_us(0, 0)),
                                   1, 256);
  }
  CAPTURE(rows);
  const double whole_chunks = 256 / (kFixedUs + kRowUs * 256);
  CHECK(static_cast<double>(computed) / us > 0.75 * whole_chunks);
}

TEST_CASE("step costs: a step that was held up changes little, one that took no time nothing") {
  StepCosts costs;
  for (int i = 0; i < 50; ++i) costs.note({0, 100, 0, 100 * 1000.0 * (i % 5)}, 40'000);
  const double before = costs.of_prompt_row().of(2000, 100);
  costs.note({0, 100, 0, 200'000}, 0);
  costs.note({}, 1000);
  CHECK(costs.of_prompt_row().of(2000, 100) == before);
  costs.note({0, 100, 0, 200'000}, 10'000'000);
  CHECK(costs.of_prompt_row().of(2000, 100) < 1.5 * before);
  CHECK(costs.of_prompt_row().depth >= 0);
}

TEST_CASE("step costs: rows that fit are those whose sum does") {
  const PromptRowCost cost{3, 0.5};
  for (const std::size_t position : {0u, 7u, 1000u}) {
    for (double most = 0; most < 5000; most += 37) {
      const std::size_t rows = cost.fitting(position, most);
      CHECK(cost.of(position, rows) <= most);
      CHECK(cost.of(position, rows + 1) > most);
    }
  }
}
