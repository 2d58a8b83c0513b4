#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/actors/http/field_table.h>
#include <troupe/actors/http/parse_ask.h>

using namespace troupe;
using namespace troupe::http;
using nlohmann::json;

namespace {

json least(AskKind kind) {
  if (kind == AskKind::kCompletion) return {{"model", "m"}, {"prompt", "p"}};
  return {{"model", "m"}, {"messages", {{{"role", "user"}, {"content", "c"}}}}};
}

std::optional<ApiError> parse(AskKind kind, const std::string& field, const json& value,
                              GenerationAsk* ask) {
  json body = least(kind);
  body[field] = value;
  // Some fields need other fields beside them.
  if (field == "top_logprobs" && kind == AskKind::kChat) body["logprobs"] = true;
  if (field == "stream_options") body["stream"] = true;
  return parse_ask(kind, body.dump(), ask);
}

// A field with values that are accepted and values that are not. `shows` tells whether an accepted
// value has its effect.
struct Case {
  const char* field;
  std::vector<json> good, bad;
  std::function<bool(const GenerationAsk&)> shows = nullptr;  // after the first good value
};

const json kUser = {{"role", "user"}, {"content", "c"}};

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {"model", {"x"}, {1, json::array()}, [](auto& a) { return a.model == "x"; }},
      {"messages",
       {json::array({{{"role", "developer"},
                      {"content", {{{"type", "text"}, {"text", "a"}}}},
                      {"name", "Al-1"}}}),
        json::array({kUser,
                     {{"role", "assistant"},
                      {"content", "x"},
                      {"refusal", nullptr},
                      {"tool_calls", json::array()}},
                     kUser})},
       {"x", json::array(), json::array({1}), json::array({{{"role", "user"}}}),
        json::array({{{"role", "king"}, {"content", "c"}}}),
        json::array({{{"role", "tool"}, {"content", "c"}}}), json::array({{{"content", "c"}}}),
        json::array({{{"role", "user"}, {"content", 5}}}),
        json::array({{{"role", "user"}, {"content", nullptr}}}),
        json::array({{{"role", "user"}, {"content", json::array()}}}),
        json::array({{{"role", "user"}, {"content", {{{"type", "image_url"}}}}}}),
        json::array({{{"role", "user"}, {"content", {{{"type", "text"}}}}}}),
        json::array(
            {{{"role", "user"}, {"content", {{{"type", "text"}, {"text", "a"}, {"x", 1}}}}}}),
        json::array({{{"role", "user"}, {"content", "c"}, {"name", "a\nb"}}}),
        json::array({{{"role", "user"}, {"content", "c"}, {"name", std::string(65, 'a')}}}),
        json::array({{{"role", "user"}, {"content", "c"}, {"tool_calls", {1}}}})},
       [](auto& a) {
         return a.messages_json == R"([{"content":"a","name":"Al-1","role":"system"}])";
       }},
      {"prompt",
       {"x", json{"a", "b"}, json{1, 2}, json{{1}, {2}}},
       {1, json::array(), json{"a", 1}, json{1, "a"}, json{-1}, json{1.5}, json{4294967296},
        json{json::array()}},
       [](auto& a) { return std::get<std::string>(a.prompts[0]) == "x"; }},
      {"n", {3}, {0, -1, 129, 1.0, "1", 9223372036854775808u}, [](auto& a) { return a.n == 3; }},
      {"best_of", {1}, {2, "1"}},
      {"seed",
       {5, -1, 0, 18446744073709551615u},
       {1.5, "5", 1e300},
       [](auto& a) { return a.seed == 5; }},
      {"max_tokens",
       {7},
       {-1, 2147483648, 9223372036854775808u, 1.5, "7", true},
       [](auto& a) { return a.max_tokens == 7; }},
      {"max_completion_tokens",
       {7},
       {-1, 0, 2147483648, 1.5, "7"},
       [](auto& a) { return a.max_tokens == 7; }},
      {"stream", {true, false}, {1, "true"}, [](auto& a) { return a.stream; }},
      {"stream_options",
       {{{"include_usage", true}},
        {{"include_usage", nullptr}},
        json::object(),
        {{"include_obfuscation", false}}},
       {1, {{"include_usage", 1}}, {{"other", 1}}, {{"include_obfuscation", true}}},
       [](auto& a) { return a.include_usage; }},
      {"stop",
       {"x", json{"a", "b"}, json::array()},
       {1, "", json{""}, json{1}, std::string(1 << 20, 'x'),
        json(std::vector<std::string>(17, "a"))},
       [](auto& a) { return a.stop == std::vector<std::string>{"x"}; }},
      {"temperature",
       {0.5, 0, 2},
       {-0.1, 2.1, "1", -1e300},
       [](auto& a) { return a.sampling.temperature == 0.5f; }},
      {"top_p", {0.5, 1}, {0, 1.1, -1, "1"}, [](auto& a) { return a.sampling.top_p == 0.5f; }},
      {"top_k", {5, 0, -1}, {-2, 1.5, 2147483648}, [](auto& a) { return a.sampling.top_k == 5; }},
      {"min_p", {0.5, 0, 1}, {-1, 1.1}, [](auto& a) { return a.sampling.min_p == 0.5f; }},
      {"typical_p", {0.5, 1}, {0, 1.1}, [](auto& a) { return a.sampling.typical == 0.5f; }},
      {"repetition_penalty",
       {1.5},
       {0, -1, 101},
       [](auto& a) { return a.sampling.repeat_penalty == 1.5f; }},
      {"presence_penalty",
       {1.5, -2},
       {2.1, "1"},
       [](auto& a) { return a.sampling.presence_penalty == 1.5f; }},
      {"frequency_penalty",
       {1.5, -2},
       {-2.1, json::array()},
       [](auto& a) { return a.sampling.frequency_penalty == 1.5f; }},
      {"logit_bias",
       {{{"5", -100}}, json::object()},
       {{{"x", 1}}, {{"5", 101}}, {{"-1", 1}}, {{"", 1}}, {{"5", "1"}}, {{"99999999999", 1}}, 5},
       [](auto& a) {
         return a.sampling.logit_bias.size() == 1 && a.sampling.logit_bias[0].id == 5 &&
                a.sampling.logit_bias[0].bias == -100;
       }},
      {"top_logprobs", {5, 0}, {-1, 21, "5"}, [](auto& a) { return a.top_logprobs == 5u; }},
      {"echo", {true, false}, {1}, [](auto& a) { return a.echo; }},
      {"ignore_eos", {true}, {1}, [](auto& a) { return a.ignore_end; }},
      {"cache_salt",
       {"a", std::string(256, 'x')},
       {1, "", std::string(257, 'x'), json::array()},
       [](auto& a) { return a.cache_salt == "a"; }},
      {"add_generation_prompt", {false}, {1}, [](auto& a) { return !a.add_generation_prompt; }},
      {"chat_template_kwargs",
       {{{"a", 1}}, json::object()},
       {1, "a"},
       [](auto& a) { return a.variables_json == R"({"a":1})"; }},
      {"metadata", {{{"a", "b"}}, json::object()}, {}},
      {"user", {"x", ""}, {}},
      {"safety_identifier", {"x"}, {}},
      {"prompt_cache_key", {"x"}, {}},
      {"prompt_cache_options", {json::object(), {{"mode", "x"}}}, {}},
      {"prompt_cache_retention", {"24h"}, {}},
      {"store", {false}, {true, 1}},
      {"priority",
       {-9, 9, 0},
       {-10, 10, 1.5, "1", 9223372036854775808u},
       [](auto& a) { return a.priority == -9; }},
      {"service_tier", {"auto", "default"}, {"flex", "priority", 1}},
      {"modalities", {json{"text"}, json::array()}, {json{"audio"}, json{"text", "audio"}}},
      {"response_format",
       {{{"type", "text"}}},
       {{{"type", "json_object"}}, {{"type", "json_schema"}, {"json_schema", {{"name", "x"}}}}}},
      {"tool_choice", {"none", "auto"}, {"required", {{"type", "function"}}}},
      {"function_call", {"none", "auto"}, {{{"name", "f"}}}},
      {"parallel_tool_calls", {true, false}, {1}},
      {"reasoning_effort", {"none"}, {"low", "high"}},
      {"verbosity", {"medium"}, {"low"}},
      {"audio", {json::object()}, {{{"voice", "x"}}}},
      {"chat_template", {""}, {"{{ messages }}"}},
      {"functions", {json::array()}, {json::array({{{"name", "f"}}})}},
      {"moderation", {json::object()}, {{{"model", "x"}}}},
      {"prediction", {json::object()}, {{{"type", "content"}, {"content", "x"}}}},
      {"suffix", {""}, {"x"}},
      {"tools", {json::array()}, {json::array({{{"type", "function"}}})}},
      {"web_search_options", {json::object()}, {{{"search_context_size", "low"}}}},
  };
  return kCases;
}

