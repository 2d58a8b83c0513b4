#include <catch2/catch.hpp>

#include <troupe/model/chat/chat_source.h>

using namespace troupe;
using namespace troupe::model;

namespace {

Result<std::string> source(const std::map<std::string, std::string>& texts, bool tools = false) {
  GgufHeader header;
  for (const auto& [key, text] : texts) header.metadata[key] = text;
  return chat_source(header, tools);
}

const std::string kConfig = "troupe.tokenizer_config_json";
const std::string kOld = "troupe.chat_template_json";
const std::string kFile = "troupe.chat_template_jinja";

}  // namespace

TEST_CASE("a model's chat template is found wherever it is") {
  CHECK(*source({}) == "");
  CHECK(*source({{"tokenizer.chat_template", "g"}}) == "g");
  CHECK(*source({{"tokenizer.chat_template", "g"}, {"tokenizer.chat_template.tool_use", "t"}}) ==
        "g");
  CHECK(*source({{"tokenizer.chat_template", "g"}, {"tokenizer.chat_template.tool_use", "t"}},
                true) == "t");
  CHECK(*source({{kConfig, R"({"chat_template": "c"})"}, {kFile, "f"}}) == "f");
  CHECK(*source({{kConfig, R"({"chat_template": "c"})"}, {kOld, R"({"chat_template": "o"})"}}) ==
        "c");
  CHECK(*source({{kConfig, "{}"}, {kOld, R"({"chat_template": "o"})"}}) == "o");
  CHECK(*source({{kConfig, R"({"chat_template": null})"}}) == "");
}

TEST_CASE("of several templates it is the default, or the one for tools") {
  const std::string both = R"({"chat_template": [{"name": "default", "template": "d"},
                                                 {"name": "tool_use", "template": "t"},
                                                 {"name": "rag", "template": "r"}]})";
  CHECK(*source({{kConfig, both}}) == "d");
  CHECK(*source({{kConfig, both}}, true) == "t");
  const std::string one = R"({"chat_template": [{"name": "default", "template": "d"}]})";
  CHECK(*source({{kConfig, one}}, true) == "d");
  CHECK(source({{kConfig, R"({"chat_template": [{"name": "rag", "template": "r"}]})"}}).message() ==
        "tokenizer_config.json: \"chat_template\" has no template of the name \"default\"; it has "
        "'rag'");
}

TEST_CASE("templates in files of their own count before those in tokenizer_config.json") {
  const std::string tools = kFile + ".tool_use", fallback = kFile + ".default";
  const std::string config =
      R"({"chat_template": [{"name": "default", "template": "c"},
                            {"name": "tool_use", "template": "ct"}]})";
  CHECK(*source({{kFile, "f"}, {tools, "t"}}) == "f");
  CHECK(*source({{kFile, "f"}, {tools, "t"}}, true) == "t");
  CHECK(*source({{kFile, "f"}}, true) == "f");
  CHECK(*source({{kFile, "f"}, {fallback, "d"}}) == "d");
  CHECK(*source({{kFile, "f"}, {fallback, "d"}, {tools, "t"}}, true) == "t");
  CHECK(*source({{kConfig, config}, {kFile, "f"}, {tools, "t"}}, true) == "t");
  CHECK(*source({{kConfig, config}, {kFile, "f"}}, true) == "f");
  CHECK(*source({{kConfig, config}, {tools, "t"}}) == "c");
  CHECK(*source({{kConfig, config}, {tools, ""}}, true) == "");
}

TEST_CASE("what is wrong with a chat template's file is said") {
  CHECK(source({{kConfig, R"({"chat_template": 3})"}}).message() ==
        "tokenizer_config.json: \"chat_template\" is of type number, expected a string or a list "
        "of templates");
  CHECK(
      source({{kConfig, R"({"chat_template": [{"name": "default"}]})"}}).message() ==
      "tokenizer_config.json: \"chat_template\" has an entry that is not an object of a name and a "
      "template");
  CHECK(
      source({{kOld, "[]"}}).message() ==
      "chat_template.json: the text is not an object; take the file from where the model is from");
  CHECK(source({{kOld, "{"}}).code() == Code::kBadData);
}
