#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/actors/http/answer_json.h>
#include <troupe/actors/http/exchange.h>
#include <troupe/actors/http/gateway.h>
#include <troupe/actors/http/prepared_ask.h>
#include <troupe/actors/http/service.h>
#include <troupe/actors/http/stream_position.h>

// One generating request from its acceptance to its answer. It has several choices if n or the
// number of prompts asks for them. If the connection of a stream breaks, the stream is no longer
// computed, and can be taken up again: its events are a function of its tokens, so that the same
// events come again. Lives on the HTTP thread.

namespace troupe::http {

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  // Accepts the request and asks for its answers, or answers that the server is full.
  static void begin(Service& service, const ExchangePtr& exchange,
                    std::shared_ptr<const PreparedAsk> prepared);

  // Restores a stream of an earlier process, which has rested since `rested_us`. `said` is what is
  // known about it.
  static void restore(Service& service, AnswerHead head,
                      std::shared_ptr<const PreparedAsk> prepared, const std::string& key,
                      const std::vector<AnswerEvent>& said, std::int64_t rested_us);

  // `exchange` is null if nobody reads the answer.
  Generation(Service& service, ExchangePtr exchange, const std::string& key, AnswerHead head,
             std::shared_ptr<const PreparedAsk> prepared);
  // Takes a token or the end of one of its choices. flush() sends what this adds to a stream.
  void on_event(const AnswerEvent& event);
  void flush();
  // Ends the request with an error, and asks for nothing more.
  void abandon(const Status& why);
  // Sends the events of a stream that follow `from` to another connection, and continues the stream
  // there. A connection that still has the stream is cut off. `from` has a number for each choice.
  void take_up(const ExchangePtr& exchange, const StreamPosition& from);
  // Says that the stream is in the file: from now on, a client that has its id can take it up.
  void on_saved();

  const std::string& id() const { return head_.id; }
  const std::string& key() const { return key_; }
  const std::string& owner() const { return owner_; }
  std::size_t choices() const { return choices_.size(); }
  // Returns the time since which nothing is computed; 0 while something is.
  std::int64_t rests_since_us() const { return rests_since_us_; }

 private:
  struct Choice {
    explicit Choice(AskKind kind) : logprobs(kind) {}
    std::size_t index = 0, prompt = 0;
    std::uint64_t answer = 0;  // the gateway's number; 0 while nothing is computed
    std::vector<model::TokenId> ids;
    bool ended = false;
    std::uint64_t tokens = 0, counted_tokens = 0;
    std::uint64_t cached_tokens = 0;         // of its prompt
    std::int64_t first_us = 0, last_us = 0;  // when its first and latest token came
    // What has been sent to the connection.
    std::string text, finish_reason;
    LogprobList logprobs;
    std::size_t characters = 0;  // number of characters before the next token
    bool begun = false;          // its first chunk was written
    bool echoed = false;         // the prompt with its log-probabilities was shown
    // The number of events so far, of which the first `skipped` were not sent to this connection.
    std::uint64_t events = 0, skipped = 0;
  };

  void start();
  void ask_for(Choice& choice);
  // Returns false if no token is asked for, so that there may be nothing to compute.
  bool is_computed(const Choice& choice) const;
  void end_at_once(Choice& choice);
  AnswerRequest request_of(const Choice& choice) const;
  void reset_view();
  void listen_to(const ExchangePtr& exchange);
  void measure(Choice& choice, std::uint64_t index);
  void keep(const Choice& choice, const AnswerEvent& event);
  void show_token(Choice& choice, const AnswerEvent& event);
  void show_end(Choice& choice, const AnswerEvent& event);
  // Sends the prompt, if it comes with log-probabilities, before the first token or the end.
  void show_prompt(Choice& choice, const AnswerEvent& event);
  void on_end(Choice& choice, const AnswerEvent& event);
  // Sends the head of the stream, once it is clear that the answer begins.
  void commit();
  void comment_later();
  void write_chunk(Choice& choice, std::string_view text, const std::string& finish_reason);
  void write_event(Choice& choice, const std::string& json);
  void write_numbered(const std::string& json);
  void write_comment();
  void write_rest_of_stream();
  void fail(const Status& why);
  void complete();
  void client_gone();
  // Cancels the answers that are under way.
  void cancel_rest();
  void rest();
  void let_go();
  AnswerCounters& counters();
  // Counts a choice that has ended, and its tokens.
  void count(Choice& choice, const std::string& finish_reason);
  Usage usage() const;
  bool streams() const { return prepared_->ask.stream; }
  // True if the stream is kept for a client that may come back. A scored prompt has too many
  // log-probabilities for that.
  bool is_kept() const {
    return streams() && !prepared_->ask.scores_prompt() && service_.options.resume;
  }
  bool all_ended() const;
  bool has_failed() const { return !failure_.is_ok(); }

  Service& service_;
  ExchangePtr exchange_;  // null while nobody reads the answer
  std::string key_, owner_;
  std::uint32_t weight_ = 1;
  std::int32_t priority_least_ = -9;
  std::uint32_t retry_after_ms_ = 0;  // of an answer that was refused
  std::shared_ptr<const PreparedAsk> prepared_;
  AnswerHead head_;
  std::vector<Choice> choices_;
  // A stream's tokens and ends in the order in which they came; `answer` is the choice.
  std::vector<AnswerEvent> record_;
  Status failure_;          // why the answer ended without being complete
  bool complete_ = false;   // every choice has ended well
  bool committed_ = false;  // the stream's head was sent to this connection
  bool saved_ = true;       // the stream is in its file, or needs none: events may be sent
  std::string out_;         // events that flush() sends
  std::int64_t accepted_us_ = 0, written_us_ = 0, rests_since_us_ = 0;
};

}  // namespace troupe::http
