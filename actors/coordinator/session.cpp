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

void RequestNames::erase(std::uint64_t ours) {
  std::lock_guard lock(mutex_);
  theirs_.erase(ours);
}

namespace {

// Tokens that have come since the last frame.
struct SessionShell {
  Tokens waiting;
};
using session_actor = token_sink::extend<caf::reacts_to<tick_atom>>;
using Self = session_actor::stateful_pointer<SessionShell>;

constexpr std::size_t kTokensMax = 256;  // in one frame

session_actor::behavior_type session_behavior(Self self, std::shared_ptr<Link> link,
                                              net::PublicKey client,
                                              std::shared_ptr<RequestNames> names) {
  const auto send = [self, link, client](MessageType type, const auto& message) {
    const Status sent = link->send(client, type, message);
    if (!sent) {
      // A client that does not read loses its requests, so that the head does not lose its memory.
      log(LogLevel::kWarning, "a client is gone or does not read: " + sent.message());
      self->quit();
    }
  };
  const auto flush = [self, send] {
    std::vector<Token>& tokens = self->state.waiting.tokens;
    if (!tokens.empty()) send(MessageType::kTokens, self->state.waiting);
    tokens.clear();
  };
  return {
      [=](const TokenPtr& token) {
        std::vector<Token>& tokens = self->state.waiting.tokens;
        Token out = *token;
        out.request = names->theirs(token->request);
        if (out.request == 0) return;
        tokens.push_back(std::move(out));
        if (tokens.size() >= kTokensMax) return flush();
        // The tick comes after the other tokens of this step, which are in the mailbox already.
        if (tokens.size() == 1) self->send(self, tick_atom::value);
      },
      [=](const FinishedPtr& finished) {
        flush();
        Finished out = *finished;
        out.request = names->theirs(finished->request);
        // The logs of the head and the nodes know the request by this number.
        if (!out.outcome.is_ok())
          out.outcome.text += " (request " + std::to_string(finished->request) + ")";
        names->erase(finished->request);
        if (out.request != 0) send(MessageType::kFinished, out);
      },
      [=](tick_atom) { flush(); },
  };
}

}  // namespace

token_sink spawn_session(caf::actor_system& system, std::shared_ptr<Link> link,
                         const net::PublicKey& client, std::shared_ptr<RequestNames> names) {
  return system.spawn(session_behavior, std::move(link), client, std::move(names));
}

}  // namespace troupe::actors
