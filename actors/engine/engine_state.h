#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <troupe/actors/engine/answer_text.h>
#include <troupe/actors/engine/asker_use.h>
#include <troupe/actors/engine/block_table.h>
#include <troupe/actors/engine/drafts.h>
#include <troupe/actors/engine/fair_shares.h>
#include <troupe/actors/engine/step_costs.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/actors/messages/step.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/runtime/status.h>

// The engine's decider: which rows go into the next step, what a step's result means for each
// request, when an answer ends. Pure: no actor, clock or socket; time comes as an argument.
// The token log of a request is the only truth: a token counts once, at its position. So what the
// stages hold of a request may be taken away at any time (it is preempted): the log goes through
// them again, and the answer goes on with the same tokens.
//
// Memory is taken block by block. A request starts when there is room for the ids that it has, not
// counting the blocks that it shares, and for one more block of each request that has started.
// Requests with the smallest priority number start first; among them, those of the asker that has
// had least in relation to its weight (fair_shares.h), the oldest first. If memory runs short
// later, requests with a greater number give way first, and then those that began last; they wait
// for their turn again. So the oldest request with the smallest number always goes on. A request
// that waits for memory takes it from requests with a greater number.

namespace troupe::actors {

struct EngineLimits {
  std::size_t stages = 1;
  std::size_t steps_in_flight_max = 2;  // steps that may be under way at once on the whole path
  std::size_t rows_max = 256;           // rows of a step
  std::size_t chunk_rows = 128;         // prompt rows of a step
  std::size_t context_max = 0;          // positions of a sequence
  std::size_t requests_max = 256;       // admitted at once
  // Positions that the nodes have memory for, in sequences and idle blocks; 0: no bound.
  std::uint64_t positions_max = 0;
  Speculation speculation = Speculation::kOff;
};

struct EngineRequest {
  std::uint64_t id = 0;
  std::vector<model::TokenId> prompt;
  std::vector<model::TokenId> answer;  // accepted before: no events report them again
  std::uint32_t max_tokens = 0;        // of the whole answer
  model::SamplingParams sampling;
  std::vector<std::string> stop;
  bool ignore_end = false;       // the model's end tokens are tokens like others
  std::size_t context = 0;       // 0: the limit
  std::int64_t deadline_us = 0;  // absolute, of the caller's clock
  // Its blocks are shared with requests of the same owner and salt. If it has no salt, blocks
  // within the first `public_ids` ids of the prompt are shared with everyone.
  std::string owner = {}, salt = {};
  std::string sharer = {};  // whose share the request takes; "": the owner's
  std::size_t public_ids = 0;
  // If not 0, every id of the prompt but the first is scored: the first event has its
  // log-probability, beside those of this number of likeliest ids. Then max_tokens may be 0.
  std::uint32_t prompt_logprobs = 0;
  bool speculates = true;  // if the engine speculates at all
  // fair_shares.h: the share of the owner's requests, and which requests go first.
  std::uint32_t weight = 1;
  std::int32_t priority = 0;
};

// The logits that the last stage may hold at once to score prompts.
constexpr std::size_t kScoredLogitsMax = std::size_t{1} << 24;

// What an engine's block table has done so far.
struct BlockCounters {
  std::uint64_t queried = 0, found = 0;  // positions that were looked up; those that were found
  std::uint64_t preemptions = 0;
  // Positions that had been computed for requests which then gave way. Those in idle blocks may be
  // found again.
  std::uint64_t preempted_positions = 0;
};

// The number of ids that were drafted so far, and of those that came true.
struct DraftCounters {
  std::uint64_t drafted = 0, accepted = 0;
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
      : limits_(limits), tokenizer_(std::move(tokenizer)), table_(block_limits(limits)) {}

