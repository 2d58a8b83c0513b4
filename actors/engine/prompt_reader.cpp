#include <new>
#include <string>
#include <utility>

#include <troupe/actors/engine/prompt_reader.h>
#include <troupe/model/chat/prompt.h>

namespace troupe::actors {
namespace {

// At a megabyte a second, which the slowest tokenizers reach, this is eight milliseconds.
constexpr std::size_t kShortBytes = 8192;

std::size_t text_bytes(const Submit& submit) {
  std::size_t bytes = submit.prompt.size() + submit.system.size();
  for (const ChatTurn& turn : submit.messages) bytes += turn.content.size();
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

bool is_long(const Submit& submit) { return text_bytes(submit) > kShortBytes; }

Result<std::vector<model::TokenId>> read_prompt(const Submit& submit, const PromptReading& reading,
                                                std::size_t context) {
  // Somewhat more than fits is counted to its end, so that its length can be told exactly.
  const std::size_t tokens_max = 2 * context + 1024;
  auto ids = model::prompt_tokens(prompt_of(submit), *reading.tokenizer,
                                  reading.chat_template.get(), model::local_time(), tokens_max);
  if (ids.code() != Code::kResourceExhausted) return ids;
  return Status(Code::kInvalidArgument,
                "the prompt has " + std::to_string(text_bytes(submit)) +
                    " bytes, which are more than " + std::to_string(tokens_max) +
                    " tokens, and the context only " + std::to_string(context) +
                    "; shorten the prompt or raise the context");
}

prompt_reader_actor spawn_prompt_reader(caf::actor_system& system, PromptReading reading,
                                        engine_actor engine) {
  const auto behavior = [reading = std::move(reading),
                         engine = std::move(engine)](prompt_reader_actor::pointer self) {
    return prompt_reader_actor::behavior_type{
        [self, reading, engine](submit_atom, const SubmitPtr& submit, std::uint64_t context) {
          auto read = std::make_shared<ReadPrompt>();
          read->request = submit->request;
          try {
            auto ids = read_prompt(*submit, reading, context);
            read->status = ids.status();
            if (ids.is_ok()) read->ids = std::move(*ids);
          } catch (const std::bad_alloc&) {
            read->status = Status(Code::kResourceExhausted,
                                  "the head has no memory left to read the prompt; send a shorter "
                                  "one");
          }
          self->send(engine, ReadPromptPtr(std::move(read)));
        },
    };
  };
  return system.spawn<caf::detached>(behavior);
}

}  // namespace troupe::actors
