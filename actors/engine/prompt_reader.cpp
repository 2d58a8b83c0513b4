#include <new>
#include <string>
#include <utility>

#include <troupe/actors/engine/prompt_reader.h>
#include <troupe/model/chat/prompt.h>

namespace troupe::actors {
namespace {

// The slowest tokenizers read a megabyte per second, and a text of this size in eight milliseconds.
constexpr std::size_t kShortBytes = 8192;
// A template does some work for each message, however short it is.
constexpr std::size_t kShortMessages = 64;

std::size_t text_bytes(const Submit& submit) {
  std::size_t bytes = submit.prompt.size() + submit.system.size();
  for (const ChatTurn& turn : submit.messages) bytes += turn.role.size() + turn.content.size();
  return bytes;
}

model::Prompt prompt_of(const Submit& submit) {
  model::Prompt prompt{submit.prompt, {}, submit.prompt_ids, submit.system, submit.raw};
  for (const ChatTurn& turn : submit.messages) {
    prompt.messages.push_back({turn.role, turn.content});
  }
  return prompt;
}

}  // namespace

bool is_long(const Submit& submit) {
  return text_bytes(submit) > kShortBytes || submit.messages.size() > kShortMessages;
}

Result<std::vector<model::TokenId>> read_prompt(const Submit& submit, const PromptReading& reading,
                                                std::size_t context) {
  return model::prompt_tokens(prompt_of(submit), *reading.tokenizer, reading.chat_template.get(),
                              model::local_time(), context);
}

namespace {

Result<std::vector<model::TokenId>> read_safely(const Submit& submit, const PromptReading& reading,
                                                std::size_t context) {
  try {
    return read_prompt(submit, reading, context);
  } catch (const std::bad_alloc&) {
    return Status(Code::kResourceExhausted,
                  "the head has no memory left to read the prompt; send a shorter one");
  }
}

prompt_reader_actor::behavior_type reader_behavior(prompt_reader_actor::pointer self,
                                                   const PromptReading& reading,
                                                   const engine_actor& engine) {
  return {
      [self, reading, engine](submit_atom, const SubmitPtr& submit, std::uint64_t context) {
        self->send(engine, std::make_shared<const ReadPrompt>(ReadPrompt{
                               submit->request, read_safely(*submit, reading, context)}));
      },
  };
}

}  // namespace

prompt_reader_actor spawn_prompt_reader(caf::actor_system& system, PromptReading reading,
                                        engine_actor engine) {
  // CAF forms a reference to the arguments even if there are none, so what could be captured is an
  // argument.
  return system.spawn<caf::detached>(reader_behavior, std::move(reading), std::move(engine));
}

}  // namespace troupe::actors
