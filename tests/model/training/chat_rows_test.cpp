#include <algorithm>
#include <cstdlib>

#include <catch2/catch.hpp>

#include <troupe/model/chat/chat_source.h>
#include <troupe/model/chat/prompt.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/training/chat_rows.h>
#include <troupe/tests/model/training/scratch_folder.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

// Each byte is a token, but "$" ends a turn.
class LetterTokenizer final : public Tokenizer {
 public:
  Result<std::vector<TokenId>> encode(std::string_view text, const EncodeOptions&) const override {
    return std::vector<TokenId>(text.begin(), text.end());
  }
  Result<std::string> piece(TokenId id, bool) const override {
    return std::string(1, static_cast<char>(id));
  }
  std::size_t vocabulary() const override { return 128; }
  bool is_end(TokenId id) const override { return id == '$'; }
  std::vector<TokenId> end_tokens() const override { return {'$'}; }
  TokenId bos() const override { return -1; }
  TokenId eos() const override { return '$'; }
};

constexpr const char* kTemplate =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}$\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

// Returns the trained part of an example, with '.' for tokens without a target.
std::string mask_of(const Example& example) {
  std::string mask;
  for (std::size_t i = 0; i < example.ids.size(); ++i)
    mask += i > 0 && example.targets[i - 1] != kNoTarget ? static_cast<char>(example.targets[i - 1])
                                                         : '.';
  return mask;
}

Result<Dataset> dataset_of(const std::string& rows, const DatasetOptions& options = {},
                           const char* source = kTemplate) {
  const ScratchFolder folder;
  TROUPE_ASSIGN_OR_RETURN(const ChatRows read, read_chat_rows(folder.write("chats.jsonl", rows)));
  const auto chat_template = ChatTemplate::parse(source);
  REQUIRE(chat_template.is_ok());
  return chat_dataset(read, LetterTokenizer(), chat_template->get(), options);
}

}  // namespace

TEST_CASE("what the assistant says is trained, with the end of its turn") {
  const auto data = dataset_of(
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"bc"},)"
      R"({"role":"user","content":"d"},{"role":"assistant","content":"e"}]})");
  REQUIRE(data.is_ok());
  const Example& example = data->examples[0];
  const std::string text(example.ids.begin(), example.ids.end());
  CHECK(text == "<user>a$\n<assistant>bc$\n<user>d$\n<assistant>e$\n");
  CHECK(mask_of(example) == "....................bc$.....................e$.");
}

TEST_CASE("all forms of rows become the same chat") {
  const auto data = dataset_of(
      "{\"prompt\":\"a\",\"completion\":\"b\"}\n"
      "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":\"b\"}]"
      "}\n"
      "{\"instruction\":\"a\",\"input\":\"\",\"output\":\"b\"}\n");
  REQUIRE(data.is_ok());
  REQUIRE(data->examples.size() == 3);
  for (const Example& example : data->examples) {
    CHECK(example.ids == data->examples[0].ids);
    CHECK(mask_of(example) == "....................b$.");
  }
}

TEST_CASE("chats that cannot be trained on are named, with the reason") {
  const auto data = dataset_of(
      "{\"prompt\":\"a\",\"completion\":\"b\"}\n"
      "{\"prompt\":\"a\"}\n"
      "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}\n"
      "{\"text\":\"a\"}\n"
      "{\"prompt\":\"long long long\",\"completion\":\"b\"}\n",
      {30, Truncation::kRight});
  REQUIRE(data.is_ok());
  CHECK(data->examples.size() == 1);
  REQUIRE(data->dropped.size() == 4);
  CHECK_THAT(data->dropped[0].why, Contains("no field 'completion'"));
  CHECK_THAT(data->dropped[1].why, Contains("'assistant'"));
  CHECK_THAT(data->dropped[2].why, Contains("none of the fields"));
  CHECK_THAT(data->dropped[3].why, Contains("nothing of an answer is left"));
  CHECK(data->dropped[3].line == 5);
  const auto left =
      dataset_of("{\"prompt\":\"long long long\",\"completion\":\"b\"}\n", {10, Truncation::kLeft});
  REQUIRE(left.is_ok());
  CHECK(mask_of(left->examples[0]) == ".......b$.");
}

