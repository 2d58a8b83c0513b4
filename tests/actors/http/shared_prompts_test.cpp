#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include "tiny_server.h"

// Tests what a server reports about prompts that were computed before, and which keys may find
// them.

using namespace troupe;
using namespace troupe::http::test;
using nlohmann::json;

namespace {

// A character is a token; a block has 64.
const std::string kSystem(150, 's');

json asked(const std::string& question, const json& more = json::object()) {
  json body = {
      {"model", "tiny"},
      {"messages",
       {{{"role", "system"}, {"content", kSystem}}, {{"role", "user"}, {"content", question}}}},
      {"max_tokens", 6},
      {"ignore_eos", true},
      {"temperature", 0}};
  body.update(more);
  return body;
}

json ask_for(TinyServer& tiny, const json& body, const std::string& key = "") {
  const std::string header = key.empty() ? "" : "Authorization: Bearer " + key + "\r\n";
  const Answer answer = ask(tiny.port(), post("/v1/chat/completions", body.dump(), header));
  INFO(answer.body);
  REQUIRE(answer.status == 200);
  return answer.json();
}

int cached(const json& answer) {
  return answer["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
}

// Writes a file with the keys "one", "two" and "watch"; the hashes are their SHA-256.
std::string key_file(const std::filesystem::path& folder) {
  const std::string file = (folder / "keys").string();
  std::ofstream(file)
      << "one sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed role=api\n"
         "two sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3 role=api\n"
         "watch sha256:baed831623943be39ebf0ef44ae1e9c8fc3eeab51b5f89c113ca410d76a34c1d "
         "role=metrics\n";
  ::chmod(file.c_str(), 0600);
  return file;
}

}  // namespace

TEST_CASE("http server: usage says what had been computed before, and the text is the same") {
  TinyServer tiny;
  const json cold = ask_for(tiny, asked("Why?"));
  CHECK(cached(cold) == 0);
  const json warm = ask_for(tiny, asked("Why?"));
  CHECK(cached(warm) == 128);
  CHECK(warm["choices"] == cold["choices"]);
  CHECK(cached(ask_for(tiny, asked("Who?"))) == 128);
  CHECK(cached(ask_for(tiny, asked("Why?", {{"cache_salt", "a"}}))) == 0);
  CHECK(cached(ask_for(tiny, asked("Why?", {{"cache_salt", "a"}}))) == 128);
  CHECK(cached(ask_for(tiny, asked("Why?", {{"cache_salt", "b"}}))) == 0);
  // Several answers to one prompt: the prompt counts once, and the first answer computes it.
  CHECK(cached(ask_for(tiny, asked("Why?", {{"cache_salt", "c"}, {"n", 4}}))) == 0);
  CHECK(cached(ask_for(tiny, asked("Why?", {{"cache_salt", "c"}, {"n", 4}}))) == 128);
  DeploymentStatus deployment;
  for (int i = 0; i < 100; ++i) {  // the engine counts after it has reported an answer's end
    const auto status = tiny.cluster().status();
    REQUIRE(status);
    deployment = status->deployments.at(0);
    if (deployment.blocks_in_use == 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  CHECK(deployment.blocks_in_use == 0);
  CHECK(deployment.blocks_idle >= 8);
  CHECK(deployment.blocks_max > deployment.blocks_idle);
  CHECK(deployment.prefix_found >= 128 * 7);
  CHECK(deployment.prefix_queried > deployment.prefix_found);
  CHECK(deployment.preemptions == 0);
}

TEST_CASE("http server: keys share nothing but what --shared-prompt names") {
  TemporaryFolder folder;
  const std::string keys = key_file(folder.path);
  {
    TinyServer tiny([&](ServeOptions& options) { options.api_key_file = keys; });
    CHECK(cached(ask_for(tiny, asked("Why?"), "one")) == 0);
    CHECK(cached(ask_for(tiny, asked("Why?"), "one")) == 128);
    CHECK(cached(ask_for(tiny, asked("Why?"), "two")) == 0);
  }
  TinyServer tiny([&](ServeOptions& options) {
    options.api_key_file = keys;
    options.shared_prompts.push_back({kSystem});
  });
  CHECK(cached(ask_for(tiny, asked("Why?"), "one")) == 0);
  CHECK(cached(ask_for(tiny, asked("Who?"), "two")) == 128);
  CHECK(cached(ask_for(tiny, asked("Who?", {{"cache_salt", "a"}}), "two")) == 0);
  // The text after the system prompt belongs to its key.
  const std::string question(100, 'q');
  CHECK(cached(ask_for(tiny, asked(question), "one")) == 128);
  CHECK(cached(ask_for(tiny, asked(question), "two")) == 128);
  CHECK(cached(ask_for(tiny, asked(question), "two")) == 256);
}

TEST_CASE("http server: a shared prompt that cannot be used is refused before it listens") {
  TemporaryFolder folder;
  auto cluster = Cluster::local({folder.path / "home", 1});
  REQUIRE(cluster);
  ServeOptions options;
  options.port = 0;
  options.models = {{write_tiny_model(folder.path).string(), "tiny"}};
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"", "it is empty"},
      {std::string(3000, 'x'), "its 3000 bytes leave no room"},
      {"\xff", "the text is not UTF-8: byte 0"},
  };
  for (const auto& [text, why] : refused) {
    options.shared_prompts = {SharedPrompt{text}};
    const auto served = cluster->serve(options);
    REQUIRE_FALSE(served);
    CHECK(served.code() == Code::kInvalidArgument);
    CHECK(served.message().find("shared prompt") != std::string::npos);
    CHECK(served.message().find(why) != std::string::npos);
    options.shared_prompts[0].name = "greeting.txt";
    CHECK(cluster->serve(options).message().rfind(
              "greeting.txt cannot be used with the model tiny: " + why, 0) == 0);
  }
}

TEST_CASE("http server: metrics say by key what was looked up, found and kept") {
  TemporaryFolder folder;
  const std::string keys = key_file(folder.path);
  TinyServer tiny([&](ServeOptions& options) { options.api_key_file = keys; });
  CHECK(cached(ask_for(tiny, asked("Why?"), "one")) == 0);
  CHECK(cached(ask_for(tiny, asked("Who?"), "one")) == 128);
  CHECK(cached(ask_for(tiny, asked("Why?"), "two")) == 0);
  const auto status = tiny.cluster().status();
  REQUIRE(status);
  const std::string deployment = std::to_string(status->deployments.at(0).id);
  std::string metrics;
  const auto value = [&](const std::string& name, const std::string& key) {
    const std::string sample =
        "\n" + name + "{model=\"tiny\",deployment=\"" + deployment + "\",key=\"" + key + "\"} ";
    const std::size_t at = metrics.find(sample);
    return at == std::string::npos ? -1 : std::stoi(metrics.substr(at + sample.size()));
  };
  for (int i = 0; i < 200; ++i) {  // the engine publishes a few times a second, as the server asks
    const Answer answer = ask(tiny.port(),
                              "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
                              "Authorization: Bearer watch\r\n\r\n");
    INFO(answer.body);
    REQUIRE(answer.status == 200);
    metrics = answer.body;
    if (value("troupe_key_kv_blocks_idle", "two") > 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  INFO(metrics);
  const int one_queried = value("troupe_key_prefix_queried_tokens_total", "one");
  const int two_queried = value("troupe_key_prefix_queried_tokens_total", "two");
  CHECK(two_queried > 128);
  CHECK(one_queried == 2 * two_queried);
  CHECK(value("troupe_key_prefix_found_tokens_total", "one") == 128);
  CHECK(value("troupe_key_prefix_found_tokens_total", "two") == 0);
  CHECK(value("troupe_key_kv_blocks_in_use", "one") == 0);
  CHECK(value("troupe_key_kv_blocks_idle", "one") == 2);  // what follows is not a whole block
  CHECK(value("troupe_key_kv_blocks_idle", "two") == 2);
  CHECK(value("troupe_key_preemptions_total", "one") == 0);
  CHECK(value("troupe_key_drafted_tokens_total", "one") >=
        value("troupe_key_accepted_tokens_total", "one"));
  CHECK(value("troupe_key_accepted_tokens_total", "one") >= 0);
}
