#include <cstdlib>
#include <fstream>
#include <random>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/chat/chat_template.h>
#include <troupe/model/source/open_model.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/utf8.h>

using namespace troupe;
using namespace troupe::model;

namespace {

const std::string kFolder = std::string(TROUPE_TEST_DATA) + "/templates/";

// Returns the expected texts, which are those of Jinja2 3.1, set up as transformers does it.
const nlohmann::json& expected() {
  static const nlohmann::json value =
      nlohmann::json::parse(*read_file(kFolder + "expected.json", 1 << 20));
  return value;
}

std::vector<ChatMessage> messages_of(const nlohmann::json& list) {
  std::vector<ChatMessage> messages;
  for (const auto& one : list) messages.push_back({one["role"], one["content"]});
  return messages;
}

Result<std::string> render(const std::string& source, const std::vector<ChatMessage>& messages = {
                                                          {"user", "a"}, {"assistant", "c"}}) {
  TROUPE_ASSIGN_OR_RETURN(const auto parsed, ChatTemplate::parse(source));
  return parsed->render(messages, true, "<s>", "</s>");
}

std::string repeated(const std::string& text, std::size_t count) {
  std::string out;
  while (count-- > 0) out += text;
  return out;
}

}  // namespace

TEST_CASE("whole templates render as Jinja2 renders them") {
  std::size_t refused = 0;
  for (const auto& one : expected()["conversations"]) {
    const std::string name = one["template"];
    INFO(name << " " << one["messages"].dump());
    const auto source = read_file(kFolder + name, 1 << 20);
    REQUIRE(source.is_ok());
    const auto parsed = ChatTemplate::parse(*source);
    INFO(parsed.message());
    REQUIRE(parsed.is_ok());
    const auto text = (*parsed)->render(messages_of(one["messages"]), one["add_generation_prompt"],
                                        "<s>", "</s>");
    if (one.contains("refused")) {
      ++refused;
      CHECK(text.code() == Code::kInvalidArgument);
      CHECK(text.message() == "the model's chat template refuses these messages: " +
                                  one["refused"].get<std::string>());
    } else {
      INFO(text.message());
      REQUIRE(text.is_ok());
      CHECK(*text == one["expected"].get<std::string>());
    }
  }
  CHECK(refused > 5);
}

namespace {

// Returns the rendered text with foreign parts between brackets.
std::string marked(const std::string& source, const std::string& content = "x",
                   const std::string& role = "user") {
  const auto parsed = ChatTemplate::parse(source);
  INFO(parsed.message());
  REQUIRE(parsed.is_ok());
  ChatContext context;
  context.bos = "<s>";
  context.eos = "</s>";
  const auto chat = (*parsed)->render_marked({{role, content}}, context);
  INFO(chat.message());
  REQUIRE(chat.is_ok());
  std::string out;
  std::size_t at = 0;
  for (const TextSpan& span : chat->foreign) {
    REQUIRE(span.begin >= at);
    REQUIRE(span.end > span.begin);
    REQUIRE(span.end <= chat->text.size());
    out += chat->text.substr(at, span.begin - at) + "[" +
           chat->text.substr(span.begin, span.end - span.begin) + "]";
    at = span.end;
  }
  return out + chat->text.substr(at);
}

}  // namespace

