#include <algorithm>
#include <chrono>
#include <deque>
#include <vector>

#include <troupe/actors/journal/journal_actor.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::actors {

// Mail from a stream to the journal's actor.
struct StreamChange {
  StreamUpdate update;
  // Called when a stream that begins is in the journal, or with the reason why it is not; on the
  // journal's thread. May be empty.
  std::function<void(const Status&)> saved = {};
};
using StreamChangePtr = std::shared_ptr<const StreamChange>;

}  // namespace troupe::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::StreamChangePtr)

namespace troupe::actors {
namespace {

using Clock = std::chrono::steady_clock;

// How often a stream hands its tokens to the journal's actor, which must be woken for that, and how
// often the actor writes the news of all streams.
constexpr std::chrono::milliseconds kTokensEvery{300}, kNewsEvery{200};
constexpr std::size_t kTokensAtOnce = 256;
constexpr std::chrono::seconds kScrubEvery{60};

void complain(const Status& status) {
  if (!status) log(LogLevel::kError, status.message());
}

// The actor that spawn_journal() makes; others see it as a journal_actor.
using writer_actor =
    journal_actor::extend<caf::reacts_to<StreamChangePtr>, caf::reacts_to<tick_atom>>;

struct WriterShell {
  std::vector<StreamChangePtr> news;
  bool begun = false;            // one of them begins a stream: a tick is in the mailbox
  Clock::time_point write_at{};  // when to write, unless a stream begins earlier
  Clock::time_point ticks_at{};  // when the next delayed tick comes
  Clock::time_point scrub_at = Clock::now() + kScrubEvery;
};
using Writer = writer_actor::stateful_pointer<WriterShell>;

void tick_at(Writer self, Clock::time_point when) {
  if (self->state.ticks_at > Clock::now() && self->state.ticks_at <= when) return;
  self->state.ticks_at = when;
  const auto pause = std::max(Clock::duration::zero(), when - Clock::now());
  self->delayed_send(self, std::chrono::ceil<std::chrono::milliseconds>(pause), tick_atom::value);
}

void write_news(Writer self, Journal& journal) {
  const std::vector<StreamChangePtr> news = std::move(self->state.news);
  self->state.news.clear();
  self->state.begun = false;
  std::vector<StreamUpdate> updates;
  for (const StreamChangePtr& change : news) updates.push_back(change->update);
  const Result<std::vector<Status>> written = journal.update_streams(updates, unix_now_ms());
  complain(written.status());
  for (std::size_t i = 0; i < news.size(); ++i) {
    if (news[i]->saved) news[i]->saved(written ? (*written)[i] : written.status());
  }
  self->state.write_at = Clock::now() + kNewsEvery;
}

void on_tick(Writer self, Journal& journal) {
  WriterShell& state = self->state;
  const auto now = Clock::now();
  if (!state.news.empty() && (state.begun || now >= state.write_at)) write_news(self, journal);
  if (now >= state.scrub_at) {
    complain(journal.scrub());
    state.scrub_at = now + kScrubEvery;
  }
  tick_at(self, state.news.empty() ? state.scrub_at : state.write_at);
}

void on_change(Writer self, const StreamChangePtr& change) {
  WriterShell& state = self->state;
  state.news.push_back(change);
  if (!change->update.begins) return tick_at(self, state.write_at);
  // The tick comes after the other streams that begin now, which are in the mailbox already.
  if (!state.begun) self->send(self, tick_atom::value);
  state.begun = true;
}

writer_actor::behavior_type writer_behavior(Writer self, std::shared_ptr<Journal> journal) {
  tick_at(self, self->state.scrub_at);
  return {
      [journal](const JournalWorkPtr& work) { (*work)(*journal); },
      [self](const StreamChangePtr& change) { on_change(self, change); },
      [self, journal](tick_atom) { on_tick(self, *journal); },
  };
}

using stream_actor =
    token_sink::extend<caf::reacts_to<loaded_atom, StatusPtr>, caf::reacts_to<tick_atom>>;

struct StreamShell {
  bool written = false;
  std::deque<TokenPtr> held_tokens;
  FinishedPtr held_end;
  std::vector<std::int32_t> tokens;  // that the journal's actor does not have yet
  std::uint32_t first = 0;           // the index of the first of them
};
using Self = stream_actor::stateful_pointer<StreamShell>;

struct StreamSetup {
  writer_actor journal;
  StreamRecord record;
  token_sink sink;
};

void write(const StreamSetup& setup, StreamUpdate update,
           std::function<void(const Status&)> saved = {}) {
  update.id = setup.record.id;
  update.owner = setup.record.owner;
  caf::anon_send(setup.journal, StreamChangePtr(std::make_shared<const StreamChange>(
                                    StreamChange{std::move(update), std::move(saved)})));
}

void write_tokens(Self self, const StreamSetup& setup) {
  std::vector<std::int32_t> tokens = std::move(self->state.tokens);
  self->state.tokens.clear();
  if (tokens.empty()) return;
  const std::uint32_t first = self->state.first;
  self->state.first += static_cast<std::uint32_t>(tokens.size());
  write(setup, {.first = first, .tokens = std::move(tokens)});
}

void tell_end(Self self, const StreamSetup& setup, const FinishedPtr& finished) {
  self->send(setup.sink, finished);
  // A failed request may be submitted again, also by its id; a complete one may not.
  if (finished->outcome.is_ok()) {
    write(setup, {.ends = true});
  } else {
    write_tokens(self, setup);
  }
  self->quit();
}

stream_actor::behavior_type stream_behavior(Self self, std::shared_ptr<const StreamSetup> setup) {
  self->monitor(setup->sink);
  // When this actor ends, the engine cancels the request. A client that lost its connection may
  // still resume the answer.
  self->set_down_handler([self, setup](const caf::down_msg&) {
    write_tokens(self, *setup);
    self->quit();
  });
  const auto me = caf::actor_cast<caf::strong_actor_ptr>(self);
  write(*setup, {.begins = setup->record}, [me](const Status& saved) {
    caf::anon_send(caf::actor_cast<stream_actor>(me), loaded_atom::value,
                   StatusPtr(std::make_shared<const Status>(saved)));
  });
  self->state.first = static_cast<std::uint32_t>(setup->record.tokens.size());
  self->delayed_send(self, kTokensEvery, tick_atom::value);
  return {
      [self, setup](const TokenPtr& token) {
        if (token->index == self->state.first + self->state.tokens.size()) {
          self->state.tokens.push_back(token->id);
        }
        if (self->state.tokens.size() >= kTokensAtOnce) write_tokens(self, *setup);
        if (!self->state.written) {
          self->state.held_tokens.push_back(token);
        } else {
          self->send(setup->sink, token);
        }
      },
      [self, setup](const FinishedPtr& finished) {
        if (!self->state.written) {
          self->state.held_end = finished;
        } else {
          tell_end(self, *setup, finished);
        }
      },
      [self, setup](loaded_atom, const StatusPtr& saved) {
        // If the disk is full, the answer goes on, but it cannot be resumed.
        if (!*saved) {
          log(LogLevel::kError, "an answer cannot be resumed: " + saved->message());
        }
        self->state.written = true;
        for (const TokenPtr& token : self->state.held_tokens) self->send(setup->sink, token);
        self->state.held_tokens.clear();
        if (self->state.held_end) tell_end(self, *setup, self->state.held_end);
      },
      [self, setup](tick_atom) {
        write_tokens(self, *setup);
        self->delayed_send(self, kTokensEvery, tick_atom::value);
      },
  };
}

}  // namespace

journal_actor spawn_journal(caf::actor_system& system, std::shared_ptr<Journal> journal) {
  return system.spawn<caf::detached>(writer_behavior, std::move(journal));
}

token_sink spawn_stream(caf::actor_system& system, const journal_actor& journal,
                        StreamRecord record, token_sink sink) {
  return system.spawn(stream_behavior, std::make_shared<const StreamSetup>(
                                           StreamSetup{caf::actor_cast<writer_actor>(journal),
                                                       std::move(record), std::move(sink)}));
}

}  // namespace troupe::actors
