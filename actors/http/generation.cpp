#include <algorithm>
#include <ctime>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/generation.h>
#include <troupe/actors/http/generation_room.h>
#include <troupe/actors/http/random_id.h>
#include <troupe/actors/http/stored_stream.h>
#include <troupe/actors/http/text_offsets.h>
#include <troupe/runtime/clock.h>

namespace troupe::http {
namespace {

// How long the head of a stream is held back. If the engine refuses within this time, the refusal
// can still be an HTTP status.
constexpr int kCommitMs = 25;
constexpr const char* kComment = ": the answer is on its way\n\n";

}  // namespace

void Generation::begin(Service& service, const ExchangePtr& exchange,
                       std::shared_ptr<const PreparedAsk> prepared) {
  const GenerationAsk& ask = prepared->ask;
  const std::uint64_t who = name_of_request(exchange->key, *prepared);
  if (!has_room(service, *exchange, ask.n * prepared->prompts.size(), who)) return;
  AnswerHead head;
  head.kind = ask.kind;
  head.id = (ask.kind == AskKind::kChat ? "chatcmpl-" : "cmpl-") + random_id();
  head.created_s = static_cast<std::int64_t>(std::time(nullptr));
  head.model = prepared->model->id;
  head.fingerprint = prepared->model->fingerprint;
  head.seed = ask.seed ? *ask.seed : random_seed();
  std::make_shared<Generation>(service, exchange, exchange->key, std::move(head),
                               std::move(prepared))
      ->start();
}

Generation::Generation(Service& service, ExchangePtr exchange, const std::string& key,
                       AnswerHead head, std::shared_ptr<const PreparedAsk> prepared)
    : service_(service),
      exchange_(std::move(exchange)),
      key_(key),
      owner_(service.owner_of(key)),
      prepared_(std::move(prepared)),
      head_(std::move(head)) {
  const GenerationAsk& ask = prepared_->ask;
  for (std::size_t i = 0; i < ask.n * prepared_->prompts.size(); ++i) {
    Choice choice(ask.kind);
    choice.index = i;
    choice.prompt = i / ask.n;
    choices_.push_back(std::move(choice));
  }
  reset_view();
}

// Begins for a connection that has been sent nothing yet.
void Generation::reset_view() {
  for (Choice& choice : choices_) {
    choice.text = prepared_->ask.echo ? prepared_->prompt_texts[choice.prompt] : std::string();
    choice.characters = count_characters(choice.text);
    choice.logprobs.clear();
    choice.begun = choice.echoed = false;
    choice.events = choice.skipped = 0;
  }
  committed_ = false;
  out_.clear();
}

AnswerRequest Generation::request_of(const Choice& choice) const {
  const GenerationAsk& ask = prepared_->ask;
  AnswerRequest request;
  request.model = prepared_->model->index;
  request.prompt_ids = prepared_->prompts[choice.prompt];
  request.answer_ids = choice.ids;
  request.max_tokens = static_cast<std::uint32_t>(*ask.max_tokens);
  request.sampling = ask.sampling;
  request.sampling.seed = head_.seed;
  request.sampling.choice = static_cast<std::uint32_t>(choice.index % ask.n);
  if (ask.logprobs) request.sampling.logprobs = ask.reported();
  if (ask.scores_prompt()) request.prompt_logprobs = ask.reported();
  request.stop = ask.stop;
  request.ignore_end = ask.ignore_end;
  request.asker = key_;
  request.cache_salt = ask.cache_salt;
  request.public_ids = prepared_->public_ids[choice.prompt];
  request.weight = weight_;
  request.priority = std::max(ask.priority, priority_least_);
  request.deadline_ms = service_.options.limits.answer_ms;
  return request;
}

void Generation::listen_to(const ExchangePtr& exchange) {
  weight_ = exchange->weight;
  priority_least_ = exchange->priority_least;
  exchange_ = exchange;
  exchange_->responder->on_gone([weak = weak_from_this()] {
    if (const auto gone = weak.lock()) gone->client_gone();
  });
}

void Generation::start() {
  listen_to(exchange_);
  accepted_us_ = monotonic_us();
  counters().prompt_tokens += usage().prompt_tokens;
  service_.limits.pay_tokens(key_, usage().prompt_tokens, accepted_us_);
  if (is_kept()) {
    service_.streams[head_.id] = shared_from_this();
    // A client that knows the stream's id may come back after this process was killed, so the
    // stream must be in the file first.
    saved_ = !service_.keeper->has_file();
    if (!saved_) {
      service_.keeper->begin({head_.id, owner_, encode_ask(head_, *prepared_), 0, {}});
    }
  }
  for (Choice& choice : choices_) {
    if (is_computed(choice)) ask_for(choice);
  }
  for (Choice& choice : choices_) {
    if (!is_computed(choice)) end_at_once(choice);
  }
  if (all_ended()) complete();
  flush();
  if (all_ended() || !streams()) return;
  service_.after(kCommitMs, [weak = weak_from_this()] {
    const auto waiting = weak.lock();
    if (!waiting || !waiting->exchange_ || waiting->committed_) return;
    waiting->commit();
    waiting->flush();
  });
}

void Generation::ask_for(Choice& choice) {
  choice.answer = service_.gateway->start(request_of(choice));
  service_.answers[choice.answer] = shared_from_this();
  ++service_.answers_of_key[key_];
  choice.last_us = 0;
  if (rests_since_us_ != 0 && is_kept()) service_.keeper->rest(head_.id, 0);
  rests_since_us_ = 0;
}

bool Generation::is_computed(const Choice& choice) const {
  const GenerationAsk& ask = prepared_->ask;
  // The first token of a prompt has no log-probability.
  return *ask.max_tokens > 0 ||
         (ask.scores_prompt() && prepared_->prompts[choice.prompt].size() > 1);
}

void Generation::end_at_once(Choice& choice) {
  AnswerEvent event;
  event.answer = choice.index;
  event.ended = true;
  event.finish_reason = "length";
  choice.ended = true;
  ++counters().answers[event.finish_reason];
  if (streams()) commit();
  keep(choice, event);
  show_end(choice, event);
}

void Generation::commit() {
  if (committed_ || !exchange_) return;
  committed_ = true;
  exchange_->responder->begin_events({});
  write_comment();
  const GenerationAsk& ask = prepared_->ask;
  for (Choice& choice : choices_) {
    if (ask.scores_prompt()) continue;  // the prompt is sent with the first token
    if (ask.echo && !choice.text.empty()) {
      write_chunk(choice, choice.text, "");
    } else if (ask.kind == AskKind::kChat) {
      write_chunk(choice, "", "");
    }
  }
  comment_later();
}

// Writes a comment later, because proxies cut streams that are silent for too long.
void Generation::comment_later() {
  const int every_ms = service_.options.limits.comment_ms;
  service_.after(every_ms,
                 [weak = weak_from_this(), exchange = std::weak_ptr(exchange_), every_ms] {
                   const auto silent = weak.lock();
                   if (!silent || !silent->exchange_ || silent->exchange_ != exchange.lock())
                     return;
                   if (monotonic_us() - silent->written_us_ >= std::int64_t{every_ms} * 900) {
                     silent->write_comment();
                   }
                   if (silent->exchange_) silent->comment_later();
                 });
}

// Sends the comment at once: nothing in it has to be in the file first.
void Generation::write_comment() {
  written_us_ = monotonic_us();
  exchange_->responder->write_events(kComment);
}

void Generation::on_event(const AnswerEvent& event) {
  const auto found = std::find_if(choices_.begin(), choices_.end(), [&](const Choice& choice) {
    return choice.answer == event.answer;
  });
  if (found == choices_.end()) return;
  if (event.ended) return on_end(*found, event);
  measure(*found, event.index);
  found->ids.push_back(event.id);
  if (streams()) commit();
  keep(*found, event);
  show_token(*found, event);
}

void Generation::measure(Choice& choice, std::uint64_t index) {
  const std::int64_t now_us = monotonic_us();
  const auto seconds = [&](std::int64_t since_us) {
    return static_cast<double>(now_us - since_us) * 1e-6;
  };
  if (choice.first_us == 0) {
    choice.first_us = now_us;
    if (accepted_us_ != 0) counters().first_token.add(seconds(accepted_us_));
  } else if (choice.last_us != 0) {  // otherwise nobody computed the answer meanwhile
    counters().between_tokens.add(seconds(choice.last_us));
  }
  choice.last_us = now_us;
  choice.tokens = index + 1;
  service_.limits.pay_tokens(key_, 1, now_us);
}

void Generation::show_token(Choice& choice, const AnswerEvent& event) {
  const GenerationAsk& ask = prepared_->ask;
  const model::Tokenizer& tokenizer = *prepared_->model->tokenizer;
  show_prompt(choice, event);
  const bool is_end = !ask.ignore_end && tokenizer.is_end(event.id);
  // Programs that score texts count on an entry for every token of a completion.
  if (ask.logprobs && (!is_end || ask.kind == AskKind::kCompletion)) {
    std::vector<model::TokenLogprob> shown = event.logprobs;
    shown.resize(std::min(shown.size(), ask.top_logprobs.value_or(0) + 1));
    choice.logprobs.add(tokenizer, shown, choice.characters);
    const Result<std::string> piece = tokenizer.piece(event.id, true);
    if (piece && !is_end) choice.characters += count_characters(*piece);
  }
  choice.text += event.text;
  if (!streams()) return;
  if (!event.text.empty() || !choice.logprobs.empty()) write_chunk(choice, event.text, "");
}

void Generation::show_prompt(Choice& choice, const AnswerEvent& event) {
  const GenerationAsk& ask = prepared_->ask;
  if (!ask.scores_prompt() || choice.echoed) return;
  choice.echoed = true;
  choice.logprobs.add_prompt(*prepared_->model->tokenizer, prepared_->prompts[choice.prompt],
                             choice.text, event.prompt_logprobs, ask.top_logprobs.value_or(0));
  if (streams()) write_chunk(choice, choice.text, "");
}

void Generation::show_end(Choice& choice, const AnswerEvent& event) {
  show_prompt(choice, event);
  choice.finish_reason = event.finish_reason;
  if (streams()) write_chunk(choice, "", event.finish_reason);
}

void Generation::on_end(Choice& choice, const AnswerEvent& event) {
  service_.answers.erase(choice.answer);
  --service_.answers_of_key[key_];
  choice.answer = 0;
  choice.tokens = event.tokens;
  choice.cached_tokens = event.cached_tokens;
  count(choice, event.finish_reason);
  if (event.queue_ms > 0) counters().queue.add(event.queue_ms * 1e-3);
  if (event.prefill_ms > 0) counters().prefill.add(event.prefill_ms * 1e-3);
  note_end(service_);
  if (event.finish_reason != "stop" && event.finish_reason != "length") {
    retry_after_ms_ = event.retry_after_ms;
    return fail(event.error ? Status(Code::kCancelled, "the answer was cancelled") : event.error);
  }
  choice.ended = true;
  if (streams()) commit();
  keep(choice, event);
  show_end(choice, event);
  if (all_ended()) complete();
}

bool Generation::all_ended() const {
  return std::all_of(choices_.begin(), choices_.end(),
                     [](const Choice& choice) { return choice.ended; });
}

void Generation::write_chunk(Choice& choice, std::string_view text,
                             const std::string& finish_reason) {
  ChoiceJson json{choice.index, text, "", finish_reason};
  if (!choice.logprobs.empty()) json.logprobs = choice.logprobs.json();
  choice.logprobs.clear();
  write_event(choice, chunk_json(head_, json, !choice.begun, prepared_->ask.include_usage));
  choice.begun = true;
}

void Generation::write_event(Choice& choice, const std::string& json) {
  if (++choice.events > choice.skipped) write_numbered(json);
}

// Writes an event with its id, which says what the client has once it has the event.
void Generation::write_numbered(const std::string& json) {
  if (!exchange_) return;
  out_ += "id: " + head_.id;
  for (const Choice& choice : choices_) {
    out_ += choice.index == 0 ? ':' : '.';
    out_ += std::to_string(std::max(choice.events, choice.skipped));
  }
  out_ += "\ndata: " + json + "\n\n";
}

void Generation::flush() {
  if (!exchange_ || out_.empty() || !saved_) return;
  written_us_ = monotonic_us();
  const auto responder = exchange_->responder;
  const bool last = complete_ || has_failed();
  std::string events;
  events.swap(out_);
  responder->write_events(events);
  if (!last || !exchange_) return;  // end_events() is not for a client that was cut off just now
  let_go();
  responder->end_events();
}

Usage Generation::usage() const {
  Usage usage;
  for (const auto& prompt : prepared_->prompts) usage.prompt_tokens += prompt.size();
  for (const Choice& choice : choices_) usage.completion_tokens += choice.tokens;
  // The choices of a prompt share what the first one computes.
  for (std::size_t prompt = 0; prompt < prepared_->prompts.size(); ++prompt) {
    std::uint64_t cached = prepared_->prompts[prompt].size();
    for (const Choice& choice : choices_) {
      if (choice.prompt == prompt) cached = std::min(cached, choice.cached_tokens);
    }
    usage.cached_tokens += cached;
  }
  return usage;
}

// Writes the last event of a stream, which is complete or has failed.
void Generation::write_rest_of_stream() {
  // An error is not part of the answer. It has the id of the event before it, after which the
  // stream can be continued.
  if (has_failed()) return write_numbered(error_json(api_error(failure_)));
  if (prepared_->ask.include_usage) {
    write_event(choices_.back(), usage_chunk_json(head_, usage()));
  }
  out_ += "data: [DONE]\n\n";
}

void Generation::complete() {
  complete_ = true;
  rest();
  if (streams()) return write_rest_of_stream();
  std::vector<ChoiceJson> choices;
  for (const Choice& choice : choices_) {
    ChoiceJson json{choice.index, choice.text, "", choice.finish_reason};
    if (prepared_->ask.logprobs) json.logprobs = choice.logprobs.json();
    choices.push_back(std::move(json));
  }
  Response response;
  response.body = answer_json(head_, choices, usage());
  const auto responder = exchange_->responder;
  let_go();
  responder->respond(std::move(response));
}

void Generation::fail(const Status& why) {
  cancel_rest();
  failure_ = why;
  saved_ = true;
  if (is_kept() && why.code() != Code::kUnavailable) {
    AnswerEvent failed;
    failed.ended = true;
    failed.finish_reason = "error";
    failed.error = why;
    service_.keeper->say(head_.id, failed);
  }
  if (!exchange_) return;
  if (committed_) {
    write_rest_of_stream();
    return flush();
  }
  const auto responder = exchange_->responder;
  let_go();
  forget_stream(service_, head_.id);
  ApiError error = api_error(why);
  if (retry_after_ms_ > 0) {  // the engine's queue is full
    error.status = 429;
    error.type = "requests";
    error.code = "rate_limit_exceeded";
    error.retry_after_s = retry_after_ms_ * 1e-3;
  }
  responder->respond(error_response(error));
}

void Generation::abandon(const Status& why) {
  if (complete_ || has_failed()) return;
  const auto self = shared_from_this();
  fail(why);
}

void Generation::client_gone() {
  const auto self = shared_from_this();
  exchange_.reset();
  out_.clear();
  cancel_rest();
  if (!committed_) forget_stream(service_, head_.id);  // nobody knows the stream's id
}

void Generation::cancel_rest() {
  const auto self = shared_from_this();  // the map may hold the last reference
  for (Choice& choice : choices_) {
    if (choice.answer == 0) continue;
    count(choice, "cancelled");
    service_.gateway->cancel(choice.answer);
    service_.answers.erase(choice.answer);
    --service_.answers_of_key[key_];
    choice.answer = 0;
  }
  rest();
}

void Generation::rest() {
  rests_since_us_ = monotonic_us();
  if (is_kept()) service_.keeper->rest(head_.id, unix_now_ms());
}

// Detaches from the connection, which is done with this request.
void Generation::let_go() {
  if (!exchange_) return;
  exchange_->responder->on_gone({});
  exchange_.reset();
}

AnswerCounters& Generation::counters() {
  return service_.metrics.answers(prepared_->model->id, key_);
}

void Generation::count(Choice& choice, const std::string& finish_reason) {
  AnswerCounters& counted = counters();
  ++counted.answers[finish_reason];
  counted.completion_tokens += choice.tokens - choice.counted_tokens;
  choice.counted_tokens = choice.tokens;
  // For a stream that was taken up again, the time in which nobody computed it means nothing.
  if (choice.last_us == 0 || accepted_us_ == 0) return;
  const auto seconds = [](std::int64_t us) { return static_cast<double>(us) * 1e-6; };
  counted.decode.add(seconds(choice.last_us - choice.first_us));
  counted.whole.add(seconds(choice.last_us - accepted_us_));
}

}  // namespace troupe::http
