#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <troupe/actors/engine/answer_text.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/actors/messages/step.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/runtime/status.h>

// The engine's decider: which rows go into the next step, what a step's result means for each
// request, when an answer ends. Pure: no actor, clock or socket; time comes as an argument.
// The token log of a request is the only truth: a token counts once, at its position.

namespace troupe::actors {

struct EngineLimits {
  std::size_t stages = 1;
  std::size_t steps_in_flight_max = 2;  // credits of the whole path
  std::size_t rows_max = 256;           // rows of a step
  std::size_t chunk_rows = 128;         // prompt rows of a step
  std::size_t context_max = 0;          // positions of a sequence
  std::size_t requests_max = 256;       // admitted at once
  // Positions of all sequences together that the nodes have memory for; 0: no bound.
  std::uint64_t positions_max = 0;
};

struct EngineRequest {
  std::uint64_t id = 0;
  std::vector<model::TokenId> prompt;
  std::vector<model::TokenId> answer;  // accepted before: no events tell of them again
  std::uint32_t max_tokens = 0;        // of the whole answer
  model::SamplingParams sampling;
  std::vector<std::string> stop;
  bool ignore_end = false;       // the model's end tokens are tokens like others
  std::size_t context = 0;       // 0: the limit
  std::int64_t deadline_us = 0;  // absolute, of the caller's clock
};

// A token to show, or the end of an answer.
struct EngineEvent {
  std::uint64_t request = 0;
  std::optional<Token> token;
  std::optional<Finished> finished;
};

struct PlannedStep {
  std::uint64_t id = 0;
  Step step;
};

class EngineState {
 public:
  EngineState(EngineLimits limits, std::shared_ptr<const model::Tokenizer> tokenizer)
      : limits_(limits), tokenizer_(std::move(tokenizer)) {}

  // Whether one more request may come, beside those admitted and `others`, whose prompts are still
  // being read. kResourceExhausted if not.
  Status check_room(std::size_t others) const;
  // A request waits while those before it may take the memory that it may take.
  //   Errors: kInvalidArgument (empty prompt, longer than the context, id known, bad sampling, an
  // answer that has ended already), kResourceExhausted (too many requests; one that may take more
  // positions than there is memory for).
  Status admit(EngineRequest request, std::int64_t now_us);
  // Ends a request whose asker went away or wants no more of it: it is "cancelled".
  std::vector<EngineEvent> cancel(std::uint64_t request);
  // The next step, while there is a credit and something to do.
  std::optional<PlannedStep> next_step();
  // A step came back; unknown ids (an earlier try) are ignored.
  std::vector<EngineEvent> on_done(std::uint64_t step, const StepDone& done, std::int64_t now_us);
  std::vector<EngineEvent> on_failed(std::uint64_t step, const StepFailed& failed);
  // The stages have lost every sequence: steps under way no longer count, and the log of each
  // request goes through the stages again from position 0, in chunks as a prompt does. What was
  // said stays said, and the answers go on with the same tokens.
  void replay();
  // The deployment lost a stage: nothing is sent until resume(), then everything is replayed.
  // `crashed` names the worker that died, or is empty when none did (it left in peace, its
  // connection broke). A request that was in the steps under way when two workers crashed, without
  // a token in between, is a suspect. A single one ends with an error that says so; of several,
  // each is computed while no other one is, until a token clears it or a third crash convicts it.
  std::vector<EngineEvent> halt(const std::string& crashed);
  // The layers lie on stages again, which hold no sequence.
  void resume(const EngineLimits& limits);
  // Ends everything: a stage is gone.
  std::vector<EngineEvent> fail_all(const Status& why);
  std::vector<EngineEvent> expire(std::int64_t now_us);

  std::size_t active() const { return requests_.size(); }
  // Of the active ones, those of which no step has gone out yet.
  std::size_t waiting() const;
  std::size_t steps_in_flight() const { return in_flight_.size(); }
  bool idle() const { return requests_.empty() && in_flight_.empty() && closed_.empty(); }
  bool halted() const { return halted_; }
  // Requests that were computed again from their first position, each time counted.
  std::uint64_t replays() const { return replays_; }
  // Positions of theirs that steps had carried already, and carry again.
  std::uint64_t replayed_tokens() const { return replayed_tokens_; }

 private:
  struct Running {
    EngineRequest request;
    std::vector<model::TokenId> answer;  // the token log
    std::size_t resumed = 0;             // how many of them the request brought
    std::size_t sent = 0;                // positions that steps have carried so far
    bool waiting = false;                // a sampling step is in flight
    AnswerText text;
    std::int64_t begin_us = 0, first_us = 0, last_us = 0;
    std::vector<std::string> crashes = {};  // of workers that computed it, since its newest token
    std::size_t length() const { return request.prompt.size() + answer.size(); }
    // All but the newest token has been through: what is left goes a row a step.
    bool decoding() const { return !answer.empty() && sent + 1 >= length(); }
    bool suspect() const { return crashes.size() >= kCrashesMax; }
    // Positions that it may take, in whole pages.
    std::uint64_t positions() const;
  };
  // Crashes in a row after which a request is suspected of causing them.
  static constexpr std::size_t kCrashesMax = 2;
  bool may_start(const Running& running) const;
  // Of requests that have started, the positions that they may take.
  std::uint64_t positions_taken() const;
  // The text of the tokens that a request brings; kInvalidArgument when they end the answer.
  Status read_answer(const EngineRequest& request, AnswerText* text) const;
  void accept(const SampledToken& token, std::int64_t now_us, std::vector<EngineEvent>* events);
  // next_step() in its parts. These rows go into the step; the last known one has its token
  // sampled.
  void add_rows(Running& running, std::size_t count, Step* step);
  // One row for each request that waits for its next token, but only for a share of the requests,
  // so that every stage has a step of its own to work on.
  void add_decode_rows(Step* step);
  // Rows of prompts, and of answers that are replayed, the oldest request first. The rest of a
  // prompt follows in the next step, which does not wait for this one.
  void add_prompt_rows(std::uint64_t positions_taken, Step* step);
  PlannedStep seal(Step step);
  static Finished finish(Running& running, std::string reason, const Status& error);
  void end(std::uint64_t id, std::string reason, const Status& error,
           std::vector<EngineEvent>* events);

  EngineLimits limits_;
  std::shared_ptr<const model::Tokenizer> tokenizer_;
  std::map<std::uint64_t, Running> requests_;
  std::deque<std::uint64_t> turn_;  // admission order, rotated as decode rows are handed out
  std::map<std::uint64_t, std::vector<std::uint64_t>> in_flight_;  // step -> its requests
  std::vector<std::uint64_t> closed_;  // requests whose KV the stages may drop
  std::uint64_t next_step_ = 1;
  std::uint64_t replays_ = 0, replayed_tokens_ = 0;
  bool halted_ = false;
};

}  // namespace troupe::actors
