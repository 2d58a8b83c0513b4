#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "tiny_server.h"

// Tests answers with drafts and without, through all actors, and what is counted.

using namespace troupe;
using namespace troupe::http::test;

namespace {

GenerateRequest repeating(TinyServer& tiny, bool speculation) {
  GenerateRequest request;
  request.model = (tiny.folder() / "tiny").string();
  request.prompt = "abcabcabcabc";
  request.raw = true;
  request.max_tokens = 100;
  request.ignore_end = true;
  request.sampling.logprobs = 2;
  request.sampling.temperature = 0.5f;
  request.sampling.seed = 3;
  request.sampling.presence_penalty = 0.1f;
  // Two words are enough: the answer repeats itself.
  request.sampling.logit_bias = {{5, 60.0f}, {6, 60.0f}};
  request.speculation = speculation;
  return request;
}

// Waits for the counts, because the engine counts after it has reported an answer's end.
DeploymentStatus at_rest(TinyServer& tiny) {
  DeploymentStatus deployment;
  for (int i = 0; i < 100; ++i) {
    const auto status = tiny.cluster().status();
    REQUIRE(status);
    deployment = status->deployments.at(0);
    if (deployment.blocks_in_use == 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return deployment;
}

}  // namespace

TEST_CASE("http server: drafted answers are the same, and the drafts are counted") {
  TinyServer tiny;
  std::vector<TokenEvent> told[2];
  Result<GenerateResult> results[2] = {Status(Code::kInternal, ""), Status(Code::kInternal, "")};
  for (const int speculation : {0, 1}) {
    results[speculation] =
        tiny.cluster().generate(repeating(tiny, speculation == 1), [&](const TokenEvent& token) {
          told[speculation].push_back(token);
          return true;
        });
    INFO(results[speculation].message());
    REQUIRE(results[speculation]);
    const DeploymentStatus deployment = at_rest(tiny);
    if (speculation == 0) CHECK(deployment.drafted == 0);
    if (speculation == 0) continue;
    CHECK(deployment.drafted > 0);
    CHECK(deployment.accepted <= deployment.drafted);
    const Answer metrics = ask(tiny.port(), get("/metrics"));
    CHECK(metrics.body.find("troupe_drafted_tokens_total{") != std::string::npos);
    CHECK(metrics.body.find("troupe_accepted_tokens_total{") != std::string::npos);
  }
  CHECK(results[0]->token_ids == results[1]->token_ids);
  CHECK(results[0]->text == results[1]->text);
  REQUIRE(told[0].size() == 100);
  REQUIRE(told[1].size() == 100);
  bool same = true;
  for (std::size_t i = 0; i < 100; ++i) {
    REQUIRE(told[1][i].index == i);
    REQUIRE(told[0][i].logprobs.size() == told[1][i].logprobs.size());
    for (std::size_t j = 0; j < told[0][i].logprobs.size(); ++j) {
      same = same && told[0][i].logprobs[j].id == told[1][i].logprobs[j].id &&
             std::memcmp(&told[0][i].logprobs[j].logprob, &told[1][i].logprobs[j].logprob, 4) == 0;
    }
  }
  CHECK(same);
}