  // Checks that there is a place for one more request beside those admitted and `others`, whose
  // prompts are still being read. kResourceExhausted if there is none.
  Status check_room(std::size_t others) const;
  // Checks the request's share: the last eighth of the places is kept for askers that have at most
  // half of all places. A request of any other asker is refused with kResourceExhausted then. An
  // answer that continues has a place already.
  Status check_share(const EngineRequest& request) const;
  // Returns, for a request that was refused, how long it takes until there is a place for it,
  // judging by the pace at which requests have ended so far. The next request that is refused is
  // told about the place after that.
  std::int64_t wait_for_place_us(std::int64_t now_us);
  // Admits a request, which waits while those before it hold the memory that it needs.
  //   Errors: kInvalidArgument (empty prompt, longer than the context, id known, bad sampling, an
  // answer that has ended already, too many log-probabilities, nothing to compute),
  // kResourceExhausted (too many requests; one that may take more positions than there is memory
  // for).
  Status admit(EngineRequest request, std::int64_t now_us);
  // Ends a request as "cancelled", because its asker went away or wants no more of it.
  std::vector<EngineEvent> cancel(std::uint64_t request);
  // Returns the next step, while there is a credit and something to do.
  std::optional<PlannedStep> next_step(std::int64_t now_us = 0);
  // Takes the result of a step; unknown ids (an earlier try) are ignored.
  std::vector<EngineEvent> on_done(std::uint64_t step, const StepDone& done, std::int64_t now_us);
  // Takes the failure of a step. Its requests end, with three exceptions. If a stage had no memory
  // for their blocks, they are computed again within the memory that there was, as long as another
  // request or an idle block can make room. If the step was overtaken, those that go on are
  // computed again. If it had drafted rows, they are computed again without.
  std::vector<EngineEvent> on_failed(std::uint64_t step, const StepFailed& failed);
  // True if a step was under way when an earlier one failed, and some of its requests have ended or
  // given way since then: the stages may have no place for its rows.
  bool was_overtaken(std::uint64_t step) const;
  // Says that the stages have lost every sequence: steps under way no longer count, and the log of
  // each request goes through the stages again from position 0, in chunks as a prompt does. Tokens
  // that were sent stay valid, and the answers go on with the same tokens.
  void replay();
  // Called when the deployment has lost a stage: nothing is sent until resume(), then everything is
  // replayed. `crashed` names the worker that died, or is empty if none did (it left by itself, or
  // its connection broke). A request that was in the steps under way when two workers crashed,
  // without a token in between, is a suspect. A single suspect ends with an error that says so. If
  // there are several, each is computed alone, until a token clears it or a third crash convicts
  // it.
  std::vector<EngineEvent> halt(const std::string& crashed);
  // Called when the layers lie on stages again, which hold no sequence.
  void resume(const EngineLimits& limits);
  // Says for how many positions the nodes have memory from now on; 0: no bound.
  void resize(std::uint64_t positions_max);
  // Takes a request's blocks away; it waits for its turn and is computed again. False if it had not
  // started.
  bool preempt(std::uint64_t request);
  // Ends every request, because a stage is gone.
  std::vector<EngineEvent> fail_all(const Status& why);
  std::vector<EngineEvent> expire(std::int64_t now_us);

  std::size_t active() const { return requests_.size(); }
  // Returns the number of active requests for which no step has been sent yet.
  std::size_t waiting() const;
  std::size_t steps_in_flight() const { return in_flight_.size(); }
  bool idle() const {
    return requests_.empty() && in_flight_.empty() && closed_.empty() && !table_.has_freed();
  }
  bool halted() const { return halted_; }
  const EngineLimits& limits() const { return limits_; }
  // Returns the number of times that a request was computed again from its first position.
  std::uint64_t replays() const { return replays_; }
  // Returns the number of their positions that steps had carried already, and carry again.
  std::uint64_t replayed_tokens() const { return replayed_tokens_; }
  const BlockTable& blocks() const { return table_; }
  const BlockCounters& block_counters() const { return block_counters_; }
  const DraftCounters& draft_counters() const { return draft_counters_; }
  // Returns the uses of the askers that were counted last. Looks at every block.
  std::vector<NamedUse> asker_uses() const;
  const FairShares& shares() const { return shares_; }
  // Checks the invariants of the block table and of the blocks that requests hold. For tests.
  Status check() const;