TEST_CASE("what comes from a message is marked, whatever the template does with it") {
  const auto body = [](const std::string& expression) {
    return "{% for m in messages %}{% set c = m.content %}" + expression + "{% endfor %}";
  };
  CHECK(marked(body("<a>{{ c }}<b>")) == "<a>[x]<b>");
  CHECK(marked(body("{{ '<a>' + c + '<b>' }}")) == "<a>[x]<b>");
  CHECK(marked(body("{{ '<a>' ~ c ~ 1 ~ c }}")) == "<a>[x]1[x]");
  CHECK(marked(body("{{ ('<a>' + c) | trim }}"), " x ") == "<a>[ x]");
  CHECK(marked(body("<a>{{ c | trim }}"), "  x ") == "<a>[x]");
  CHECK(marked(body("<a>{{ c.strip() }}<b>"), "  xx ") == "<a>[xx]<b>");
  CHECK(marked(body("<a>{{ c.split('|')[1] }}<b>"), "x|y") == "<a>[y]<b>");
  CHECK(marked(body("<a>{{ c[1:] }}{{ c[0] }}"), "xy") == "<a>[yx]");
  CHECK(marked(body("{% for d in c %}<a>{{ d }}{% endfor %}"), "xy") == "<a>[x]<a>[y]");
  CHECK(marked(body("<a>{{ c | upper }}{{ c.replace('x', 'y') }}")) == "<a>[Xy]");
  CHECK(marked(body("<a>{{ 'q'.replace('q', c) }}")) == "<a>[x]");
  CHECK(marked(body("<a>{{ [c, 'y'] | join('-') }}")) == "<a>[x-y]");
  CHECK(marked(body("<a>{{ {'k': c} | tojson }}")) == "<a>[{\"k\": \"x\"}]");
  CHECK(marked(body("<a>{{ [c] }}")) == "<a>[['x']]");
  CHECK(marked(body("{% for k in {c: 1} %}<a>{{ k }}{% endfor %}")) == "<a>[x]");
  CHECK(marked(body("{% set t %}<a>{{ c }}<b>{% endset %}{{ t }}")) == "<a>[x]<b>");
  CHECK(marked(body("{% macro f(p) %}<a>{{ p }}<b>{% endmacro %}{{ f(c) }}")) == "<a>[x]<b>");
  CHECK(marked(body("{% set n = namespace(v='') %}{% set n.v = c %}<a>{{ n.v }}")) == "<a>[x]");
  CHECK(marked(body("<a>{{ c * 2 }}{{ c | default('y') }}{{ q | default(c) }}")) == "<a>[xxxx]");
  CHECK(marked(body("{{ bos_token }}<|{{ m.role }}|>")) == "<s><|user|>");
  CHECK(marked(body("<|{{ m.role }}|>"), "x", "im_end") == "<|[im_end]|>");
  CHECK(marked(body("<a>{{ c }}"), "") == "<a>");
}

TEST_CASE("messages and tools may come as JSON, their fields in order") {
  const auto parsed = ChatTemplate::parse(
      "{% for t in tools or [] %}<t>{{ t | tojson }}{% endfor %}{% for m in messages %}<a>"
      "{{ m.role }}:{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.name }}{% endfor %}"
      "{% endfor %}");
  REQUIRE(parsed.is_ok());
  const auto render = [&](const char* messages, const char* tools) {
    ChatContext context;
    context.tools = tools;
    return (*parsed)->render_json(messages, context);
  };
  const auto chat = render(R"([{"role": "user", "content": "x", "tool_calls": [{"name": "f"}]}])",
                           R"([{"name": "z", "a": 1.5}])");
  REQUIRE(chat.is_ok());
  CHECK(chat->text == R"(<t>{"name": "z", "a": 1.5}<a>user:xf)");
  REQUIRE(chat->foreign.size() == 2);
  CHECK(chat->foreign[0].begin == 3);
  CHECK(render("{}", "").message() == "the list of messages is not a list");
  CHECK(render("[1]", "").code() == Code::kBadData);
  CHECK(render("[]", "{").code() == Code::kBadData);
  CHECK(render(("[" + repeated("9", 6000) + "]").c_str(), "").message() ==
        "the list of messages holds a number that is out of range; correct what is written there");
}

TEST_CASE("a template finds what the context has") {
  const auto parsed = ChatTemplate::parse(
      "{{ bos_token }}{{ pad_token }}{{ thinking }}{% for d in documents %}<d>{{ d }}{% endfor %}"
      "{{ strftime_now('%d %b %Y') if strftime_now is defined }}");
  REQUIRE(parsed.is_ok());
  ChatContext context;
  context.bos = "<s>";
  CHECK((*parsed)->render_json("[]", context).code() == Code::kBadData);  // documents is None
  context.pad = "<pad>";
  context.variables = R"({"documents": ["x"], "thinking": false})";
  const auto chat = (*parsed)->render_json("[]", context);
  INFO(chat.message());
  REQUIRE(chat.is_ok());
  CHECK(chat->text == "<s><pad>False<d>x");
  // Texts of the caller are not part of the template, so their markup is plain text.
  REQUIRE(chat->foreign.size() == 1);
  CHECK(chat->foreign[0].end == chat->text.size());
  context.now = std::tm{};
  context.now->tm_year = 124;
  context.now->tm_mon = 6;
  context.now->tm_mday = 26;
  CHECK((*parsed)->render_json("[]", context)->text == "<s><pad>False<d>x26 Jul 2024");
  context.variables = R"({"messages": []})";
  CHECK((*parsed)->render_json("[]", context).message() ==
        "the object of variables sets 'messages', which is given apart from it");
  context.variables = "[]";
  CHECK((*parsed)->render_json("[]", context).message() ==
        "the object of variables is not an object");
  const std::tm now = local_time();
  CHECK(now.tm_year > 120);
}

