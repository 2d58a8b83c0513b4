#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include <catch2/catch.hpp>

#include <troupe/actors/http/api_keys.h>
#include <troupe/actors/http/stored_stream.h>
#include <troupe/actors/journal/stream_file.h>
#include <troupe/runtime/failpoint.h>

#include "tiny_server.h"

// Streams that outlive their server, which is started again with what its file has of them.

using namespace troupe;
using namespace troupe::http::test;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

const char* const kChats = "/v1/chat/completions";
const char* const kTexts = "/v1/completions";

// A server whose home outlives it.
class RestartedServer {
 public:
  explicit RestartedServer(const fs::path& folder,
                           const std::function<void(ServeOptions&)>& change = {}) {
    if (!fs::exists(folder / "tiny")) write_tiny_model(folder);
    auto opened = Cluster::local({folder / "home", 1});
    REQUIRE(opened);
    cluster_.emplace(std::move(*opened));
    ServeOptions options;
    options.port = 0;
    options.models = {{(folder / "tiny").string(), "tiny"}};
    if (change) change(options);
    auto served = cluster_->serve(options);
    INFO((served ? std::string() : served.message()));
    REQUIRE(served);
    server_.emplace(std::move(*served));
  }
  std::uint16_t port() const { return server_->port(); }
  Cluster& cluster() { return *cluster_; }
  HttpServer& server() { return *server_; }

 private:
  std::optional<Cluster> cluster_;
  std::optional<HttpServer> server_;
};

fs::path file_in(const fs::path& folder) { return folder / "home" / "streams" / "127.0.0.1-0.db"; }

json streamed_chat(int max_tokens, const json& more = json::object()) {
  json body = {{"model", "tiny"},          {"messages", {{{"role", "user"}, {"content", "Hello"}}}},
               {"max_tokens", max_tokens}, {"ignore_eos", true},
               {"temperature", 0},         {"stream", true}};
  body.update(more);
  return body;
}

json streamed_text(const json& prompt, int max_tokens, const json& more = json::object()) {
  json body = {{"model", "tiny"},    {"prompt", prompt}, {"max_tokens", max_tokens},
               {"ignore_eos", true}, {"temperature", 0}, {"stream", true}};
  body.update(more);
  return body;
}

struct SentEvent {
  std::string id, data;  // data: with the line of the id, as it came
};
std::vector<SentEvent> sent_events(const std::string& body) {
  std::vector<SentEvent> events;
  for (std::size_t at = 0; at < body.size();) {
    const std::size_t end = body.find("\n\n", at);
    if (end == std::string::npos) break;
    const std::string event = body.substr(at, end - at);
    at = end + 2;
    if (event[0] == ':') continue;  // a comment
    const bool has_id = event.rfind("id: ", 0) == 0;
    events.push_back({has_id ? event.substr(4, event.find('\n') - 4) : "", event});
  }
  return events;
}

// Returns for each choice its events in order, without their ids, and under -1 the other events.
std::map<int, std::vector<std::string>> by_choice(const std::vector<SentEvent>& events) {
  std::map<int, std::vector<std::string>> all;
  for (const SentEvent& event : events) {
    const std::string data = event.data.substr(event.data.find("data: ") + 6);
    int choice = -1;
    if (data != "[DONE]") {
      const json chunk = json::parse(data);
      if (!chunk["choices"].empty()) choice = chunk["choices"][0]["index"].get<int>();
    }
    all[choice].push_back(data);
  }
  return all;
}

std::string name_of(const SentEvent& event) { return event.id.substr(0, event.id.rfind(':')); }
std::string position_of(const SentEvent& event) { return event.id.substr(event.id.rfind(':') + 1); }