 private:
  struct Running {
    EngineRequest request;            // without its prompt and answer
    std::vector<model::TokenId> log;  // the token log: the prompt, then the accepted answer
    std::size_t prompt = 0;           // ids of the prompt
    std::size_t resumed = 0;          // ids of the answer that the request brought
    AnswerText text;
    std::int64_t begin_us = 0;
    BlockSequence blocks = {};
    std::string asker = {};   // asker_of
    std::size_t charged = 0;  // rows of its prompt that the asker was charged with
    // The scores of the prompt's ids from the second on, as far as they are known.
    std::vector<std::vector<model::TokenLogprob>> scores = {};
    std::uint64_t run = 0;  // how often its blocks were taken away
    // The place in the order in which requests began. A request that has not begun, or has given
    // way, comes after all others.
    std::uint64_t place = ~std::uint64_t{0};
    bool begun = false;    // the stages have a sequence for it, or will have one with the next step
    std::size_t sent = 0;  // positions that steps have carried so far, or that were shared
    std::size_t told = 0;  // blocks whose numbers the stages know
    std::uint32_t turn = 0;  // segments that steps have carried
    bool waiting = false;    // a sampling step is in flight
    // Rows of the newest sampling step behind `sent`, whose ids were drafted: none of them counts
    // before its id has come true.
    std::size_t drafted = 0;
    std::uint64_t asked = 0;  // the newest sampling step
    std::size_t matched = 0;  // Draft::matched of its draft
    DraftHistory drafts = {};
    std::optional<std::size_t> cached = {};  // ids of the prompt that were shared at first
    std::int64_t started_us = 0;             // when the first step with its rows was sent
    std::int64_t first_us = 0,
                 last_us = 0;  // when its first and last tokens came, or its prompt was scored
    std::vector<std::string> crashes = {};  // names of workers, since its newest token
    std::size_t answered() const { return log.size() - prompt; }
    // Returns the total number of scores that are to come.
    std::size_t scored() const { return request.prompt_logprobs == 0 ? 0 : prompt - 1; }
    // Returns the number of positions to compute. The last one counts only if a token is sampled
    // there.
    std::size_t wanted() const { return log.size() - (request.max_tokens == 0 ? 1 : 0); }
    // Returns the ids whose blocks may be looked up. Rows that are still to be scored must be
    // computed.
    std::span<const model::TokenId> findable() const {
      const std::size_t most = scores.size() < scored() ? scores.size() + 1 : log.size();
      return std::span(log).first(most);
    }
    // True if all tokens but the newest have been computed: from then on, each step has one row.
    bool decoding() const { return begun && answered() > 0 && sent + 1 >= log.size(); }
    bool ready() const { return decoding() && !waiting; }  // for a row
    bool suspect() const { return crashes.size() >= kCrashesMax; }
    // Returns the number of positions that were computed for the request in its present sequence.
    std::size_t computed() const { return sent - blocks.shared * kBlockPositions; }
  };
  // What was sent in a step, so that its result can be matched.
  struct InFlight {
    struct Rows {
      std::uint64_t request = 0, run = 0;
      std::size_t drafted = 0;  // how many of them have drafted ids
    };
    std::vector<Rows> rows;
    // The time at which it was sent, if it has only rows of answers and no other step was under
    // way.
    std::optional<std::int64_t> timed_from_us = {};
    std::int64_t sent_us = 0;
    StepRows costs = {};
    std::vector<FilledBlock> filled;
    std::vector<std::uint64_t> closed;
    std::vector<BlockNumber> freed;
  };
  // A prompt, or an answer that is being replayed, that can have rows now.
  struct Prompt {
    Running* running = nullptr;
    std::size_t left = 0;   // rows that it still needs
    std::size_t first = 0;  // the position of the first of them
  };
  // Crashes in a row after which a request is suspected of causing them.
  static constexpr std::size_t kCrashesMax = 2;
  // True if a request of the step has ended, or was preempted, since the step was sent.
  bool is_stale(const InFlight& sent) const;
  static BlockLimits block_limits(const EngineLimits& limits);
  bool may_start(const Running& running) const;
  // Returns the text of the tokens that a request brings; kInvalidArgument if they end the answer.
  Status read_answer(const EngineRequest& request, AnswerText* text) const;
  // Takes the result of a step for one request.
  void accept_all(std::uint64_t step, const InFlight& sent, std::span<const SampledToken> tokens,
                  std::int64_t now_us, std::vector<EngineEvent>* events);
  // Returns false if the token ended the request, or if the request is computed again.
  bool accept(const SampledToken& token, std::int64_t now_us, std::vector<EngineEvent>* events);
  void accept_scores(const ScoredPrompt& scored, std::int64_t now_us,
                     std::vector<EngineEvent>* events);
  Status check_prompt_logprobs(const EngineRequest& request) const;
  // Speculation (speculate.cpp). Returns at most `most` ids to try after a request's newest token,
  // if `requests` requests have rows in the step.
  Draft draft_for(Running& running, std::size_t requests, std::size_t most);
  // Records that the first of the drafted rows has come true.
  void accept_drafted_row(Running& running);
  void note_draft_costs(const InFlight& sent, std::int64_t now_us);
  // True if a step that failed had drafted rows: its requests are then computed without them.
  bool compute_without_drafts(const InFlight& sent, const std::vector<std::uint64_t>& requests);
  // The parts of next_step() (plan_step.cpp). Adds the request's next `count` rows to the step, and
  // then those of the draft. A token is sampled after the last row whose id is known.
  void add_rows(Running& running, std::size_t count, Step* step, const Draft& draft = {});
  static void score_rows(const Running& running, StepSegment* segment);
  // Returns the number of blocks that a request takes when it begins with this prefix, including
  // the prefix's idle blocks.
  static std::uint64_t room_to_start(const Running& running, const SharedPrefix& prefix);
  // Returns the blocks that requests that have begun need for the ids that they have and one block
  // more.
  std::uint64_t needed_soon() const;
  // Begins a request with its shared prefix. Returns false if it has to wait: for memory, or for a
  // block that another request computes.
  bool start(Running& running);
  // True if `older`, which goes first, will compute a block that `running` needs and may share.
  bool will_compute(const Running& older, const Running& running, std::size_t block) const;
  // Turns (turns.cpp). Returns the name under which a request's rows are charged. An owner has one
  // name for requests and another one for jobs, so that a job takes nothing from the owner's share
  // of requests.
  static std::string asker_of(const EngineRequest& request);
  // True if there is a bound on the time that prompts may take in a step.
  bool times_prompts() const;
  // True if `one` keeps its memory longer than `other` when memory is needed.
  static bool keeps_memory(const Running& one, const Running& other);
  // Returns the tokens that a request will probably still cost its asker.
  double expected_cost(const Running& running) const;
  // Returns the requests that have rows of prompts, or will, in the order of their turns: by
  // priority; those that have begun first; then by what their askers had.
  std::vector<Running*> in_turn();
  // Takes memory from requests of a greater priority number for those that wait for it.
  void make_way();
  void note_ends(const std::vector<EngineEvent>& events, std::int64_t now_us);
  // Returns the list in the order of turns, which ends before the first request that must wait for
  // memory.
  std::vector<Prompt> prompts_to_compute();
  // True if rows of prompts may go into the next step. While there are answers, the number of steps
  // with such rows is at most the number of stages, so that a token of an answer waits for such
  // rows only once on each stage.
  bool may_add_prompts() const;
  // Returns the rows of answers in a step: their number, and the sum of their positions.
  StepRows answer_rows() const;
  // Gives a request the blocks for positions [0, end). If necessary, takes them from requests that
  // must give up their memory before it and have no rows in `step`. Returns the number of positions
  // for which it then has blocks.
  std::size_t make_room(Running& running, std::size_t end, const Step& step);
  void take_blocks_away(Running& running);
  // Returns the request that must give up its memory first. It is one of those that have begun,
  // have no rows in `step`, and must give up their memory before `running`, unless that is null.
  // Returns null if there is none.
  Running* first_to_give_way(const Running* running, const Step& step);
  std::size_t begun() const;
  // Makes requests give way, one after the other, while they hold more memory than there is. The
  // last one stays.
  void keep_within_limits();
  // Called if a stage had no memory for the blocks of these requests. False if there is nothing to
  // give up.
  bool give_way(const std::vector<std::uint64_t>& requests);
  // Takes a share of the requests that wait for their next token and have a block for it, and adds
  // a row for each of them. The other requests are left for later steps, so that every stage has a
  // step of its own to work on.
  void add_decode_rows(Step* step);
  // Adds rows of prompts, and of answers that are being replayed (prompt_rows.h says whose). The
  // rest of a prompt follows in the next step, which does not wait for this one.
  void add_prompt_rows(Step* step);
  PlannedStep seal(Step step, std::int64_t now_us);
  static Finished finish(Running& running, std::string reason, const Status& error);
  void end(std::uint64_t id, std::string reason, const Status& error,
           std::vector<EngineEvent>* events);