TEST_CASE("every construct renders as Jinja2 renders it") {
  for (const auto& one : expected()["snippets"]) {
    INFO(in_quotes(one["source"].get<std::string>(), 2000));
    const auto text = render(one["source"]);
    INFO(text.message());
    REQUIRE(text.is_ok());
    CHECK(*text == one["expected"].get<std::string>());
  }
}

TEST_CASE("the whole language renders as transformers renders it") {
  const auto language =
      nlohmann::ordered_json::parse(*read_file(kFolder + "language.json", 1 << 22));
  std::size_t failing = 0;
  for (const auto& one : language["cases"]) {
    INFO(in_quotes(one["source"].get<std::string>(), 2000));
    const auto parsed = ChatTemplate::parse(one["source"].get<std::string>());
    ChatContext context;
    context.bos = "<s>";
    context.eos = "</s>";
    context.now = local_time();
    const auto chat = parsed.is_ok() ? (*parsed)->render_json(language["messages"].dump(), context)
                                     : Result<RenderedChat>(parsed.status());
    INFO(chat.message());
    if (one.contains("expected")) {
      REQUIRE(chat.is_ok());
      CHECK(chat->text == one["expected"].get<std::string>());
    } else {
      ++failing;
      CHECK(chat.code() == (one.contains("refused") ? Code::kInvalidArgument : Code::kBadData));
    }
  }
  CHECK(failing > 20);
}

TEST_CASE("whole numbers of a tool's schema stay whole, however large") {
  const auto parsed = ChatTemplate::parse("{{ tools|tojson }}");
  for (const std::string number :
       {"18446744073709551615", "18446744073709551616", "-9223372036854775809",
        "9223372036854775807", "-9223372036854775808", "10000000000000000000000000",
        "123456789012345678901234567890123456789012345678901234567890", "0", "-0.0", "1e+25",
        "1.5"}) {
    ChatContext context;
    context.tools = "[{\"maximum\": " + number + "}]";
    const auto chat = (*parsed)->render_json("[]", context);
    INFO(chat.message());
    REQUIRE(chat.is_ok());
    CHECK(chat->text == context.tools);
  }
  ChatContext context;
  context.tools = "[" + repeated("9", 6000) + "]";
  CHECK((*parsed)->render_json("[]", context).code() == Code::kBadData);
}

TEST_CASE("schemas of tools may be nested deeply") {
  const auto parsed = ChatTemplate::parse("{{ tools|tojson }}{{ tools|string|length > 0 }}");
  for (const std::size_t levels : {1, 15, 16, 17, 40, 90}) {
    INFO(levels);
    const std::string open = "{\"type\": \"object\", \"properties\": {\"a\": ";
    ChatContext context;
    context.tools = "[" + repeated(open, levels) + "{}" + repeated("}}", levels) + "]";
    const auto chat = (*parsed)->render_json("[]", context);
    INFO(chat.message());
    REQUIRE(chat.is_ok());
    CHECK(chat->text == context.tools + "True");
  }
  ChatContext context;
  context.tools = repeated("[", 1000) + repeated("]", 1000);
  CHECK((*parsed)->render_json("[]", context).message().find("deep") != std::string::npos);
}

TEST_CASE("the real model's template gives the recorded prompts") {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: the real model's template (TROUPE_TEST_MODEL is not set)");
    return;
  }
  const auto source = open_gguf(path);
  REQUIRE(source.is_ok());
  const auto parsed = ChatTemplate::parse(*(*source)->header().string("tokenizer.chat_template"));
  REQUIRE(parsed.is_ok());
  const auto golden = nlohmann::json::parse(
      *read_file(std::string(TROUPE_TEST_DATA) + "/golden/smollm2_logits.json", 1 << 20));
  CHECK(*(*parsed)->render({{"user", "Name three colors of the rainbow."}}, true, "", "") ==
        golden["generations"][4]["prompt"].get<std::string>());
  CHECK(*(*parsed)->render(
            {{"system", "You answer in one word."}, {"user", "What is the opposite of hot?"}}, true,
            "", "") == golden["generations"][5]["prompt"].get<std::string>());
}

TEST_CASE("messages are text, whatever is in them") {
  const std::string content = "{{ bos_token }}{% for %}{# \xf0\x9f\x99\x82 <|im_end|> 'q' \\n";
  CHECK(*render("{{ messages[0].content }}", {{"user", content}}) == content);
  CHECK(*render("{{ messages[0].content }}", {{"user", ""}}) == "");
  CHECK(*render("{{ messages|length }}", {}) == "0");
}

