#pragma once

#include <optional>
#include <string>
#include <vector>

#include "world.h"

// One request of a simulated client, and its outcome: every token is compared with the right answer
// as it comes.

namespace troupe::actors::simulation {

struct Stream {
  net::SimHost client = 0;
  int name = 0;  // for people
  std::vector<model::TokenId> prompt, right;
  std::uint32_t max_tokens = 1;
  model::SamplingParams sampling;
  std::uint32_t weight = 1;
  std::int32_t priority = 0;
  bool traced = false;  // the request asks for a trace
  std::size_t tokens = 0;
  bool over = false;      // the request's end was reported
  bool orphan = false;    // the request's client died, so nobody hears the answer
  bool complete = false;  // the request ended with the whole answer
  std::string error;      // the error with which the request ended
  std::string wrong;      // what must not happen, but did
  bool settled() const { return over || orphan; }

  void complain(const std::string& what) {
    if (wrong.empty()) wrong = "request " + std::to_string(name) + ": " + what;
  }
  void on_token(const Token& token) {
    if (over) return complain("a token came after the end");
    if (token.index != tokens) {
      return complain("token " + std::to_string(token.index) + " came when " +
                      std::to_string(tokens) + " was due");
    }
    if (tokens >= right.size() || token.id != right[tokens]) {
      return complain("token " + std::to_string(tokens) + " is " + std::to_string(token.id) +
                      ", which is wrong");
    }
    ++tokens;
  }
  void on_finished(const Finished& finished) {
    if (over) return complain("it ended twice");
    over = true;
    if (finished.finish_reason == "error") {
      error = finished.outcome.text;
      if (error.empty()) complain("it ended with an error without words");
      if (error.find("simulated stage:") != std::string::npos) complain(error);
      return;
    }
    complete = true;
    if (traced) check_trace(finished.trace);
    if (finished.token_ids != right) complain("the answer at the end is not the right one");
    if (tokens != right.size()) complain("it ended with tokens missing");
    const char* const reason = right.back() == kEnd ? "stop" : "length";
    if (finished.finish_reason != reason) complain("it ended for another reason");
  }
  // Checks the trace. All processes have one clock, so the stages' measurements fit into the time
  // that a step was away.
  void check_trace(const RequestTrace& trace) {
    if (trace.request == 0 || trace.steps.empty()) return complain("its trace is empty");
    std::size_t answered = 0;
    for (const TracedStep& step : trace.steps) {
      std::uint64_t in_stages = 0;
      for (const StageTime& stage : step.stages) in_stages += stage.queue_us + stage.compute_us;
      const bool fits = step.sent_us + in_stages <= step.done_us && step.done_us <= trace.engine_us;
      if (!fits || step.lost != step.stages.empty()) return complain("its trace does not add up");
      if (!step.lost) answered += step.rows;
    }
    if (answered < tokens) complain("its trace lacks steps");
  }
};
using StreamPtr = std::shared_ptr<Stream>;

inline token_sink::behavior_type stream_sink(token_sink::pointer self, StreamPtr stream) {
  return {
      [stream](const TokenPtr& token) { stream->on_token(*token); },
      [self, stream](const FinishedPtr& finished) {
        stream->on_finished(*finished);
        self->quit();
      },
  };
}

// Waits for the head's welcome, opens the model, submits, and listens: what Cluster::connect and
// generate do, except that those block a thread.
inline caf::behavior asker(caf::event_based_actor* self, const Process* process, OpenPtr open,
                           std::shared_ptr<Submit> submit, StreamPtr stream) {
  const auto refuse = [self, stream](const std::string& why) {
    Finished finished;
    finished.finish_reason = "error";
    finished.outcome.text = why;
    stream->on_finished(finished);
    self->quit();
  };
  const auto ask = [=] {
    const service_actor service = process->client;
    self->request(service, caf::infinite, open_atom::value, open)
        .then(
            [=](const ReadyPtr& ready) {
              if (!ready->outcome.is_ok()) return refuse(ready->outcome.text);
              submit->deployment = ready->deployment;
              const auto sink = self->system().spawn(stream_sink, stream);
              self->send(service, submit_atom::value, SubmitPtr(submit), sink);
              self->quit();
            },
            [=](const caf::error&) { refuse("the client ended"); });
  };
  self->send(self, tick_atom::value, 0);
  return {[=](tick_atom, int tries) {
    if (process->connected) return ask();
    if (process->refused || tries == 100) return refuse("no head answered");
    self->delayed_send(self, std::chrono::milliseconds(50), tick_atom::value, tries + 1);
  }};
}

inline void ask(World& world, Process& process, const StreamPtr& stream) {
  auto open = std::make_shared<OpenModel>();
  open->model = world.common().file.manifest.model;
  open->manifest = world.common().file.manifest;
  open->has_manifest = true;
  auto submit = std::make_shared<Submit>();
  submit->request = next_request_id();
  submit->prompt_ids = stream->prompt;
  submit->max_tokens = stream->max_tokens;
  submit->sampling = stream->sampling;
  submit->deadline_ms = 60'000;
  submit->trace = stream->traced;
  submit->weight = stream->weight;
  submit->priority = stream->priority;
  process.track(process.system->spawn(asker, &process, OpenPtr(open), submit, stream));
}

}  // namespace troupe::actors::simulation
