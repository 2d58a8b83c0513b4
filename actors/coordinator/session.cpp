#include <algorithm>
#include <chrono>
#include <deque>
#include <vector>

#include <troupe/actors/coordinator/session.h>
#include <troupe/runtime/log.h>

namespace troupe::actors {

std::uint64_t RequestNames::add(std::uint64_t theirs) {
  const std::uint64_t ours = next_request_id();
  std::lock_guard lock(mutex_);
  theirs_[ours] = theirs;
  return ours;
}

std::uint64_t RequestNames::theirs(std::uint64_t ours) const {
  std::lock_guard lock(mutex_);
  const auto found = theirs_.find(ours);
  return found == theirs_.end() ? 0 : found->second;
}

std::uint64_t RequestNames::ours(std::uint64_t theirs) const {
  std::lock_guard lock(mutex_);
  for (const auto& [inside, outside] : theirs_) {
    if (outside == theirs) return inside;
  }
  return 0;
}

std::size_t RequestNames::size() const {
  std::lock_guard lock(mutex_);
  return theirs_.size();
}

void RequestNames::erase(std::uint64_t ours) {
  std::lock_guard lock(mutex_);
  theirs_.erase(ours);
}

namespace {

constexpr std::size_t kTokensMax = 256;  // in one frame
// The number of tokens by which a client may lag before it loses its requests, so that the head
// does not run out of memory.
constexpr std::size_t kBehindMax = 1u << 18;
constexpr std::chrono::milliseconds kTryAgain{50};

// The events that came since the last frame, and those that found the queue to the client full.
struct SessionShell {
  std::deque<Token> tokens;
  std::vector<Finished> finished;  // each is sent after the tokens of its answer
  bool blocked = false;            // the queue was full, and the tick is delayed
};
using session_actor = token_sink::extend<caf::reacts_to<tick_atom>>;
using Self = session_actor::stateful_pointer<SessionShell>;

struct Setup {
  std::shared_ptr<Link> link;
  net::PublicKey client;
  std::shared_ptr<RequestNames> names;
};

void end_session(Self self, const Status& why) {
  log(LogLevel::kWarning, "a client is gone or does not read: " + why.message());
  self->quit();
}

// Returns how many of the waiting tokens go into one frame. A token that brings the
// log-probabilities of a prompt, of which there may be many, is the last in its frame.
std::size_t tokens_of_frame(const std::deque<Token>& tokens) {
  std::size_t count = 0;
  while (count < std::min(tokens.size(), kTokensMax)) {
    if (!tokens[count++].prompt_logprobs.empty()) break;
  }
  return count;
}

// Sends the events that have come. If the queue is full, it tries again later.
Status send_waiting(SessionShell& state, const Setup& setup) {
  while (!state.tokens.empty()) {
    const auto count = tokens_of_frame(state.tokens);
    const auto end = state.tokens.begin() + static_cast<std::ptrdiff_t>(count);
    const Tokens frame{{state.tokens.begin(), end}};
    TROUPE_RETURN_IF_ERROR(setup.link->send(setup.client, MessageType::kTokens, frame));
    state.tokens.erase(state.tokens.begin(), end);
  }
  while (!state.finished.empty()) {
    const Finished& first = state.finished.front();
    TROUPE_RETURN_IF_ERROR(setup.link->send(setup.client, MessageType::kFinished, first));
    state.finished.erase(state.finished.begin());
  }
  return Status::ok();
}

void flush(Self self, const Setup& setup) {
  SessionShell& state = self->state;
  if (state.blocked) return;
  const Status sent = send_waiting(state, setup);
  if (sent) return;
  if (sent.code() != Code::kResourceExhausted || state.tokens.size() > kBehindMax) {
    return end_session(self, sent);
  }
  state.blocked = true;
  self->delayed_send(self, kTryAgain, tick_atom::value);
}

void on_token(Self self, const Setup& setup, const Token& token) {
  std::deque<Token>& tokens = self->state.tokens;
  Token out = token;
  out.request = setup.names->theirs(token.request);
  if (out.request == 0) return;
  tokens.push_back(std::move(out));
  if (self->state.blocked && tokens.size() > kBehindMax) {
    return end_session(self, Status(Code::kResourceExhausted,
                                    std::to_string(tokens.size()) + " tokens wait for it"));
  }
  if (tokens.size() >= kTokensMax) return flush(self, setup);
  // The tick comes after the other tokens of this step, which are in the mailbox already.
  if (tokens.size() == 1 && !self->state.blocked) self->send(self, tick_atom::value);
}

void on_finished(Self self, const Setup& setup, const Finished& finished) {
  Finished out = finished;
  out.request = setup.names->theirs(finished.request);
  // The logs of the head and the nodes know the request by this number.
  if (!out.outcome.is_ok()) {
    out.outcome.text += " (request " + std::to_string(finished.request) + ")";
  }
  setup.names->erase(finished.request);
  if (out.request != 0) self->state.finished.push_back(std::move(out));
  flush(self, setup);
}

session_actor::behavior_type session_behavior(Self self, const Setup& setup) {
  return {
      [self, setup](const TokenPtr& token) { on_token(self, setup, *token); },
      [self, setup](const FinishedPtr& finished) { on_finished(self, setup, *finished); },
      [self, setup](tick_atom) {
        self->state.blocked = false;
        flush(self, setup);
      },
  };
}

}  // namespace

token_sink spawn_session(caf::actor_system& system, std::shared_ptr<Link> link,
                         const net::PublicKey& client, std::shared_ptr<RequestNames> names) {
  return system.spawn(session_behavior, Setup{std::move(link), client, std::move(names)});
}

}  // namespace troupe::actors