const char* word_of(FieldUse use) {
  return use == FieldUse::kHonoured  ? "honoured"
         : use == FieldUse::kIgnored ? "accepted"
         : use == FieldUse::kRefused ? "refused"
                                     : "-";
}

}  // namespace

TEST_CASE("http fields: every row of the table does what it says, and nothing else is accepted") {
  std::map<std::string, const Case*> by_name;
  for (const Case& one : cases()) by_name[one.field] = &one;
  for (const FieldRow& row : field_rows()) {
    INFO(row.name);
    if (std::string(row.name) == "logprobs") continue;  // its own test
    REQUIRE(by_name.count(row.name) == 1);
    const Case& one = *by_name[row.name];
    for (const AskKind kind : {AskKind::kChat, AskKind::kCompletion}) {
      INFO((kind == AskKind::kChat ? "chat" : "completion"));
      GenerationAsk ask;
      if (use_of(row, kind) == FieldUse::kUnknown) {
        const auto error = parse(kind, row.name, one.good[0], &ask);
        REQUIRE(error);
        CHECK((error->status == 400 && error->param == row.name &&
               error->code == "unknown_parameter"));
        continue;
      }
      for (std::size_t i = 0; i < one.good.size(); ++i) {
        INFO(one.good[i].dump().substr(0, 200));
        GenerationAsk read;
        const auto error = parse(kind, row.name, one.good[i], &read);
        INFO((error ? error->message : ""));
        CHECK(!error);
        if (i == 0 && one.shows) CHECK(one.shows(read));
      }
      CHECK((one.shows != nullptr) == (use_of(row, kind) == FieldUse::kHonoured));
      for (const json& value : one.bad) {
        INFO(value.dump().substr(0, 200));
        GenerationAsk read;
        const auto error = parse(kind, row.name, value, &read);
        REQUIRE(error);
        CHECK(error->status == 400);
        CHECK(error->param.rfind(row.name, 0) == 0);
        CHECK(error->message.size() < 400);
      }
      GenerationAsk read;
      const bool required = std::string(row.name) == "model" ||
                            std::string(row.name) == "messages" ||
                            std::string(row.name) == "prompt";
      CHECK(parse(kind, row.name, nullptr, &read).has_value() == required);
    }
  }
}