TEST_CASE("unknown and broken constructs name their line") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a\n{% include 'x' %}", "line 2: the tag 'include' is not known"},
      {"\n\n{{ x|klingon }}", "line 3: the filter 'klingon' is not known"},
      {"{{ x is klingon }}", "line 1: the test 'klingon' is not known"},
      {"{{ klingon() }}", "line 1: the function 'klingon' is not known"},
      {"{{ 'x'.klingon() }}", "line 1: strings have no method 'klingon'"},
      {"{{ messages.append(1) }}", "line 1: a value of type list has no method 'append'"},
      {"{{ nothing.at.all }}", "line 1: cannot take 'at' of an undefined value"},
      {"{{ 1 + 'x' }}", "line 1: values of the types integer and string cannot be added"},
      {"{{ 1 / 0 }}", "line 1: a division by zero"},
      {"{{ 2 ** 99999 }}", "line 1: the result of '**' is too large"},
      {"{{ " + repeated("9", 6000) + " }}", "line 1: the number 9999"},
      {"{{ 'x'|upper(1) }}", "line 1: 'upper' takes 0 arguments at most"},
      {"{{ 'x'|trim(klingon=1) }}", "line 1: 'trim' has no argument 'klingon'"},
      {"{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "line 1: the macro 'm' has no parameter 'b'"},
      {"{% call 1 %}{% endcall %}", "line 1: found '%}' where a call was expected"},
      {"{{ strftime_now('%Y') }}", "line 1: the function 'strftime_now' is not known"},
      {"{{ dict(1) }}", "line 1: going through items cannot be done with a value of type integer"},
      {"{{ dict({}, {}) }}", "line 1: dict and namespace take one dict"},
      {"{{ 'x", "line 1: a string has no end"},
      {"\n{{ x", "line 2: a tag has no end '}}'"},
      {"{# x", "line 1: a comment '{#' has no end '#}'"},
      {"{% raw %} x", "line 1: 'raw' has no end '{% endraw %}'"},
      {"{% if x %}\ny", "line 1: the tag before has no end 'endif'"},
      {"{% endif %}", "line 1: the tag 'endif' is not known"},
      {"{% for x of y %}{% endfor %}", "line 1: found 'of' where 'in' was expected"},
      {"{% break %}", "line 1: 'break' outside of a loop"},
      {"{{ a ? b }}", "line 1: the character '?' cannot be here"},
      {"{{ [1, 2 }}", "line 1: a tag has no end '}}'"},
      {"{{ (1 + ) }}", "line 1: found ')' where an expression was expected"},
      {"{{ }}", "line 1: found '}}' where an expression was expected"},
      {"{% set x.y = 1 %}", "line 1: 'x' is not a namespace"},
      {"{% for a, b in [[1]] %}{% endfor %}", "line 1: 2 names cannot take 1 values"},
      {"{{ range(1000000) }}", "line 1: a range of more than 100000 items"},
  };
  for (const auto& [source, message] : cases) {
    INFO(source);
    const auto text = render(source);
    REQUIRE_FALSE(text.is_ok());
    CHECK(text.code() == Code::kBadData);
    CHECK(text.message().starts_with("the chat template, " + message));
    CHECK(text.message().find('\n') == std::string::npos);
  }
}