// Restores the file as it was after `count` events had been written and the server was killed.
void cut_news(const fs::path& file, std::size_t count) {
  std::vector<actors::StoredStream> stored;
  {
    auto opened = actors::StreamFile::open(file);
    REQUIRE(opened);
    auto loaded = (*opened)->load();
    REQUIRE(loaded);
    stored = std::move(*loaded);
  }
  fs::remove_all(file.parent_path());
  auto opened = actors::StreamFile::open(file);
  REQUIRE(opened);
  for (actors::StoredStream& stream : stored) {
    std::vector<http::AnswerEvent> events;
    for (const std::string& news : stream.news) {
      const auto some = http::decode_events(news);
      REQUIRE(some);
      events.insert(events.end(), some->begin(), some->end());
    }
    events.resize(std::min(count, events.size()));
    stream.rested_ms = 0;
    stream.news.clear();
    REQUIRE(
        (*opened)->write({.begun = {stream}, .said = {{stream.id, http::encode_events(events)}}}));
  }
}

bool is_in_files(const fs::path& folder, const std::string& bytes) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (all.find(bytes) != std::string::npos) return true;
  }
  return false;
}

std::string bytes_of(const std::vector<std::int32_t>& ids) {
  return {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(ids[0])};
}

Answer with_key(std::uint16_t port, const std::string& request_path, const std::string& key,
                const json& body = json()) {
  const std::string more = key.empty() ? "" : "Authorization: Bearer " + key + "\r\n";
  return ask(port,
             body.is_null() ? get(request_path, more) : post(request_path, body.dump(), more));
}

}  // namespace

TEST_CASE("kept streams: a server that was killed after any event goes on with the same bytes") {
  struct Asked {
    const char* path;
    json body;
  };
  const json sampled = {{"temperature", 1.2}, {"seed", 5}};
  const json usage = {{"stream_options", {{"include_usage", true}}}};
  json logprobs = sampled;
  logprobs.update({{"logprobs", true}, {"top_logprobs", 3}});
  json several = sampled;
  several.update({{"n", 3}});
  several.update(usage);
  for (const Asked& asked : std::vector<Asked>{
           {kChats, streamed_chat(20, usage)},
           {kChats, streamed_chat(20, logprobs)},
           {kChats, streamed_chat(200, {{"temperature", 1.2}, {"seed", 9}, {"stop", {"a", "7z"}}})},
           {kChats, streamed_chat(8, several)},
           {kTexts, streamed_text({"abc", "xyz"}, 8,
                                  {{"echo", true}, {"seed", 3}, {"n", 2}, {"temperature", 0.9}})},
           {kTexts, streamed_text("abc", 6, {{"logprobs", 2}})}}) {
    TemporaryFolder folder;
    std::vector<SentEvent> whole;
    {
      RestartedServer server(folder.path);
      const Answer answer = ask(server.port(), post(asked.path, asked.body.dump()));
      INFO(answer.body);
      REQUIRE(answer.status == 200);
      whole = sent_events(answer.body);
      REQUIRE(whole.back().data == "data: [DONE]");
    }
    const std::string id = name_of(whole[0]);
    const bool one = whole[0].id.find('.') == std::string::npos;
    const std::size_t ends = whole.size() - 1;
    for (const std::size_t written : {std::size_t{0}, std::size_t{1}, std::size_t{5}}) {
      cut_news(file_in(folder.path), written);
      RestartedServer server(folder.path);
      for (const std::size_t have : {std::size_t{0}, std::size_t{1}, ends / 2, ends}) {
        INFO(asked.body.dump() << " written " << written << " have " << have);
        const std::string from = have == 0 ? "0" : position_of(whole[have - 1]);
        const Answer rest = ask(server.port(), get("/v1/streams/" + id + "?from=" + from));
        REQUIRE(rest.status == 200);
        const auto events = sent_events(rest.body);
        const std::vector<SentEvent> wanted(whole.begin() + static_cast<std::ptrdiff_t>(have),
                                            whole.end());
        CHECK(by_choice(events) == by_choice(wanted));
        REQUIRE(events.size() == wanted.size());
        CHECK(events.back().id == wanted.back().id);
        if (ends > have) CHECK(events[ends - have - 1].id == wanted[ends - have - 1].id);
        if (!one) continue;
        for (std::size_t i = 0; i < events.size(); ++i) CHECK(events[i].data == wanted[i].data);
      }
    }
  }
}

