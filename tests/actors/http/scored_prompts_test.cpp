#include <thread>

#include <catch2/catch.hpp>

#include "tiny_server.h"

// Completions that echo their prompts with log-probabilities, as programs that evaluate models read
// them.

using namespace troupe;
using namespace troupe::http::test;
using nlohmann::json;

namespace {

const char* const kCompletion = "/v1/completions";

json asked(const json& more) {
  json body = {{"model", "tiny"},    {"prompt", "Hello world"}, {"max_tokens", 3}, {"echo", true},
               {"ignore_eos", true}, {"temperature", 0},        {"logprobs", 2}};
  body.update(more);
  return body;
}

json choices(const TinyServer& tiny, const json& more = json::object()) {
  const Answer answer = ask(tiny.port(), post(kCompletion, asked(more).dump()));
  INFO(answer.body);
  REQUIRE(answer.status == 200);
  return answer.json()["choices"];
}

// Returns the lists of the events of a stream, put together.
json joined(const std::string& body, std::string* text) {
  json lists = json::object();
  for (std::size_t at = body.find("data: {"); at != std::string::npos;) {
    const json event = json::parse(body.substr(at + 6, body.find("\n\n", at) - at - 6));
    for (const json& choice : event["choices"]) {
      *text += choice["text"].get<std::string>();
      if (choice["logprobs"].is_null()) continue;
      for (const auto& [name, list] : choice["logprobs"].items()) {
        if (!lists.contains(name)) lists[name] = json::array();
        lists[name].insert(lists[name].end(), list.begin(), list.end());
      }
    }
    at = body.find("data: {", at + 1);
  }
  return lists;
}

}  // namespace

TEST_CASE("scored prompts: their numbers are the bits that the facade gives") {
  TinyServer tiny;
  GenerateRequest request;
  request.model = (tiny.folder() / "tiny").string();
  request.prompt = "Hello world";
  request.raw = true;
  request.max_tokens = 3;
  request.ignore_end = true;
  request.sampling.logprobs = request.prompt_logprobs = 2;
  std::vector<std::vector<model::TokenLogprob>> answered;
  const auto result = tiny.cluster().generate(request, [&](const TokenEvent& event) {
    answered.push_back(event.logprobs);
    return true;
  });
  REQUIRE(result);
  REQUIRE(result->prompt_logprobs.size() == 10);
  request.max_tokens = 0;
  const auto scored = tiny.cluster().generate(request, {});
  REQUIRE(scored);
  CHECK(scored->token_ids.empty());
  CHECK(scored->finish_reason == "length");
  REQUIRE(scored->prompt_logprobs.size() == 10);

  const json choice = choices(tiny)[0];
  const json& lists = choice["logprobs"];
  std::string text;
  for (const json& token : lists["tokens"]) text += token.get<std::string>();
  CHECK(text == choice["text"]);
  CHECK(text.rfind("Hello world", 0) == 0);
  REQUIRE(lists["tokens"].size() == 14);
  CHECK(lists["token_logprobs"][0].is_null());
  CHECK(lists["top_logprobs"][0].is_null());
  std::vector<std::vector<model::TokenLogprob>> all = result->prompt_logprobs;
  all.insert(all.end(), answered.begin(), answered.end());
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO("token " << i + 1);
    CHECK(lists["token_logprobs"][i + 1].get<float>() == all[i][0].logprob);
    REQUIRE(lists["top_logprobs"][i + 1].size() == 2);
    float likeliest = -100;
    for (const json& one : lists["top_logprobs"][i + 1]) {
      likeliest = std::max(likeliest, one.get<float>());
    }
    CHECK(likeliest == all[i][1].logprob);
    CHECK(lists["text_offset"][i + 1] == i + 1);  // each character is a token
  }
  for (std::size_t i = 0; i < 10; ++i) {
    CHECK(scored->prompt_logprobs[i][0].logprob == result->prompt_logprobs[i][0].logprob);
  }
}