  EngineLimits limits_;
  std::shared_ptr<const model::Tokenizer> tokenizer_;
  std::map<std::uint64_t, Running> requests_;
  std::deque<std::uint64_t> turn_;  // admission order, rotated as decode rows are handed out
  BlockTable table_;
  std::map<std::uint64_t, InFlight> in_flight_;  // by step
  std::vector<std::uint64_t> closed_;            // requests whose sequences the stages may end
  std::vector<FilledBlock> filling_;             // blocks that the step being planned will fill
  BlockCounters block_counters_;
  DraftCounters draft_counters_;
  AskerUses asker_uses_;
  DraftCosts draft_costs_;
  StepCosts step_costs_;
  std::int64_t last_done_us_ = 0;  // when a step came back last
  FairShares shares_;
  double usual_tokens_ = 128;  // of an answer
  // The time at which a request ended last, the usual time between two ends, and the time up to
  // which places are promised.
  std::int64_t ended_us_ = 0, promised_us_ = 0;
  double between_ends_us_ = 1e6;
  std::uint64_t next_step_ = 1;
  std::uint64_t next_place_ = 0;
  std::uint64_t replays_ = 0, replayed_tokens_ = 0;
  std::uint64_t failed_before_ = 0;  // a step failed when those before this one were under way
  bool halted_ = false;
};

}  // namespace troupe::actors