TEST_CASE("kept streams: only the key that asked takes one up, also by its name") {
  TemporaryFolder folder;
  const std::string keys = (folder.path / "keys").string();
  const auto new_key = [&](const std::string& name) {
    http::ApiKey described;
    described.name = name;
    auto key = http::add_api_key(keys, described);
    REQUIRE(key);
    return *key;
  };
  const std::string one = new_key("one"), two = new_key("two");
  const auto with_keys = [&](ServeOptions& options) { options.api_key_file = keys; };
  std::string path;
  {
    RestartedServer server(folder.path, with_keys);
    const Answer answer = with_key(server.port(), kChats, one, streamed_chat(6));
    REQUIRE(answer.status == 200);
    path = "/v1/streams/" + name_of(sent_events(answer.body)[0]);
    CHECK(with_key(server.port(), path, two).status == 404);
    CHECK(with_key(server.port(), path, one).status == 200);
  }
  {
    RestartedServer server(folder.path, with_keys);
    CHECK(with_key(server.port(), path, two).status == 404);
    CHECK(with_key(server.port(), path, one).status == 200);
    CHECK(with_key(server.port(), path + "?from=1.2", one).status == 400);
  }
  // The name gets another key, which is another person's.
  fs::remove(keys);
  const std::string other = new_key("one");
  {
    RestartedServer server(folder.path, with_keys);
    CHECK(with_key(server.port(), path, other).status == 404);
    CHECK(with_key(server.port(), path, one).status == 401);
  }
  // The record of the stream is gone for good now.
  auto file = actors::StreamFile::open(file_in(folder.path));
  REQUIRE(file);
  CHECK((*file)->load()->empty());
}

TEST_CASE(
    "kept streams: prompts leave the disk with their records, and never come with --no-resume") {
  TemporaryFolder folder;
  // Characters are tokens, so search for the word itself and for its ids.
  const std::string word = "xyzzyplanted";
  std::vector<std::int32_t> ids;
  for (const char c : word) ids.push_back(c - 30);
  const json body = streamed_chat(6, {{"messages", {{{"role", "user"}, {"content", word}}}}});
  const auto is_there = [&] {
    return is_in_files(folder.path, word) || is_in_files(folder.path, bytes_of(ids));
  };
  {
    RestartedServer server(folder.path, [](ServeOptions& options) { options.resume = false; });
    const Answer answer = ask(server.port(), post(kChats, body.dump()));
    REQUIRE(answer.status == 200);
    CHECK(!is_there());
    const std::string path = "/v1/streams/" + name_of(sent_events(answer.body)[0]);
    CHECK(ask(server.port(), get(path)).status == 404);
  }
  CHECK(!is_there());
  {
    RestartedServer server(folder.path,
                           [](ServeOptions& options) { options.limits.stream_rest_ms = 1500; });
    REQUIRE(ask(server.port(), post(kChats, body.dump())).status == 200);
    json unstreamed = body;
    unstreamed["stream"] = false;
    REQUIRE(ask(server.port(), post(kChats, unstreamed.dump())).status == 200);
    CHECK(is_there());
    bool gone = false;
    for (int i = 0; i < 200 && !gone; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      gone = !is_there();
    }
    CHECK(gone);
    CHECK(fs::exists(file_in(folder.path)));
  }
  CHECK(!is_there());
}

TEST_CASE("kept streams: the news of all are five transactions a second, and those that begin") {
  TemporaryFolder folder;
  struct Disarm {
    ~Disarm() { disarm_failpoints(); }
  } disarm;
  std::atomic<int> commits{0};
  RestartedServer server(folder.path);
  arm_failpoint("journal.write_streams.after_commit", 1, [&] {
    ++commits;
    return Status::ok();
  });
  const auto began = std::chrono::steady_clock::now();
  std::vector<std::thread> clients;
  std::atomic<int> complete{0};
  for (int i = 0; i < 12; ++i) {
    clients.emplace_back([&, i] {
      const json body = streamed_chat(700, {{"temperature", 1}, {"seed", i}});
      const Answer answer = ask(server.port(), post(kChats, body.dump()));
      complete += answer.body.ends_with("data: [DONE]\n\n");
    });
  }
  for (std::thread& client : clients) client.join();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  CHECK(complete == 12);
  CHECK(commits >= 2);
  INFO(commits << " commits in " << seconds << " s");
  CHECK(commits <= 12 + 5 * seconds + 1);
}