TEST_CASE("a template that does not say where answers begin is refused") {
  const auto data = dataset_of("{\"prompt\":\"a\",\"completion\":\"b\"}\n", {},
                               "{{ messages[-1].content }}{{ messages[0].content }}");
  REQUIRE_FALSE(data.is_ok());
  CHECK(data.code() == Code::kFailedPrecondition);
  CHECK_THAT(data.message(), Contains("does not continue message 2"));
}

TEST_CASE("a chat's ids up to an answer are those that the real model is given") {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: a chat's ids of the real model (TROUPE_TEST_MODEL is not set)");
    return;
  }
  const auto source = open_model(path);
  REQUIRE(source.is_ok());
  const auto tokenizer = open_tokenizer((*source)->header(), 0);
  REQUIRE(tokenizer.is_ok());
  const auto chat_template = ChatTemplate::parse(*chat_source((*source)->header(), false));
  REQUIRE(chat_template.is_ok());
  const std::vector<ChatMessage> messages{{"user", "What is two and two?"},
                                          {"assistant", " Four, <|im_end|> I think."}};
  const auto data = chat_dataset({{{1, messages}}, {}}, **tokenizer, chat_template->get(), {});
  REQUIRE(data.is_ok());
  const Example& example = data->examples[0];
  Prompt prompt;
  prompt.messages = {messages[0]};
  const auto asked = prompt_tokens(prompt, **tokenizer, chat_template->get());
  REQUIRE(asked.is_ok());
  std::size_t first = 0;
  while (example.targets[first] == kNoTarget) ++first;
  CHECK(std::vector<TokenId>(example.ids.begin(),
                             example.ids.begin() + static_cast<std::ptrdiff_t>(first) + 1) ==
        *asked);
  std::vector<TokenId> trained;
  for (const TokenId target : example.targets)
    if (target != kNoTarget) trained.push_back(target);
  CHECK((*tokenizer)->is_end(trained.back()));
  // Markup in the assistant's text is plain text, so there is only one end of a turn.
  CHECK(std::count(trained.begin(), trained.end(), trained.back()) == 1);
}

TEST_CASE("a preference is two chats, of which the last answer is trained") {
  const auto chat_template = ChatTemplate::parse(kTemplate);
  REQUIRE(chat_template.is_ok());
  const ScratchFolder folder;
  const auto rows = read_preference_rows(folder.write(
      "pairs.jsonl",
      R"({"prompt":"a","chosen":"bc","rejected":"d"})"
      "\n"
      R"({"chosen":[{"role":"user","content":"e"},{"role":"assistant","content":"f"},)"
      R"({"role":"user","content":"g"},{"role":"assistant","content":"h"}],)"
      R"("rejected":[{"role":"user","content":"e"},{"role":"assistant","content":"i"}]})"
      "\n"
      R"({"prompt":"a","chosen":"bc"})"
      "\n"
      R"({"prompt":"a","chosen":"bc","rejected":[{"role":"user","content":"x"}]})"
      "\n"));
  REQUIRE(rows.is_ok());
  REQUIRE(rows->rows.size() == 2);
  REQUIRE(rows->dropped.size() == 2);
  CHECK_THAT(rows->dropped[0].why, Contains("no field 'rejected'"));
  CHECK_THAT(rows->dropped[1].why, Contains("'rejected' does not end with"));
  const auto data = chat_dataset(*rows, LetterTokenizer(), chat_template->get(), {});
  REQUIRE(data.is_ok());
  REQUIRE(data->examples.size() == 4);
  const std::string user = ".........", assistant = "...........";  // "<user>a$\n", "<assistant>"
  CHECK(mask_of(data->examples[0]) == user + assistant + "bc$.");
  CHECK(mask_of(data->examples[1]) == user + assistant + "d$.");
  CHECK(mask_of(data->examples[2]) == user + assistant + "..." + user + assistant + "h$.");
  // A pair that is too long is left out as a whole.
  const auto cut =
      chat_dataset(*rows, LetterTokenizer(), chat_template->get(), {24, Truncation::kDrop});
  REQUIRE(cut.is_ok());
  CHECK(cut->examples.size() == 2);
}