TEST_CASE("no template runs for ever or takes all memory or stack") {
  const std::vector<std::string> greedy = {
      // Steps.
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
      "{% for a in range(10000) %}{{ messages|map('upper')|list|length }}{{ range(5000)|list }}"
      "{% endfor %}",
      // Bytes: doubling, repeating, printing.
      "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}"
      "{% endfor %}",
      "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
      "{{ 'abc' * 9223372036854775807 }}",
      "{{ ('x' * 1000000)|replace('', 'y' * 1000000) }}",
      "{% set x = 'y' * 1000000 %}{% for i in range(100000) %}{{ x }}{% endfor %}",
      "{{ ['x' * 1000000] * 3 }}{{ (['x'] + ['x'])|join('y' * 60000000) }}"
      "{{ range(100)|join('y' * 60000000) }}",
      // Depth: of calls, of values, of a namespace that holds itself.
      "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
      "{% macro f(x) %}{% if true %}{{ [f(x ~ x)]|join }}{% endif %}{% endmacro %}{{ f('a') }}",
      "{% set n = namespace(x=[]) %}{% for i in range(100000) %}{% set n.x = [n.x] %}{% endfor %}",
      "{% set n = namespace(x={}) %}{% for i in range(100000) %}{% set n.x = dict(a=n.x) %}"
      "{% endfor %}",
      "{% set n = namespace(x=[]) %}{% for i in range(100000) %}"
      "{% set n.x = {'k': n.x}|items|list %}{% endfor %}",
      // Work over shared parts, and over strings that almost match everywhere.
      "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(45) %}{% set n.x = [n.x, n.x] %}"
      "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
      "{% set n = namespace(x=[1]) %}{% for i in range(45) %}{% set n.x = [n.x, n.x] %}"
      "{% endfor %}{{ n.x }}",
      "{% set x = 'y' * 4000000 %}{{ 'y' * 2000000 ~ 'z' in x }}",
      "{% set x = 'y' * 4000000 %}{% for i in range(9999) %}{{ x.upper()[1] }}{% endfor %}",
      "{{ ('\\n' * 100000) | indent('x' * 1000, true, true) }}",
      "{% set x = 'y' * 1000 %}{{ x.zfill(99999999999) }}",
      "{{ [1] * 9223372036854775807 }}",
      "{% macro m() %}{{ caller() }}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}"
      "{% call m() %}x{% endcall %}",
      "{{ range(100000)|list|tojson(separators=('x' * 1000, 'y')) }}",
      // Depth of the source itself.
      "{{ " + repeated("(", 10000) + "1" + repeated(")", 10000) + " }}",
      "{{ " + repeated("[", 10000) + "1" + repeated("]", 10000) + " }}",
      "{{ " + repeated("not ", 10000) + "1 }}",
      "{{ " + repeated("-", 10000) + "1 }}",
      "{{ 1" + repeated(" + 1", 10000) + " }}",
      "{{ 1" + repeated("|string", 10000) + " }}",
      "{{ x" + repeated(".a", 10000) + " }}",
      "{{ 1" + repeated(" if 1 else 1", 10000) + " }}",
      repeated("{% if 1 %}", 10000) + repeated("{% endif %}", 10000),
      repeated("{% for x in y %}", 10000) + repeated("{% endfor %}", 10000),
      repeated("{% call m() %}", 10000) + repeated("{% endcall %}", 10000),
      repeated("{% with %}", 10000) + repeated("{% endwith %}", 10000),
      repeated("{% set x %}", 10000) + repeated("{% endset %}", 10000),
      repeated("{% filter trim %}", 10000) + repeated("{% endfilter %}", 10000),
      repeated("{% macro m() %}", 10000) + repeated("{% endmacro %}", 10000),
      repeated("{% generation %}", 10000) + repeated("{% endgeneration %}", 10000),
      "{% set x" + repeated("|trim", 10000) + " %}{% endset %}",
      std::string((1 << 20) + 1, 'x'),
  };
  for (const std::string& source : greedy) {
    INFO(source.substr(0, 200));
    const auto text = render(source);
    CHECK_FALSE(text.is_ok());
    CHECK((text.code() == Code::kResourceExhausted || text.code() == Code::kBadData));
    CHECK(text.message().size() < 400);
  }
  const auto self = render("{% set n = namespace() %}{% set n.x = [n] %}{{ n.x|length }}{{ n.x }}");
  INFO(self.message());
  CHECK(*self == "1[<Namespace {'x': [...]}>]");
}

TEST_CASE("damaged templates never do harm") {
  std::mt19937 random(31);
  std::vector<std::string> sources;
  for (const auto& one : expected()["snippets"]) sources.push_back(one["source"]);
  for (const char* name : {"headers.jinja", "inst.jinja", "thinking.jinja", "macros.jinja"}) {
    sources.push_back(*read_file(kFolder + name, 1 << 20));
  }
  static const std::vector<std::string> kPieces = {
      "{%",    "%}",   "{{",    "}}", "(", ")",  "[",   "]",     "{",      "}",
      "'",     "|",    ".",     ",",  ":", "if", "for", "endif", "endfor", "set",
      "macro", " is ", " not ", "~",  "*", "-",  "1",   "x",     "\\",     "\n"};
  for (int round = 0; round < 6000; ++round) {
    std::string source = sources[random() % sources.size()];
    for (int i = 0; i < 3 && !source.empty(); ++i) {
      const std::size_t at = random() % source.size();
      switch (random() % 4) {
        case 0:
          source.erase(at, 1 + random() % 5);
          break;
        case 1:
          source.insert(at, kPieces[random() % kPieces.size()]);
          break;
        case 2:
          source[at] = static_cast<char>(random());
          break;
        default:
          source = source.substr(0, at);
      }
    }
    const auto text = render(source);
    if (!text.is_ok()) CHECK_FALSE(text.message().empty());
  }
}