TEST_CASE("kept streams: answers go on while the file cannot be written") {
  TemporaryFolder folder;
  struct Disarm {
    ~Disarm() { disarm_failpoints(); }
  } disarm;
  RestartedServer server(folder.path);
  arm_failpoint("journal.write_streams.before_commit", 1,
                [] { return Status(Code::kResourceExhausted, "the disk is full"); });
  const Answer answer = ask(server.port(), post(kChats, streamed_chat(12).dump()));
  REQUIRE(answer.status == 200);
  const auto events = sent_events(answer.body);
  CHECK(events.back().data == "data: [DONE]");
  // This process still has the stream.
  const Answer again = ask(server.port(), get("/v1/streams/" + name_of(events[0])));
  CHECK(sent_events(again.body).size() == events.size());
}

TEST_CASE("kept streams: of one key the latest 64 that have ended stay") {
  TemporaryFolder folder;
  std::vector<std::string> paths;
  const auto limit = [](ServeOptions& options) { options.limits.stream_rest_ms = 30'000; };
  {
    RestartedServer server(folder.path, limit);
    for (int i = 0; i < 70; ++i) {
      const Answer answer = ask(server.port(), post(kChats, streamed_chat(1).dump()));
      REQUIRE(answer.status == 200);
      paths.push_back("/v1/streams/" + name_of(sent_events(answer.body)[0]));
    }
  }
  RestartedServer server(folder.path, limit);  // the new server, too, sweeps at once
  CHECK(ask(server.port(), get(paths[0])).status == 404);
  CHECK(ask(server.port(), get(paths[5])).status == 404);
  CHECK(ask(server.port(), get(paths[6])).status == 200);
  CHECK(ask(server.port(), get(paths[69])).status == 200);
}

TEST_CASE("kept streams: what was begun with other weights is not continued, and says so") {
  TemporaryFolder folder;
  std::string id;
  {
    RestartedServer server(folder.path);
    const Answer answer = ask(server.port(), post(kChats, streamed_chat(12).dump()));
    id = name_of(sent_events(answer.body)[0]);
  }
  cut_news(file_in(folder.path), 4);
  fs::remove_all(folder.path / "tiny");
  write_tiny_model(folder.path, 1024);  // the model's header differs, and so does its hash
  {
    RestartedServer server(folder.path);
    const auto events = sent_events(ask(server.port(), get("/v1/streams/" + id)).body);
    REQUIRE(events.size() >= 2);
    CHECK(events.back().data.find("was begun with other weights") != std::string::npos);
    CHECK(events.back().id ==
          events[events.size() - 2].id);  // the error is not an event of the answer
  }
  // The model is not served any more, so nobody can have the stream.
  RestartedServer server(folder.path, [](ServeOptions& options) { options.models[0].id = "new"; });
  CHECK(ask(server.port(), get("/v1/streams/" + id)).status == 404);
}

TEST_CASE("kept streams: a server that shuts down leaves its streams to the next one") {
  TemporaryFolder folder;
  std::string id, first;
  {
    RestartedServer server(folder.path, [](ServeOptions& options) { options.limits.drain_ms = 0; });
    Client client(server.port());
    client.send(post(kChats, streamed_chat(1900, {{"temperature", 1}, {"seed", 2}}).dump()));
    REQUIRE(client.read_until(
        [](const std::string& all) { return all.find(":5\ndata: ") != std::string::npos; }));
    server.server().shut_down();
    client.read_until([](const std::string&) { return false; }, 2000);
    const std::size_t at = client.received().find("\nid: ") + 5;
    id = client.received().substr(at, client.received().find(':', at) - at);
    CHECK(client.received().find("shutting down") != std::string::npos);
  }
  RestartedServer server(folder.path);
  const Answer rest = ask(server.port(), get("/v1/streams/" + id + "?from=5"));
  REQUIRE(rest.status == 200);
  CHECK(rest.body.ends_with("data: [DONE]\n\n"));
  CHECK(rest.body.find("\"error\"") == std::string::npos);
}