TEST_CASE("http fields: logprobs is a switch of chats and a number of completions") {
  GenerationAsk chat, text;
  CHECK(!parse(AskKind::kChat, "logprobs", true, &chat));
  CHECK(chat.logprobs);
  CHECK(parse(AskKind::kChat, "logprobs", 5, &chat)->param == "logprobs");
  CHECK(!parse(AskKind::kCompletion, "logprobs", 5, &text));
  CHECK((text.logprobs && text.top_logprobs == 5u));
  CHECK(parse(AskKind::kCompletion, "logprobs", 21, &text)->param == "logprobs");
  CHECK(parse(AskKind::kCompletion, "logprobs", true, &text)->param == "logprobs");
}

TEST_CASE("http fields: what does not fit together is refused") {
  const auto refused = [](AskKind kind, const json& more) {
    json body = least(kind);
    body.update(more);
    GenerationAsk ask;
    const auto error = parse_ask(kind, body.dump(), &ask);
    return error ? error->param : "accepted";
  };
  CHECK(refused(AskKind::kChat, {{"max_tokens", 5}, {"max_completion_tokens", 6}}) ==
        "max_completion_tokens");
  CHECK(refused(AskKind::kChat, {{"max_tokens", 5}, {"max_completion_tokens", 5}}) == "accepted");
  CHECK(refused(AskKind::kChat, {{"top_logprobs", 5}}) == "top_logprobs");
  CHECK(refused(AskKind::kChat, {{"n", 128}, {"max_tokens", 16777216}}) == "n");
  CHECK(refused(AskKind::kCompletion, {{"n", 65}, {"prompt", {"a", "b"}}}) == "n");
  CHECK(refused(AskKind::kChat, {{"stream_options", {{"include_usage", true}}}}) ==
        "stream_options");
}

TEST_CASE("http fields: a body that is not a sane JSON object is refused") {
  const auto refused = [](const std::string& body) {
    GenerationAsk ask;
    const auto error = parse_ask(AskKind::kChat, body, &ask);
    return error && error->status == 400 && !error->message.empty() && error->message.size() < 1000;
  };
  const std::string deep(100'000, '[');
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("1"),
        std::string("{\"model\":\"a\",\"model\":\"b\"}"), deep, "{\"model\":" + deep + "}",
        std::string("{\"model\":\"\xff\"}"), std::string("{\"model\":\"\\ud800\"}"),
        std::string("{\"temperature\":1e400}"), std::string("{\"temperature\":NaN}"),
        std::string("{\"n\":18446744073709551616}"), std::string("{\"a\":1}garbage"),
        std::string("\xEF\xBB\xBF[]"), std::string("{\"x\\u0000y\":1}")}) {
    INFO(body.substr(0, 60));
    CHECK(refused(body));
  }
}

TEST_CASE("http fields: docs/api.md has the same rows") {
  std::ifstream page(std::string(TROUPE_SOURCE_DIR) + "/docs/api.md");
  std::map<std::string, std::pair<std::string, std::string>> rows;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line.rfind("| field |", 0) == 0) inside = true;
    if (line.empty()) inside = false;
    if (!inside || line.rfind("| `", 0) != 0) continue;
    std::istringstream cells(line);
    std::string cell, name, chat, completion;
    std::getline(cells, cell, '|');
    std::getline(cells, name, '|');
    std::getline(cells, chat, '|');
    std::getline(cells, completion, '|');
    const auto trim = [](std::string text) {
      text.erase(0, text.find_first_not_of(" `"));
      text.erase(text.find_last_not_of(" `") + 1);
      return text;
    };
    rows[trim(name)] = {trim(chat), trim(completion)};
  }
  CHECK(rows.size() == field_rows().size());
  for (const FieldRow& row : field_rows()) {
    INFO(row.name);
    CHECK(rows[row.name].first == word_of(row.chat));
    CHECK(rows[row.name].second == word_of(row.completion));
  }
}
