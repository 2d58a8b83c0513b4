#include <functional>

#include <troupe/actors/http/generation.h>
#include <troupe/actors/http/generation_room.h>
#include <troupe/runtime/clock.h>

// Keeps what a stream has said, so that another connection can take it up, or another process
// restore it.

namespace troupe::http {

// Records what a stream is told, for a client that comes back.
void Generation::keep(const Choice& choice, const AnswerEvent& event) {
  if (!is_kept()) return;
  record_.push_back(event);
  record_.back().answer = choice.index;
  service_.keeper->say(head_.id, record_.back());
}

void Generation::on_saved() {
  saved_ = true;
  flush();
}

void Generation::take_up(const ExchangePtr& exchange, const StreamPosition& from) {
  // The cluster, or this process, may be back.
  if (failure_.code() == Code::kUnavailable) failure_ = Status::ok();
  std::size_t waiting = 0;
  for (const Choice& choice : choices_) waiting += !choice.ended && choice.answer == 0;
  if (has_failed()) waiting = 0;
  const std::uint64_t who = std::hash<std::string>()(head_.id);
  if (waiting > 0 && !has_room(service_, *exchange, waiting, who)) return;
  if (exchange_) {
    const auto before = exchange_->responder;
    before->on_gone({});
    exchange_.reset();
    before->cut();
  }
  reset_view();
  for (Choice& choice : choices_) choice.skipped = from[choice.index];
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

void Generation::restore(Service& service, AnswerHead head,
                         std::shared_ptr<const PreparedAsk> prepared, const std::string& key,
                         const std::vector<AnswerEvent>& said, std::int64_t rested_us) {
  const auto stream =
      std::make_shared<Generation>(service, nullptr, key, std::move(head), std::move(prepared));
  for (const AnswerEvent& event : said) {
    if (event.answer >= stream->choices_.size()) continue;
    Choice& choice = stream->choices_[event.answer];
    if (event.ended && !event.error) {
      stream->failure_ = event.error;
      continue;
    }
    // Tokens after a gap are computed again.
    if (choice.ended || (!event.ended && event.index != choice.ids.size())) continue;
    if (event.ended) {
      choice.ended = true;
      choice.tokens = event.tokens;
      choice.cached_tokens = event.cached_tokens;
    } else {
      choice.ids.push_back(event.id);
      choice.tokens = choice.ids.size();
    }
    choice.counted_tokens = choice.tokens;
    stream->record_.push_back(event);
  }
  stream->complete_ = stream->all_ended();
  stream->rests_since_us_ = rested_us;
  const bool same = stream->head_.fingerprint == stream->prepared_->model->fingerprint;
  if (!stream->complete_ && !same && !stream->has_failed()) {
    stream->failure_ = Status(Code::kFailedPrecondition,
                              "the stream was begun with other weights or by another version of "
                              "the arithmetic, so that the rest could belong to another text; ask "
                              "again for a whole answer");
  }
  service.streams[stream->id()] = stream;
}

}  // namespace troupe::http
