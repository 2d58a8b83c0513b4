#include <chrono>
#include <deque>

#include <troupe/actors/journal/journal_actor.h>
#include <troupe/runtime/log.h>

namespace troupe::actors {
namespace {

constexpr std::chrono::milliseconds kTokensEvery{500};
constexpr std::size_t kTokensAtOnce = 256;

std::int64_t unix_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

struct WriterShell {};

journal_actor::behavior_type writer_behavior(journal_actor::stateful_pointer<WriterShell>,
                                             std::shared_ptr<Journal> journal) {
  return {[journal](const JournalWorkPtr& work) { (*work)(*journal); }};
}

void write(const journal_actor& journal, JournalWork work) {
  caf::anon_send(journal, std::make_shared<const JournalWork>(std::move(work)));
}

void complain(const Status& status) {
  if (!status) log(LogLevel::kError, status.message());
}

using stream_actor =
    token_sink::extend<caf::reacts_to<loaded_atom, StatusPtr>, caf::reacts_to<tick_atom>>;

struct StreamShell {
  bool written = false;
  std::deque<TokenPtr> held_tokens;
  FinishedPtr held_end;
  std::vector<std::int32_t> tokens;  // not in the journal yet
  std::uint32_t first = 0;           // the index of the first of them
};
using Self = stream_actor::stateful_pointer<StreamShell>;

struct StreamSetup {
  journal_actor journal;
  StreamRecord record;
  token_sink sink;
};

void write_tokens(Self self, const StreamSetup& setup) {
  std::vector<std::int32_t> tokens = std::move(self->state.tokens);
  self->state.tokens.clear();
  if (tokens.empty()) return;
  const std::uint32_t first = self->state.first;
  self->state.first += static_cast<std::uint32_t>(tokens.size());
  write(setup.journal,
        [id = setup.record.id, owner = setup.record.owner, first, tokens = std::move(tokens)](
            Journal& journal) { complain(journal.add_tokens(id, owner, first, tokens)); });
}

void tell_end(Self self, const StreamSetup& setup, const FinishedPtr& finished) {
  self->send(setup.sink, finished);
  // A failed request may be submitted again, also by its id; a complete one may not.
  if (finished->outcome.is_ok()) {
    write(setup.journal, [id = setup.record.id, owner = setup.record.owner](Journal& journal) {
      complain(journal.forget_stream(id, owner));
    });
  } else {
    write_tokens(self, setup);
  }
  self->quit();
}

stream_actor::behavior_type stream_behavior(Self self, std::shared_ptr<const StreamSetup> setup) {
  self->monitor(setup->sink);
  // Our end tells the engine to cancel. A client that lost its connection may still resume.
  self->set_down_handler([self, setup](const caf::down_msg&) {
    write_tokens(self, *setup);
    self->quit();
  });
  const auto me = caf::actor_cast<caf::strong_actor_ptr>(self);
  write(setup->journal, [setup, me](Journal& journal) {
    auto saved = std::make_shared<const Status>(journal.save_stream(setup->record, unix_ms()));
    caf::anon_send(caf::actor_cast<stream_actor>(me), loaded_atom::value, StatusPtr(saved));
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

token_sink spawn_stream(caf::actor_system& system, journal_actor journal, StreamRecord record,
                        token_sink sink) {
  return system.spawn(stream_behavior,
                      std::make_shared<const StreamSetup>(
                          StreamSetup{std::move(journal), std::move(record), std::move(sink)}));
}

}  // namespace troupe::actors
