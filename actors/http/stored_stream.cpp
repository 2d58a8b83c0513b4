#include <cstdint>
#include <span>

#include <troupe/actors/http/stored_stream.h>
#include <troupe/actors/messages/outcome.h>
#include <troupe/runtime/wire/codec.h>

namespace troupe::http {

// This number rises with every change of the two structs below; a stream that another release wrote
// is forgotten.
constexpr std::uint32_t kStoredForm = 1;

struct StoredAsk {
  std::uint32_t form = 0;
  bool chat = false;
  std::string id, model, fingerprint;
  std::int64_t created_s = 0;
  std::uint64_t seed = 0, n = 1, max_tokens = 0, top_logprobs = 0;
  bool include_usage = false, echo = false, logprobs = false, has_top = false, ignore_end = false;
  std::vector<std::string> stop;
  std::string cache_salt;
  model::SamplingParams sampling;
  std::vector<std::vector<model::TokenId>> prompts;
  std::vector<std::uint64_t> public_ids;
  std::vector<std::string> prompt_texts;
  template <class A>
  void serialize(A& a) {
    a(form, chat, id, model, fingerprint, created_s, seed, n, max_tokens, top_logprobs,
      include_usage, echo, logprobs, has_top, ignore_end, stop, cache_salt, sampling, prompts,
      public_ids, prompt_texts);
  }
};

struct StoredEvent {
  std::uint32_t choice = 0, index = 0;
  bool ended = false;
  model::TokenId id = 0;
  std::string text;
  std::vector<model::TokenLogprob> logprobs;
  std::string finish_reason;
  actors::Outcome error;
  std::uint64_t tokens = 0, cached_tokens = 0;
  template <class A>
  void serialize(A& a) {
    a(choice, index, ended, id, text, logprobs, finish_reason, error, tokens, cached_tokens);
  }
};

struct StoredEvents {
  std::vector<StoredEvent> events;
  template <class A>
  void serialize(A& a) {
    a(events);
  }
};

}  // namespace troupe::http

namespace troupe::wire {
TROUPE_MESSAGE(http::StoredAsk)
TROUPE_MESSAGE(http::StoredEvents)
}  // namespace troupe::wire

namespace troupe::http {
namespace {

template <class Stored>
std::string to_bytes(const Stored& stored) {
  const auto bytes = wire::encode(stored);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class Stored>
Result<Stored> from_bytes(const std::string& bytes) {
  return wire::decode<Stored>(std::as_bytes(std::span<const char>(bytes)));
}

}  // namespace

std::string encode_ask(const AnswerHead& head, const PreparedAsk& prepared) {
  const GenerationAsk& ask = prepared.ask;
  StoredAsk stored;
  stored.form = kStoredForm;
  stored.chat = head.kind == AskKind::kChat;
  stored.id = head.id;
  stored.model = head.model;
  stored.fingerprint = head.fingerprint;
  stored.created_s = head.created_s;
  stored.seed = head.seed;
  stored.n = ask.n;
  stored.max_tokens = ask.max_tokens.value_or(0);
  stored.has_top = ask.top_logprobs.has_value();
  stored.top_logprobs = ask.top_logprobs.value_or(0);
  stored.include_usage = ask.include_usage;
  stored.echo = ask.echo;
  stored.logprobs = ask.logprobs;
  stored.ignore_end = ask.ignore_end;
  stored.stop = ask.stop;
  stored.cache_salt = ask.cache_salt;
  stored.sampling = ask.sampling;
  stored.prompts = prepared.prompts;
  stored.public_ids.assign(prepared.public_ids.begin(), prepared.public_ids.end());
  stored.prompt_texts = prepared.prompt_texts;
  return to_bytes(stored);
}

Status decode_ask(const std::string& bytes, const ServedModels& models, AnswerHead* head,
                  PreparedAsk* prepared) {
  const Result<StoredAsk> stored = from_bytes<StoredAsk>(bytes);
  if (!stored) return stored.status();
  const std::size_t prompts = stored->prompts.size();
  const bool whole = stored->form == kStoredForm && prompts > 0 && stored->n > 0 &&
                     stored->n * prompts <= kChoicesMax && stored->public_ids.size() == prompts &&
                     stored->prompt_texts.size() == prompts;
  if (!whole) return Status(Code::kBadData, "it has the form of another release");
  prepared->model = models.find(stored->model);
  if (!prepared->model) return Status(Code::kNotFound, "its model is not served any more");
  head->kind = stored->chat ? AskKind::kChat : AskKind::kCompletion;
  head->id = stored->id;
  head->model = stored->model;
  head->fingerprint = stored->fingerprint;
  head->created_s = stored->created_s;
  head->seed = stored->seed;
  GenerationAsk& ask = prepared->ask;
  ask.kind = head->kind;
  ask.model = stored->model;
  ask.n = stored->n;
  ask.seed = stored->seed;
  ask.max_tokens = stored->max_tokens;
  ask.stream = true;
  ask.include_usage = stored->include_usage;
  ask.echo = stored->echo;
  ask.logprobs = stored->logprobs;
  if (stored->has_top) ask.top_logprobs = stored->top_logprobs;
  ask.ignore_end = stored->ignore_end;
  ask.stop = stored->stop;
  ask.cache_salt = stored->cache_salt;
  ask.sampling = stored->sampling;
  prepared->prompts = stored->prompts;
  prepared->public_ids.assign(stored->public_ids.begin(), stored->public_ids.end());
  prepared->prompt_texts = stored->prompt_texts;
  return Status::ok();
}

std::string encode_events(const std::vector<AnswerEvent>& events) {
  StoredEvents stored;
  for (const AnswerEvent& event : events) {
    StoredEvent& one = stored.events.emplace_back();
    one.choice = static_cast<std::uint32_t>(event.answer);
    one.index = event.index;
    one.ended = event.ended;
    one.id = event.id;
    one.text = event.text;
    one.logprobs = event.logprobs;
    one.finish_reason = event.finish_reason;
    one.error = event.error;
    one.tokens = event.tokens;
    one.cached_tokens = event.cached_tokens;
  }
  return to_bytes(stored);
}

Result<std::vector<AnswerEvent>> decode_events(const std::string& bytes) {
  TROUPE_ASSIGN_OR_RETURN(const StoredEvents stored, from_bytes<StoredEvents>(bytes));
  std::vector<AnswerEvent> events;
  for (const StoredEvent& one : stored.events) {
    AnswerEvent& event = events.emplace_back();
    event.answer = one.choice;
    event.index = one.index;
    event.ended = one.ended;
    event.id = one.id;
    event.text = one.text;
    event.logprobs = one.logprobs;
    event.finish_reason = one.finish_reason;
    event.error = one.error.status();
    event.tokens = one.tokens;
    event.cached_tokens = one.cached_tokens;
  }
  return events;
}

}  // namespace troupe::http