TEST_CASE("scored prompts: without an answer, in a stream, of several prompts and choices") {
  TinyServer tiny;
  const json whole = choices(tiny);
  const json none = choices(tiny, {{"max_tokens", 0}});
  CHECK(none[0]["text"] == "Hello world");
  CHECK(none[0]["finish_reason"] == "length");
  for (const auto& [name, list] : none[0]["logprobs"].items()) {
    CHECK(list.size() == 11);
    CHECK(list ==
          json(whole[0]["logprobs"][name].begin(), whole[0]["logprobs"][name].begin() + 11));
  }
  // A prompt of one token has nothing before it, and nothing is computed.
  const json one = choices(tiny, {{"max_tokens", 0}, {"prompt", "a"}});
  CHECK(one[0]["logprobs"]["token_logprobs"] == json::array({nullptr}));
  CHECK(one[0]["logprobs"]["text_offset"] == json::array({0}));

  for (const int tokens : {0, 3}) {
    INFO(tokens << " tokens");
    const json expected = choices(tiny, {{"max_tokens", tokens}})[0];
    const json body = asked({{"max_tokens", tokens}, {"stream", true}});
    const Answer streamed = ask(tiny.port(), post(kCompletion, body.dump()));
    std::string text;
    CHECK(joined(streamed.body, &text) == expected["logprobs"]);
    CHECK(text == expected["text"]);
    CHECK(streamed.body.find("data: [DONE]") != std::string::npos);
  }

  std::vector<int> ids;
  for (const char c : std::string("Hello")) ids.push_back(c - 30);
  const json several =
      choices(tiny, {{"prompt", {"Hello", "a", "wide"}}, {"n", 2}, {"logprobs", 0}});
  REQUIRE(several.size() == 6);
  CHECK(several[0]["logprobs"] == several[1]["logprobs"]);  // greedy
  CHECK(several[0]["logprobs"] == choices(tiny, {{"prompt", ids}, {"logprobs", 0}})[0]["logprobs"]);
  CHECK(several[3]["logprobs"] == choices(tiny, {{"prompt", "a"}, {"logprobs", 0}})[0]["logprobs"]);
  CHECK(several[0]["logprobs"]["top_logprobs"][1] == json::object());
}

TEST_CASE("scored prompts: the token that ends an answer has an entry, too") {
  TinyServer tiny;
  const json choice =
      choices(tiny, {{"ignore_eos", false}, {"logit_bias", {{"2", 100}}}, {"max_tokens", 5}})[0];
  CHECK(choice["finish_reason"] == "stop");
  CHECK(choice["text"] == "Hello world");
  CHECK(choice["logprobs"]["tokens"].size() == 12);
  CHECK(choice["logprobs"]["tokens"][11] == "</s>");
  CHECK(choice["logprobs"]["text_offset"][11] == 11);
}

TEST_CASE("scored prompts: a large one reaches a reader that is no slower than usual") {
  TinyServer tiny([](ServeOptions& options) { options.limits.stream_buffer_bytes = 4096; });
  const json body = asked(
      {{"prompt", std::string(1500, 'a')}, {"logprobs", 20}, {"stream", true}, {"max_tokens", 40}});
  Client client(tiny.port(), 4096);
  client.send(post(kCompletion, body.dump()));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(client.answer().body.find("data: [DONE]") != std::string::npos);
}

TEST_CASE("scored prompts: more log-probabilities than an answer may hold are refused") {
  TinyServer tiny([](ServeOptions& options) {
    options.models = {
        {write_tiny_model(options.models[0].model + "-long", 16384).string(), "tiny"}};
  });
  const auto refusal = [&](const json& more) {
    const Answer answer = ask(tiny.port(), post(kCompletion, asked(more).dump()));
    CHECK(answer.status == 400);
    CHECK(answer.json()["error"]["param"] == "logprobs");
    return answer.json()["error"]["message"].get<std::string>();
  };
  const std::string prompt(13'000, 'a');
  CHECK(refusal({{"prompt", prompt}, {"logprobs", 20}}).find("shorten the prompt") !=
        std::string::npos);
  CHECK(refusal({{"prompt", std::string(12'000, 'a')}, {"logprobs", 20}, {"n", 5}})
            .find("fewer prompts") != std::string::npos);
}

TEST_CASE("scored prompts: the time in the queue and for the prompt is counted for each model") {
  TinyServer tiny;
  choices(tiny);
  choices(tiny, {{"max_tokens", 0}});
  const std::string metrics = ask(tiny.port(), get("/metrics")).body;
  for (const char* name : {"troupe_queue_seconds", "troupe_prefill_seconds"}) {
    const std::string sample = std::string(name) + "_count{model=\"tiny\",key=";
    const std::size_t at = metrics.find(sample);
    REQUIRE(at != std::string::npos);
    CHECK(metrics.substr(metrics.find("} ", at) + 2, 1) == "2");
  }
}
