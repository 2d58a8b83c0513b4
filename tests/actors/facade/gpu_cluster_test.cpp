#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/actors/troupe.h>
#include <troupe/tests/actors/http/tiny_server.h>
#include <troupe/tests/runtime/cuda/emulated_card.h>
#include <troupe/tests/runtime/net/zmq/harness.h>

// The whole path of an answer with an emulated GPU: engine, worker, stage, sampler.

using namespace troupe;

namespace {

GenerateRequest tiny_request(const std::string& model, int choice) {
  GenerateRequest request;
  request.model = model;
  request.raw = true;
  request.prompt = choice % 2 == 0 ? "The answer" : "A longer prompt than the other one has been";
  request.max_tokens = 40;
  request.ignore_end = true;
  if (choice >= 2) {
    request.sampling.temperature = 0.8f;
    request.sampling.seed = 7;
  }
  if (choice == 4) request.sampling.repeat_penalty = 1.3f;
  if (choice == 5) {
    request.sampling = {.logprobs = 3};
    request.prompt_logprobs = 2;
  }
  return request;
}

std::vector<GenerateResult> answers_on(const std::string& device, const std::string& model,
                                       const std::string& home) {
  auto cluster = Cluster::local({home, 1, device});
  INFO(cluster.message());
  REQUIRE(cluster);
  std::vector<GenerateResult> answers;
  for (int choice = 0; choice < 6; ++choice) {
    auto answer = cluster->generate(tiny_request(model, choice), {});
    INFO(answer.message());
    REQUIRE(answer);
    answers.push_back(std::move(*answer));
  }
  const auto status = cluster->status();
  REQUIRE(status);
  REQUIRE(status->nodes.size() == 1);
  CHECK((status->nodes[0].isa == "cuda emulated") == (device == "cuda:0"));
  return answers;
}

}  // namespace

TEST_CASE("cuda: an answer is the CPU's, greedy and sampled") {
  const http::test::TemporaryFolder folder;
  const std::string model = http::test::write_tiny_model(folder.path).string();
  const auto cpu = answers_on("", model, folder.path / "home");
  const auto gpu = answers_on("cuda:0", model, folder.path / "home");
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    INFO("request " << i);
    CHECK(gpu[i].token_ids.size() == 40);
    CHECK(gpu[i].token_ids == cpu[i].token_ids);
    CHECK(gpu[i].text == cpu[i].text);
    REQUIRE(gpu[i].prompt_logprobs.size() == cpu[i].prompt_logprobs.size());
    for (std::size_t j = 0; j < cpu[i].prompt_logprobs.size(); ++j) {
      CHECK(gpu[i].prompt_logprobs[j][0].logprob == cpu[i].prompt_logprobs[j][0].logprob);
    }
  }
  CHECK(cpu[5].prompt_logprobs.size() == 42);
}

TEST_CASE("cuda: a GPU that is not there ends the opening of a cluster in words") {
  const http::test::TemporaryFolder folder;
  const auto missing = Cluster::local({folder.path / "home", 1, "cuda:5"});
  CHECK(missing.code() == Code::kNotFound);
  const auto wrong = Cluster::local({folder.path / "home", 1, "gpu"});
  CHECK(wrong.code() == Code::kInvalidArgument);
}

namespace {

// Starts a daemon on a free port.
Result<Daemon> daemon_on_free_port(DaemonOptions options) {
  for (;;) {
    options.listen = net::test::free_endpoint();
    auto daemon = Daemon::start(options);
    if (daemon || daemon.code() != Code::kAlreadyExists) return daemon;
  }
}

}  // namespace

TEST_CASE("cuda: an answer whose GPU fails in the middle goes on with the same bytes") {
  const http::test::TemporaryFolder folder;
  const std::string model = http::test::write_tiny_model(folder.path).string();
  DaemonOptions head_options;
  head_options.home = folder.path / "head";
  head_options.head = true;
  head_options.threads = 1;
  const auto head = daemon_on_free_port(head_options);
  INFO(head.message());
  REQUIRE(head);
  DaemonOptions node_options;
  node_options.home = folder.path / "gpu";
  node_options.name = "gpu";
  node_options.join = head->join_address();
  node_options.device = "cuda:0";
  node_options.threads = 1;
  auto node = daemon_on_free_port(node_options);
  INFO(node.message());
  REQUIRE(node);
  const std::string join = head->join_address();
  auto cluster = Cluster::connect({folder.path / "client", join.substr(join.find('@') + 1)});
  INFO(cluster.message());
  REQUIRE(cluster);
  for (const int choice : {1, 3}) {  // greedy, then sampled, when the GPU is gone
    GenerateRequest request = tiny_request(model, choice);
    const auto alone = Cluster::local({folder.path / "home", 1})->generate(request, {});
    REQUIRE(alone);
    if (choice == 1) request.layers = {{0, 1}, {1, 2}};  // a layer on the CPU, one on the GPU
    std::size_t tokens = 0;
    const auto answer = cluster->generate(request, [&](const TokenEvent&) {
      if (choice == 1 && ++tokens == 10) troupe::test::break_card_after(0);
      return true;
    });
    INFO(answer.message());
    REQUIRE(answer);
    INFO(answer->error.message());
    CHECK(answer->token_ids == alone->token_ids);
    CHECK(answer->text == alone->text);
    if (choice == 1) {
      CHECK(tokens == 40);
      CHECK(node->wait().code() == Code::kUnavailable);  // the daemon has ended, and says why
    }
  }
  troupe::test::mend_card();
}
