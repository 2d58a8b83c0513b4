#include <set>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "tiny_server.h"

// The server over real sockets, with a very small model.

using namespace troupe;
using namespace troupe::http::test;
using nlohmann::json;

namespace {

const char* const kChat = "/v1/chat/completions";
const char* const kCompletion = "/v1/completions";

json chat(int max_tokens, const json& more = json::object()) {
  json body = {{"model", "tiny"},
               {"messages", {{{"role", "user"}, {"content", "Hello"}}}},
               {"max_tokens", max_tokens},
               {"ignore_eos", true},
               {"temperature", 0}};
  body.update(more);
  return body;
}

// Returns the events of a stream: the data of each, without those that are comments.
std::vector<std::string> events_of(const std::string& body) {
  std::vector<std::string> events;
  for (std::size_t at = 0; at < body.size();) {
    const std::size_t end = body.find("\n\n", at);
    if (end == std::string::npos) break;
    const std::string event = body.substr(at, end - at);
    const std::size_t data = event.find("data: ");
    if (data != std::string::npos) events.push_back(event.substr(data + 6));
    at = end + 2;
  }
  return events;
}

std::string text_of(const std::vector<std::string>& events) {
  std::string text;
  for (const std::string& event : events) {
    if (event == "[DONE]") continue;
    const json chunk = json::parse(event);
    for (const json& choice : chunk["choices"]) {
      text += choice.contains("delta") ? choice["delta"].value("content", "")
                                       : choice.value("text", "");
    }
  }
  return text;
}

std::uint64_t running(Cluster& cluster) {
  const auto status = cluster.status();
  REQUIRE(status);
  std::uint64_t count = 0;
  for (const DeploymentStatus& one : status->deployments) count += one.running + one.queued;
  return count;
}

bool comes_to_rest(Cluster& cluster) {
  for (int i = 0; i < 100; ++i) {
    if (running(cluster) == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

}  // namespace

TEST_CASE("http server: answers a conversation, streamed or not, with the same text") {
  TinyServer tiny;
  const Answer whole = ask(tiny.port(), post(kChat, chat(20).dump()));
  INFO(whole.head << whole.body);
  REQUIRE(whole.status == 200);
  const json object = whole.json();
  CHECK(object["object"] == "chat.completion");
  CHECK(object["model"] == "tiny");
  CHECK(object["choices"][0]["finish_reason"] == "length");
  CHECK(object["choices"][0]["message"]["role"] == "assistant");
  CHECK(object["usage"]["completion_tokens"] == 20);
  CHECK(object["usage"]["total_tokens"] == 20 + object["usage"]["prompt_tokens"].get<int>());
  CHECK(object["system_fingerprint"].get<std::string>().rfind("fp_", 0) == 0);
  CHECK(!whole.header("X-Request-Id").empty());

  const json options = {{"stream", true}, {"stream_options", {{"include_usage", true}}}};
  const Answer streamed = ask(tiny.port(), post(kChat, chat(20, options).dump()));
  REQUIRE(streamed.status == 200);
  CHECK(streamed.header("Content-Type") == "text/event-stream; charset=utf-8");
  CHECK(streamed.header("X-Accel-Buffering") == "no");
  const auto events = events_of(streamed.body);
  REQUIRE(events.size() > 3);
  CHECK(events.back() == "[DONE]");
  CHECK(text_of(events) == object["choices"][0]["message"]["content"]);
  const json usage = json::parse(events[events.size() - 2]);
  CHECK(usage["choices"].empty());
  CHECK(usage["usage"] == object["usage"]);
  CHECK(json::parse(events[0])["choices"][0]["delta"]["role"] == "assistant");
  CHECK(json::parse(events[0])["usage"].is_null());
  // Every event has an id except the last one, which is not part of the answer.
  CHECK(streamed.body.find("\nid: ") != std::string::npos);
}

TEST_CASE("http server: a seed that is drawn is returned, and gives the same text again") {
  TinyServer tiny;
  const json drawn = {{"temperature", 1.5}};
  const json first = ask(tiny.port(), post(kChat, chat(16, drawn).dump())).json();
  const json other = ask(tiny.port(), post(kChat, chat(16, drawn).dump())).json();
  CHECK(first["seed"] != other["seed"]);
  CHECK(first["choices"][0]["message"] != other["choices"][0]["message"]);
  const json again = {{"temperature", 1.5}, {"seed", first["seed"]}};
  const json same = ask(tiny.port(), post(kChat, chat(16, again).dump())).json();
  CHECK(same["choices"] == first["choices"]);
  CHECK(same["seed"] == first["seed"]);
}

TEST_CASE("http server: several choices differ, and each is reproducible") {
  TinyServer tiny;
  const json more = {{"temperature", 1.2}, {"n", 4}, {"seed", 7}};
  const json first = ask(tiny.port(), post(kChat, chat(12, more).dump())).json();
  REQUIRE(first["choices"].size() == 4);
  std::set<std::string> texts;
  for (const json& choice : first["choices"]) texts.insert(choice["message"]["content"]);
  CHECK(texts.size() == 4);
  CHECK(first["usage"]["completion_tokens"] == 48);
  const json again = ask(tiny.port(), post(kChat, chat(12, more).dump())).json();
  CHECK(again["choices"] == first["choices"]);
}

TEST_CASE("http server: log-probabilities are read back as the bits that the facade gives") {
  TinyServer tiny;
  GenerateRequest request;
  request.model = (tiny.folder() / "tiny").string();
  request.prompt = "Hello world";
  request.raw = true;
  request.max_tokens = 8;
  request.ignore_end = true;
  request.sampling.logprobs = 3;
  std::vector<std::vector<model::TokenLogprob>> expected;
  REQUIRE(tiny.cluster().generate(request, [&](const TokenEvent& event) {
    expected.push_back(event.logprobs);
    return true;
  }));
  const json body = {{"model", "tiny"},    {"prompt", "Hello world"}, {"max_tokens", 8},
                     {"ignore_eos", true}, {"temperature", 0},        {"logprobs", 3}};
  const json legacy = ask(tiny.port(), post(kCompletion, body.dump())).json();
  const json& list = legacy["choices"][0]["logprobs"];
  REQUIRE(list["tokens"].size() == 8);
  std::size_t offset = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(list["token_logprobs"][i].get<float>() == expected[i][0].logprob);
    CHECK(list["text_offset"][i] == offset);
    offset += list["tokens"][i].get<std::string>().size();  // ASCII
  }
  const json more = {{"logprobs", true}, {"top_logprobs", 3}};
  const json object = ask(tiny.port(), post(kChat, chat(8, more).dump())).json();
  const json& content = object["choices"][0]["logprobs"]["content"];
  REQUIRE(content.size() == 8);
  CHECK(content[0]["top_logprobs"].size() == 3);
  CHECK(content[0]["bytes"].is_array());
}

TEST_CASE("http server: stop texts end the answer before them") {
  TinyServer tiny;
  const json free = ask(tiny.port(), post(kChat, chat(24).dump())).json();
  const std::string text = free["choices"][0]["message"]["content"];
  REQUIRE(text.size() > 10);
  const std::string stop = text.substr(6, 2);
  const json more = {{"stop", {stop, "never seen"}}};
  const json stopped = ask(tiny.port(), post(kChat, chat(24, more).dump())).json();
  CHECK(stopped["choices"][0]["finish_reason"] == "stop");
  CHECK(stopped["choices"][0]["message"]["content"] == text.substr(0, text.find(stop)));
  json streaming = more;
  streaming["stream"] = true;
  const auto events = events_of(ask(tiny.port(), post(kChat, chat(24, streaming).dump())).body);
  CHECK(text_of(events) == text.substr(0, text.find(stop)));
}

TEST_CASE("http server: completions take texts and ids, one or several, and echo them") {
  TinyServer tiny;
  const auto complete = [&](json body) {
    body.update({{"model", "tiny"}, {"ignore_eos", true}, {"temperature", 0}});
    if (!body.contains("max_tokens")) body["max_tokens"] = 6;
    const Answer answer = ask(tiny.port(), post(kCompletion, body.dump()));
    INFO(answer.body);
    REQUIRE(answer.status == 200);
    return answer.json();
  };
  const json text = complete({{"prompt", "abc"}});
  const json ids = complete({{"prompt", {97 - 30, 98 - 30, 99 - 30}}});
  CHECK(text["choices"] == ids["choices"]);
  CHECK(text["object"] == "text_completion");
  const json several = complete({{"prompt", {"abc", "xyz"}}, {"n", 2}});
  REQUIRE(several["choices"].size() == 4);
  CHECK(several["choices"][0]["text"] == text["choices"][0]["text"]);
  CHECK(several["choices"][2]["text"] == complete({{"prompt", "xyz"}})["choices"][0]["text"]);
  CHECK(several["choices"][3]["index"] == 3);
  CHECK(several["usage"]["prompt_tokens"] == 6);
  const json echoed = complete({{"prompt", "abc"}, {"echo", true}});
  CHECK(echoed["choices"][0]["text"] == "abc" + text["choices"][0]["text"].get<std::string>());
  const json none = complete({{"prompt", "abc"}, {"echo", true}, {"max_tokens", 0}});
  CHECK(none["choices"][0]["text"] == "abc");
  CHECK(none["usage"]["completion_tokens"] == 0);
}

TEST_CASE("http server: a prompt is never cut") {
  TinyServer tiny;
  const json long_one = {{"messages", {{{"role", "user"}, {"content", std::string(3000, 'x')}}}}};
  const Answer refused = ask(tiny.port(), post(kChat, chat(4, long_one).dump()));
  CHECK(refused.status == 400);
  const json error = refused.json()["error"];
  CHECK(error["code"] == "context_length_exceeded");
  CHECK(error["param"] == "messages");
  CHECK(error["message"].get<std::string>().starts_with(
      "This model's maximum context length is 2048 tokens"));
  CHECK(error["message"].get<std::string>().find("30") != std::string::npos);
  CHECK(ask(tiny.port(), post(kChat, chat(2048).dump())).status == 400);
  // Without max_tokens, a chat goes on to the end of the context.
  json open = chat(1);
  open.erase("max_tokens");
  const json all = ask(tiny.port(), post(kChat, open.dump())).json();
  CHECK(all["usage"]["total_tokens"] == 2048);
  CHECK(all["choices"][0]["finish_reason"] == "length");
}

TEST_CASE("http server: a client that goes away frees its rows, streaming or not") {
  TinyServer tiny;
  for (const bool stream : {true, false}) {
    for (const bool early : {true, false}) {
      Client client(tiny.port());
      client.send(post(kChat, chat(2000, {{"stream", stream}, {"n", 3}}).dump()));
      if (!early) {
        for (int i = 0; i < 200 && running(tiny.cluster()) < 3; ++i) {
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        CHECK(running(tiny.cluster()) == 3);
      }
      client.close();
      // An early request may reach the engine only now.
      if (early) std::this_thread::sleep_for(std::chrono::milliseconds(300));
      CHECK(comes_to_rest(tiny.cluster()));
    }
  }
}

TEST_CASE("http server: a reader that is too slow is cut, and nobody else") {
  TinyServer tiny([](ServeOptions& options) { options.limits.stream_buffer_bytes = 20'000; });
  Client slow(tiny.port(), 4096);
  slow.send(
      post(kChat, chat(2000, {{"stream", true}, {"logprobs", true}, {"top_logprobs", 20}}).dump()));
  // The client reads nothing; the kernel's own buffers have room for a part of the answer.
  const Answer other = ask(tiny.port(), post(kChat, chat(30, {{"stream", true}}).dump()));
  CHECK(events_of(other.body).back() == "[DONE]");
  CHECK(comes_to_rest(tiny.cluster()));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(slow.closed());
  CHECK(slow.received().find("[DONE]") == std::string::npos);
}

TEST_CASE("http server: connections stay open, and bad bytes close them") {
  TinyServer tiny;
  Client client(tiny.port());
  client.send(get("/health") + get("/health") + post(kChat, chat(3).dump()) + get("/v1/models"));
  CHECK(client.answer().status == 200);
  CHECK(client.answer().status == 200);
  CHECK(client.answer().json()["usage"]["completion_tokens"] == 3);
  const Answer models = client.answer();
  CHECK(models.json()["data"][0]["id"] == "tiny");
  client.send("GET / HTTP/1.1\nHost: localhost\n\n");
  const Answer bad = client.answer();
  CHECK(bad.status == 400);
  CHECK(bad.json()["error"]["type"] == "invalid_request_error");
  CHECK(bad.header("Connection") == "close");
  CHECK(client.closed());
}

TEST_CASE("http server: HEAD, OPTIONS, and paths and methods that are not there") {
  TinyServer tiny;
  Client client(tiny.port());
  client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const Answer head = client.answer(true);
  CHECK((head.status == 200 && std::stoi(head.header("Content-Length")) > 0));
  client.send("OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const Answer options = client.answer();
  CHECK((options.status == 204 && options.header("Allow") == "GET, HEAD, OPTIONS"));
  CHECK(options.header("Access-Control-Allow-Origin").empty());
  client.send(get("/v1/chat/completions"));
  const Answer method = client.answer();
  CHECK((method.status == 405 && method.header("Allow") == "POST, OPTIONS"));
  client.send(get("/v2/models"));
  CHECK(client.answer().status == 404);
  client.send(get("/v1/models/tiny?beta=true"));
  CHECK(client.answer().json()["id"] == "tiny");
  client.send(get("/v1/models/other"));
  CHECK(client.answer().json()["error"]["code"] == "model_not_found");
}

TEST_CASE("http server: hosts, origins and forms are compared whole") {
  TinyServer tiny([](ServeOptions& options) {
    options.allowed_hosts = {"models.example.org"};
    options.allowed_origins = {"https://app.example.org"};
  });
  const auto with_host = [&](const std::string& host) {
    return ask(tiny.port(), "GET /health HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status;
  };
  for (const char* const host :
       {"localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:5", "models.example.org:443"}) {
    INFO(host);
    CHECK(with_host(host) == 200);
  }
  for (const char* const host : {"localhost.evil.example", "evil.example", "127.0.0.1.evil.example",
                                 "localhost:80@evil.example", "[::1", "127.0.0.2", "a localhost"}) {
    INFO(host);
    CHECK(with_host(host) == 403);
  }
  const auto with_origin = [&](const std::string& origin) {
    return ask(tiny.port(), get("/v1/models", "Origin: " + origin + "\r\n"));
  };
  CHECK(with_origin("https://app.example.org").status == 200);
  CHECK(with_origin("https://app.example.org").header("Access-Control-Allow-Origin") ==
        "https://app.example.org");
  for (const char* const origin : {"https://app.example.org.evil.example", "null",
                                   "http://app.example.org", "https://app.example.org/", ""}) {
    INFO(origin);
    CHECK(with_origin(origin).status == 403);
    CHECK(with_origin(origin).header("Access-Control-Allow-Origin").empty());
  }
  const std::string body = chat(2).dump();
  const Answer form = ask(tiny.port(),
                          "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                          "Content-Type: text/plain\r\nContent-Length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body);
  CHECK(form.status == 415);
}

TEST_CASE("http server: headers and bodies that come by drips end in time") {
  TinyServer tiny([](ServeOptions& options) {
    options.limits.header_ms = 300;
    options.limits.body_ms = 300;
    options.limits.idle_ms = 300;
  });
  Client header(tiny.port());
  const auto began = std::chrono::steady_clock::now();
  header.send("GET / HTTP/1.1\r\n");
  for (int i = 0; i < 6; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(80));
    header.send("X-" + std::to_string(i) + ": 1\r\n");
  }
  CHECK(header.answer().status == 408);
  CHECK(header.closed());
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(4));
  Client body(tiny.port());
  body.send(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: 100\r\n\r\n{");
  CHECK(body.answer().status == 408);
  Client silent(tiny.port());
  CHECK(silent.closed(2000));
  Client idle(tiny.port());
  idle.send(get("/health"));
  CHECK(idle.answer().status == 200);
  CHECK(idle.closed(2000));
}

TEST_CASE("http server: there are no more connections than allowed") {
  TinyServer tiny([](ServeOptions& options) { options.limits.connections = 2; });
  Client first(tiny.port()), second(tiny.port());
  first.send(get("/health"));
  CHECK(first.answer().status == 200);
  second.send(get("/health"));
  CHECK(second.answer().status == 200);
  Client third(tiny.port());
  const Answer refused = third.answer();
  CHECK(refused.status == 503);
  CHECK(refused.header("Retry-After") == "1");
  first.close();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  Client fourth(tiny.port());
  fourth.send(get("/health"));
  CHECK(fourth.answer().status == 200);
}

TEST_CASE("http server: there are no more answers than allowed, and that is a status") {
  TinyServer tiny([](ServeOptions& options) { options.limits.answers = 3; });
  const json stream = {{"stream", true}};
  Client busy(tiny.port());
  busy.send(post(kChat, chat(2000, {{"stream", true}, {"n", 3}}).dump()));
  REQUIRE(busy.read_until(
      [](const std::string& all) { return all.find("data: ") != std::string::npos; }));
  const Answer refused = ask(tiny.port(), post(kChat, chat(2, stream).dump()));
  CHECK(refused.status == 429);
  CHECK(!refused.header("Retry-After").empty());
  CHECK(!refused.header("retry-after-ms").empty());
  CHECK(ask(tiny.port(), get("/ready")).status == 200);
  busy.close();
  CHECK(comes_to_rest(tiny.cluster()));
  CHECK(ask(tiny.port(), post(kChat, chat(2, stream).dump())).status == 200);
}

TEST_CASE("http server: it shuts down when the open answers have ended") {
  TinyServer tiny;
  Client client(tiny.port());
  client.send(post(kChat, chat(400, {{"stream", true}}).dump()));
  REQUIRE(client.read_until(
      [](const std::string& all) { return all.find("data: ") != std::string::npos; }));
  Client watcher(tiny.port());
  std::thread ending([&] { tiny.server().shut_down(); });
  for (int i = 0; i < 100; ++i) {
    watcher.send(get("/ready"));
    if (watcher.answer().status == 503) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  CHECK(ask(tiny.port(), post(kChat, chat(2).dump())).status == 503);
  const Answer whole = client.answer();
  CHECK(events_of(whole.body).back() == "[DONE]");
  ending.join();
}

TEST_CASE("http server: what cannot be served is refused before it listens") {
  TinyServer tiny;
  const auto refusal = [&](const std::function<void(ServeOptions&)>& change) {
    ServeOptions options;
    options.port = 0;
    options.models = {{(tiny.folder() / "tiny").string(), "tiny"}};
    change(options);
    return tiny.cluster().serve(options).status();
  };
  CHECK(refusal([](ServeOptions& o) { o.host = "0.0.0.0"; }).code() == Code::kInvalidArgument);
  CHECK(refusal([](ServeOptions& o) { o.models.clear(); }).code() == Code::kInvalidArgument);
  CHECK(refusal([](ServeOptions& o) { o.models.push_back(o.models[0]); }).code() ==
        Code::kInvalidArgument);
  CHECK(refusal([](ServeOptions& o) { o.models[0].id = "a\nb"; }).code() == Code::kInvalidArgument);
  CHECK(refusal([](ServeOptions& o) { o.host = "no.such.address"; }).code() ==
        Code::kInvalidArgument);
  CHECK(refusal([&](ServeOptions& o) { o.port = tiny.port(); }).code() == Code::kAlreadyExists);
  CHECK(refusal([](ServeOptions& o) { o.tls_cert = "x"; }).code() == Code::kInvalidArgument);
  CHECK(refusal([](ServeOptions& o) { o.models[0].model = "/no/such/file"; }).code() ==
        Code::kNotFound);
}

TEST_CASE("http server: a stream that breaks at any event is taken up, to the same bytes") {
  TinyServer tiny;
  for (const json& more : std::vector<json>{
           json::object(),
           {{"temperature", 1.3}, {"seed", 11}, {"logprobs", true}, {"top_logprobs", 2}},
           {{"stream_options", {{"include_usage", true}}}}}) {
    json body = chat(24, more);
    body["stream"] = true;
    const auto whole = events_of(ask(tiny.port(), post(kChat, body.dump())).body);
    REQUIRE(whole.back() == "[DONE]");
    for (const std::size_t from : {0, 1, 7, 20}) {
      INFO(more.dump() << " from " << from);
      Client client(tiny.port());
      client.send(post(kChat, body.dump()));
      const std::string mark = ":" + std::to_string(from == 0 ? 1 : from) + "\ndata: ";
      REQUIRE(client.read_until(
          [&](const std::string& all) { return all.find(mark) != std::string::npos; }));
      const std::size_t at = client.received().find("\nid: ") + 5;
      const std::string id = client.received().substr(at, client.received().find(':', at) - at);
      client.close();
      CHECK(comes_to_rest(tiny.cluster()));
      const Answer rest =
          ask(tiny.port(), get("/v1/streams/" + id + "?from=" + std::to_string(from)));
      REQUIRE(rest.status == 200);
      const auto events = events_of(rest.body);
      REQUIRE(events.size() == whole.size() - from);
      // Ids and times differ between two answers; the texts and numbers do not.
      std::string text = text_of(events);
      CHECK(text == text_of({whole.begin() + static_cast<std::ptrdiff_t>(from), whole.end()}));
      const json last = json::parse(events[events.size() - 2]);
      const json expected = json::parse(whole[whole.size() - 2]);
      CHECK(last["choices"] == expected["choices"]);
      if (expected.contains("usage")) CHECK(last["usage"] == expected["usage"]);
      // Ask once more, now that it is complete, with the header that browsers send.
      const Answer again = ask(
          tiny.port(),
          post(kChat, body.dump(), "Last-Event-ID: " + id + ":" + std::to_string(from) + "\r\n"));
      CHECK(events_of(again.body) == events);
    }
  }
  CHECK(ask(tiny.port(), get("/v1/streams/chatcmpl-none")).status == 404);
  CHECK(ask(tiny.port(), get("/v1/streams/chatcmpl-none?from=x")).status == 400);
}
