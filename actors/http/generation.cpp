#include <algorithm>
#include <ctime>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/generation.h>
#include <troupe/actors/http/random_id.h>
#include <troupe/actors/http/text_offsets.h>
#include <troupe/runtime/clock.h>

namespace troupe::http {
namespace {

// How long a stream's head waits for a refusal of the engine's, which is then a status.
constexpr int kCommitMs = 25;
constexpr const char* kComment = ": the answer is on its way\n\n";

bool has_room(Service& service, const Exchange& exchange, std::size_t choices) {
  const ServeLimits& limits = service.options.limits;
  if (service.draining) {
    exchange.responder->respond(
        error_response(overloaded("the server is shutting down; ask another one", 5)));
    return false;
  }
  if (choices > std::min(limits.answers, limits.answers_per_key)) {
    exchange.responder->respond(error_response(
        bad_request("the request asks for more answers than the server computes at once", "n",
                    "invalid_value")));
    return false;
  }
  // A place is free when an answer has ended.
  const double wait_s = std::clamp(service.between_answers_s, 1.0, 60.0);
  if (service.answers.size() + choices > limits.answers) {
    exchange.responder->respond(error_response(
        overloaded("the server computes as many answers as it may; try again later", wait_s)));
    return false;
  }
  if (service.answers_of_key[exchange.key] + choices > limits.answers_per_key) {
    ApiError error = overloaded("this key has as many answers under way as it may", wait_s);
    error.status = 429;
    error.type = "requests";
    error.code = "rate_limit_exceeded";
    exchange.responder->respond(error_response(error));
    return false;
  }
  return true;
}

// The usual time between the ends of two answers, of which the last ones count most.
void note_end(Service& service) {
  const std::int64_t now_us = monotonic_us();
  if (service.answer_ended_us != 0) {
    const double took_s = static_cast<double>(now_us - service.answer_ended_us) * 1e-6;
    service.between_answers_s += 0.1 * (took_s - service.between_answers_s);
  }
  service.answer_ended_us = now_us;
}

}  // namespace

void Generation::begin(Service& service, const ExchangePtr& exchange,
                       std::shared_ptr<const PreparedAsk> prepared) {
  if (!has_room(service, *exchange, prepared->ask.n * prepared->prompts.size())) return;
  std::make_shared<Generation>(service, exchange, std::move(prepared))->start();
}

Generation::Generation(Service& service, ExchangePtr exchange,
                       std::shared_ptr<const PreparedAsk> prepared)
    : service_(service),
      exchange_(std::move(exchange)),
      key_(exchange_->key),
      prepared_(std::move(prepared)) {
  const GenerationAsk& ask = prepared_->ask;
  head_.kind = ask.kind;
  head_.id = (ask.kind == AskKind::kChat ? "chatcmpl-" : "cmpl-") + random_id();
  head_.created_s = static_cast<std::int64_t>(std::time(nullptr));
  head_.model = prepared_->model->id;
  head_.fingerprint = prepared_->model->fingerprint;
  head_.seed = ask.seed ? *ask.seed : random_seed();
  for (std::size_t i = 0; i < ask.n * prepared_->prompts.size(); ++i) {
    Choice choice(ask.kind);
    choice.index = i;
    choice.prompt = i / ask.n;
    choices_.push_back(std::move(choice));
  }
  reset_view();
}

// What a connection has been told: nothing yet.
void Generation::reset_view() {
  for (Choice& choice : choices_) {
    choice.text = prepared_->ask.echo ? prepared_->prompt_texts[choice.prompt] : std::string();
    choice.characters = count_characters(choice.text);
    choice.logprobs.clear();
    choice.begun = choice.echoed = false;
  }
  committed_ = false;
  events_ = 0;
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
  request.deadline_ms = service_.options.limits.answer_ms;
  return request;
}

void Generation::listen_to(const ExchangePtr& exchange) {
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
  if (is_kept() && service_.options.resume) service_.streams[head_.id] = shared_from_this();
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

void Generation::take_up(const ExchangePtr& exchange, std::uint64_t from) {
  std::size_t waiting = 0;
  for (const Choice& choice : choices_) waiting += !choice.ended && choice.answer == 0;
  if (has_failed()) waiting = 0;
  if (waiting > 0 && !has_room(service_, *exchange, waiting)) return;
  if (exchange_) {
    const auto before = exchange_->responder;
    before->on_gone({});
    exchange_.reset();
    before->cut();
  }
  reset_view();
  skipped_ = from;
  listen_to(exchange);
  commit();
  for (const AnswerEvent& event : record_) {
    Choice& choice = choices_[event.answer];
    if (event.ended) {
      show_end(choice, event);
    } else {
      show_token(choice, event);
    }
  }
  if (complete_ || has_failed()) {
    write_rest_of_stream();
  } else {
    for (Choice& choice : choices_) {
      if (!choice.ended && choice.answer == 0) ask_for(choice);
    }
  }
  flush();
}

void Generation::commit() {
  if (committed_ || !exchange_) return;
  committed_ = true;
  exchange_->responder->begin_events({});
  out_ += kComment;
  const GenerationAsk& ask = prepared_->ask;
  for (Choice& choice : choices_) {
    if (ask.scores_prompt()) continue;  // it comes with the first token
    if (ask.echo && !choice.text.empty()) {
      write_chunk(choice, choice.text, "");
    } else if (ask.kind == AskKind::kChat) {
      write_chunk(choice, "", "");
    }
  }
  comment_later();
}

// Proxies cut streams that are silent for too long.
void Generation::comment_later() {
  const int every_ms = service_.options.limits.comment_ms;
  service_.after(every_ms,
                 [weak = weak_from_this(), exchange = std::weak_ptr(exchange_), every_ms] {
                   const auto silent = weak.lock();
                   if (!silent || !silent->exchange_ || silent->exchange_ != exchange.lock())
                     return;
                   if (monotonic_us() - silent->written_us_ >= std::int64_t{every_ms} * 900) {
                     silent->out_ += kComment;
                     silent->flush();
                   }
                   if (silent->exchange_) silent->comment_later();
                 });
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

// Notes what a stream is told, for a client that comes back.
void Generation::keep(const Choice& choice, const AnswerEvent& event) {
  if (!is_kept()) return;
  record_.push_back(event);
  record_.back().answer = choice.index;
}

void Generation::measure(Choice& choice, std::uint64_t index) {
  const std::int64_t now_us = monotonic_us();
  const auto seconds = [&](std::int64_t since_us) {
    return static_cast<double>(now_us - since_us) * 1e-6;
  };
  if (choice.first_us == 0) {
    choice.first_us = now_us;
    counters().first_token.add(seconds(accepted_us_));
  } else {
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
  write_event(chunk_json(head_, json, !choice.begun, prepared_->ask.include_usage));
  choice.begun = true;
}

void Generation::write_event(const std::string& json) {
  if (++events_ <= skipped_ || !exchange_) return;
  out_ += "id: " + head_.id + ":" + std::to_string(events_) + "\ndata: " + json + "\n\n";
}

void Generation::flush() {
  if (!exchange_ || out_.empty()) return;
  written_us_ = monotonic_us();
  const auto responder = exchange_->responder;
  const bool last = complete_ || has_failed();
  std::string events;
  events.swap(out_);
  responder->write_events(events);
  if (!last || !exchange_) return;  // or it was cut just now
  let_go();
  responder->end_events();
}

Usage Generation::usage() const {
  Usage usage;
  for (const auto& prompt : prepared_->prompts) usage.prompt_tokens += prompt.size();
  for (const Choice& choice : choices_) usage.completion_tokens += choice.tokens;
  // The choices of a prompt share what the first of them computes.
  for (std::size_t prompt = 0; prompt < prepared_->prompts.size(); ++prompt) {
    std::uint64_t cached = prepared_->prompts[prompt].size();
    for (const Choice& choice : choices_) {
      if (choice.prompt == prompt) cached = std::min(cached, choice.cached_tokens);
    }
    usage.cached_tokens += cached;
  }
  return usage;
}

// What ends a stream: it is complete, or has failed.
void Generation::write_rest_of_stream() {
  if (has_failed()) return write_event(error_json(api_error(failure_)));
  if (prepared_->ask.include_usage) write_event(usage_chunk_json(head_, usage()));
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
  if (!exchange_) return;
  if (committed_) {
    write_rest_of_stream();
    return flush();
  }
  const auto responder = exchange_->responder;
  let_go();
  service_.streams.erase(head_.id);
  responder->respond(error_response(api_error(why)));
}

void Generation::abandon(const Status& why) {
  if (complete_ || has_failed()) return;
  const auto self = shared_from_this();
  service_.streams.erase(head_.id);
  fail(why);
}

void Generation::client_gone() {
  exchange_.reset();
  out_.clear();
  cancel_rest();
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

void Generation::rest() { rests_since_us_ = monotonic_us(); }

// The connection is done with this request.
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
  if (choice.first_us == 0) return;
  const auto seconds = [](std::int64_t us) { return static_cast<double>(us) * 1e-6; };
  counted.decode.add(seconds(choice.last_us - choice.first_us));
  counted.whole.add(seconds(choice.last_us - accepted_us_));
}

}  // namespace troupe::http
