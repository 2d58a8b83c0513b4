#include <algorithm>
#include <chrono>
#include <optional>

#include <troupe/actors/engine/ended_answer.h>
#include <troupe/actors/engine/engine.h>
#include <troupe/actors/engine/prompt_reader.h>
#include <troupe/actors/engine/request_traces.h>
#include <troupe/actors/messages/request_log.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/numerics/arithmetic_version.h>

namespace troupe::actors {

namespace {

constexpr std::chrono::milliseconds kTick{100};
constexpr std::int64_t kDefaultDeadlineUs = 600'000'000;

// A request whose prompt is being read by the prompt reader.
struct Unread {
  SubmitPtr submit;
  token_sink sink;
  std::int64_t begin_us = 0;
};

struct EngineShell {
  EngineShell() = default;
  EngineShell(const EngineShell&) = delete;
  EngineShell& operator=(const EngineShell&) = delete;
  ~EngineShell() {
    if (reader) caf::anon_send_exit(reader, caf::exit_reason::user_shutdown);
  }
  EnginePlacement placement;
  std::unique_ptr<EngineState> state;
  RequestTraces traces;
  std::map<std::uint64_t, token_sink> sinks;
  prompt_reader_actor reader;  // none until there is something long to read
  std::map<std::uint64_t, Unread> unread;
  std::uint64_t submitted = 0, told_idle = 0;
  Status failed;  // not ok: a stage is gone, nothing can be admitted
};
using Self = engine_actor::stateful_pointer<EngineShell>;
using Setup = std::shared_ptr<const EngineSetup>;

void publish(Self self, const Setup& setup, std::vector<EngineEvent> events) {
  for (EngineEvent& event : events) {
    const auto sink = self->state.sinks.find(event.request);
    if (sink == self->state.sinks.end()) continue;
    if (event.token) {
      setup->counters->tokens.fetch_add(1, std::memory_order_relaxed);
      self->send(sink->second, std::make_shared<const Token>(std::move(*event.token)));
    }
    if (event.finished) {
      event.finished->trace = self->state.traces.end(event.request, monotonic_us());
      const bool failed = event.finished->finish_reason == "error";
      log_request(failed ? LogLevel::kInfo : LogLevel::kDebug, event.request,
                  (failed ? "failed: " + event.finished->outcome.text
                          : "ended: " + event.finished->finish_reason) +
                      "; tokens=" + std::to_string(event.finished->token_ids.size()));
      self->send(sink->second, std::make_shared<const Finished>(std::move(*event.finished)));
      self->demonitor(sink->second.address());
      self->state.sinks.erase(sink);
    }
  }
}

void count(EngineCounters& counters, const EngineState& state, std::size_t unread) {
  counters.running = state.active() - state.waiting();
  counters.queued = state.waiting() + unread;
  counters.credits = state.limits().steps_in_flight_max;
  counters.credits_in_use = state.steps_in_flight();
  counters.blocks_in_use = state.blocks().in_use();
  counters.blocks_idle = state.blocks().idle();
  counters.blocks_max = state.blocks().limits().blocks_max;
  counters.prefix_queried = state.block_counters().queried;
  counters.prefix_found = state.block_counters().found;
  counters.preemptions = state.block_counters().preemptions;
  counters.drafted = state.draft_counters().drafted;
  counters.accepted = state.draft_counters().accepted;
}

// Sends steps while there are credits. If the connection is gone, the step is lost with it: the
// coordinator sees that, too, and has everything replayed. If a step cannot be sent for another
// reason (the stage is so far behind that its queue is full), its requests end.
void drive(Self self, const Setup& setup) {
  EngineState& state = *self->state.state;
  const EnginePlacement& at = self->state.placement;
  while (auto planned = state.next_step(monotonic_us())) {
    self->state.traces.sent(*planned, at.epoch, monotonic_us());
    const Status sent =
        setup->link->send(at.first_stage, MessageType::kStep, planned->step, at.epoch, planned->id);
    if (sent || sent.code() == Code::kUnavailable) continue;
    StepFailed failed;
    for (const StepSegment& segment : planned->step.segments) {
      failed.requests.push_back(segment.request);
    }
    failed.outcome = sent.with_context("the first stage does not keep up");
    publish(self, setup, state.on_failed(planned->id, failed));
  }
  count(*setup->counters, state, self->state.unread.size());
  if (setup->watch) setup->watch(state);
  if (state.idle() && self->state.unread.empty() && setup->coordinator &&
      self->state.told_idle != self->state.submitted) {
    self->state.told_idle = self->state.submitted;
    self->send(setup->coordinator, idle_atom::value, setup->deployment, self->state.submitted);
  }
}

void refuse(Self self, const token_sink& sink, const Submit& submit, const Status& why,
            std::int64_t retry_after_us = 0) {
  log_request(LogLevel::kInfo, submit.request, "refused: " + why.message());
  Finished finished = failed_request(submit.request, why);
  finished.retry_after_ms = static_cast<std::uint32_t>((retry_after_us + 999) / 1000);
  self->send(sink, std::make_shared<const Finished>(std::move(finished)));
}

// Refuses a request for which there is no place now.
void refuse_for_now(Self self, const token_sink& sink, const Submit& submit, const Status& why) {
  refuse(self, sink, submit, why, self->state.state->wait_for_place_us(monotonic_us()));
}

// Sends what is known about an answer that another arithmetic version began, and ends it.
void end_other_arithmetic(Self self, const Setup& setup, const Submit& submit,
                          EngineRequest request, const token_sink& sink) {
  auto events = ended_answer(std::move(request), *setup->tokenizer,
                             other_arithmetic(submit.arithmetic, kArithmeticVersion));
  if (!events) return refuse(self, sink, submit, events.status());
  self->state.sinks.emplace(submit.request, sink);
  self->monitor(sink);
  publish(self, setup, std::move(*events));
}

// Admits a request whose prompt has been read; it was submitted at begin_us.
void admit(Self self, const Setup& setup, const Submit& submit, const token_sink& sink,
           std::int64_t begin_us, Result<std::vector<model::TokenId>> ids) {
  if (!ids) {
    refuse(self, sink, submit, ids.status());
    return drive(self, setup);
  }
  EngineRequest request;
  request.id = submit.request;
  request.prompt = std::move(*ids);
  request.answer = submit.answer_ids;
  request.max_tokens = submit.max_tokens;
  request.sampling = submit.sampling;
  request.stop = submit.stop;
  request.ignore_end = submit.ignore_end;
  request.context = submit.context;
  // The owner is a Z85 text, which has no line feeds, so that no asker can be mistaken for one of
  // another client.
  request.owner = submit.owner + "\n" + submit.asker;
  request.sharer = submit.sharer;
  request.salt = submit.cache_salt;
  request.public_ids = submit.public_ids;
  request.prompt_logprobs = submit.prompt_logprobs;
  request.speculates = !submit.no_speculation;
  request.weight = submit.weight;
  request.priority = submit.priority;
  request.deadline_us = begin_us + (submit.deadline_ms > 0 ? std::int64_t{submit.deadline_ms} * 1000
                                                           : kDefaultDeadlineUs);
  if (submit.arithmetic != 0 && submit.arithmetic != kArithmeticVersion) {
    end_other_arithmetic(self, setup, submit, std::move(request), sink);
    return drive(self, setup);
  }
  Status room = self->state.state->check_room(0);
  if (room) room = self->state.state->check_share(request);
  if (!room) {
    refuse_for_now(self, sink, submit, room);
    return drive(self, setup);
  }
  const Status admitted = self->state.state->admit(std::move(request), begin_us);
  if (!admitted) {
    refuse(self, sink, submit, admitted);
    return drive(self, setup);
  }
  log_request(LogLevel::kDebug, submit.request,
              "accepted: deployment=" + std::to_string(setup->deployment) +
                  " epoch=" + std::to_string(self->state.placement.epoch) +
                  " max_tokens=" + std::to_string(submit.max_tokens));
  if (submit.trace) self->state.traces.begin(submit.request, begin_us);
  self->state.sinks.emplace(submit.request, sink);
  self->monitor(sink);
  drive(self, setup);
}

void submit(Self self, const Setup& setup, const SubmitPtr& submit, const token_sink& sink) {
  EngineShell& engine = self->state;
  ++engine.submitted;
  if (!engine.failed) return refuse(self, sink, *submit, engine.failed);
  const std::int64_t now = monotonic_us();
  const PromptReading reading{setup->tokenizer, setup->chat_template};
  const std::size_t most = engine.placement.limits.context_max;
  const std::size_t context =
      submit->context == 0 ? most : std::min<std::size_t>(submit->context, most);
  if (!is_long(*submit)) {
    return admit(self, setup, *submit, sink, now, read_prompt(*submit, reading, context));
  }
  const Status room = engine.state->check_room(engine.unread.size());
  if (!room) return refuse_for_now(self, sink, *submit, room);
  if (!engine.unread.emplace(submit->request, Unread{submit, sink, now}).second) {
    return refuse(self, sink, *submit,
                  Status(Code::kInvalidArgument,
                         "request " + std::to_string(submit->request) + " runs already"));
  }
  if (!engine.reader) engine.reader = spawn_prompt_reader(self->system(), reading, self);
  self->monitor(sink);
  self->send(engine.reader, submit_atom::value, submit, std::uint64_t{context});
}

// Removes and returns a request whose prompt is being read; returns nothing if it has ended
// already.
std::optional<Unread> take_unread(Self self, std::uint64_t request) {
  auto found = self->state.unread.extract(request);
  if (found.empty()) return std::nullopt;
  self->demonitor(found.mapped().sink.address());
  return std::move(found.mapped());
}

void on_read(Self self, const Setup& setup, const ReadPrompt& read) {
  const auto unread = take_unread(self, read.request);
  if (!unread) return drive(self, setup);
  admit(self, setup, *unread->submit, unread->sink, unread->begin_us, read.ids);
}

void cancel(Self self, const Setup& setup, std::uint64_t request) {
  if (const auto unread = take_unread(self, request)) {
    Finished finished;
    finished.request = request;
    finished.finish_reason = "cancelled";
    self->send(unread->sink, std::make_shared<const Finished>(std::move(finished)));
  }
  publish(self, setup, self->state.state->cancel(request));
  drive(self, setup);
}

// Ends everything.
void fail(Self self, const Setup& setup, const Status& why) {
  self->state.failed = why;
  while (!self->state.unread.empty()) {
    const auto unread = take_unread(self, self->state.unread.begin()->first);
    refuse(self, unread->sink, *unread->submit, why);
  }
  publish(self, setup, self->state.state->fail_all(why));
  self->quit();
}

void on_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  EngineState& state = *self->state.state;
  if (frame.header.type == static_cast<std::uint16_t>(MessageType::kStepDone)) {
    const auto done = decode_body<StepDone>(*setup->link, frame);
    if (done) {
      self->state.traces.done(frame.header.step, *done, monotonic_us());
      publish(self, setup, state.on_done(frame.header.step, *done, monotonic_us()));
    }
  } else {
    const auto failed = decode_body<StepFailed>(*setup->link, frame);
    if (failed && failed->outcome.status().code() == Code::kFailedPrecondition &&
        setup->coordinator && !state.was_overtaken(frame.header.step)) {
      // A step before this one was lost with a connection: the stages begin anew.
      self->send(setup->coordinator, halt_atom::value, setup->deployment, frame.header.epoch,
                 failed->outcome.text);
    } else if (failed) {
      publish(self, setup, state.on_failed(frame.header.step, *failed));
    }
  }
  drive(self, setup);
}

void halt(Self self, const Setup& setup, const std::string& crashed) {
  EngineState& state = *self->state.state;
  const std::uint64_t replays = state.replays(), tokens = state.replayed_tokens();
  auto events = state.halt(crashed);
  self->state.traces.lost(monotonic_us());
  setup->replay_counters->replays += state.replays() - replays;
  setup->replay_counters->replayed_tokens += state.replayed_tokens() - tokens;
  setup->replay_counters->quarantined += events.size();
  publish(self, setup, std::move(events));
  drive(self, setup);  // sends nothing, but counts what has changed
}

engine_actor::behavior_type engine_behavior(Self self, Setup setup) {
  self->state.placement = setup->placement;
  self->state.state = std::make_unique<EngineState>(setup->placement.limits, setup->tokenizer);
  self->set_down_handler([self, setup](const caf::down_msg& down) {
    std::erase_if(self->state.unread,
                  [&](const auto& entry) { return entry.second.sink.address() == down.source; });
    std::vector<std::uint64_t> gone;
    for (const auto& [id, sink] : self->state.sinks) {
      if (sink.address() == down.source) gone.push_back(id);
    }
    for (const std::uint64_t id : gone) {
      self->state.sinks.erase(id);
      self->state.state->cancel(id);
      self->state.traces.end(id, monotonic_us());
      log_request(LogLevel::kDebug, id, "ended: its asker is gone");
    }
    drive(self, setup);
  });
  self->delayed_send(self, kTick, tick_atom::value);
  return {
      [self, setup](submit_atom, const SubmitPtr& request, const token_sink& sink) {
        submit(self, setup, request, sink);
      },
      [self, setup](cancel_atom, std::uint64_t request) { cancel(self, setup, request); },
      [self, setup](const FramePtr& frame) { on_frame(self, setup, *frame); },
      [self, setup](fail_atom, const StatusPtr& why) { fail(self, setup, *why); },
      [self, setup](const ReadPromptPtr& read) { on_read(self, setup, *read); },
      [self, setup](halt_atom, const std::string& crashed) { halt(self, setup, crashed); },
      [self, setup](resume_atom, const EnginePlacementPtr& placement) {
        self->state.placement = *placement;
        self->state.state->resume(placement->limits);
        drive(self, setup);
      },
      [self, setup](resize_atom, std::uint64_t positions_max) {
        self->state.state->resize(positions_max);
        drive(self, setup);
      },
      [self, setup](tick_atom) {
        publish(self, setup, self->state.state->expire(monotonic_us()));
        drive(self, setup);
        setup->counters->askers.set(self->state.state->asker_uses());
        self->delayed_send(self, kTick, tick_atom::value);
      },
  };
}

}  // namespace

engine_actor spawn_engine(caf::actor_system& system, EngineSetup setup) {
  return system.spawn(engine_behavior, std::make_shared<const EngineSetup>(std::move(setup)));
}

}  // namespace troupe::actors
