#include <algorithm>
#include <chrono>
#include <utility>

#include <troupe/actors/node/trouble_watch.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/machine/process_memory.h>

namespace troupe::actors {
namespace {

constexpr std::chrono::seconds kLookAgain{10};
// Freed memory is given back to the system after this number of checks.
constexpr int kLooksUntilTrim = 3;

watch_actor::behavior_type behavior(watch_actor::pointer self, const std::filesystem::path& home,
                                    int threads, const std::shared_ptr<TroubleBoard>& board) {
  self->send(self, tick_atom::value);
  const auto looks = std::make_shared<int>(0);
  return {[self, home, threads, board, looks](tick_atom) {
    board->set(troubles_of(read_machine(home, threads)));
    if (++*looks % kLooksUntilTrim == 0) give_back_free_memory();
    self->delayed_send(self, kLookAgain, tick_atom::value);
  }};
}

}  // namespace

std::vector<std::string> TroubleBoard::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> texts;
  for (const Trouble& trouble : troubles_) texts.push_back(trouble.text);
  return texts;
}

void TroubleBoard::set(const std::vector<Trouble>& troubles) {
  const std::lock_guard lock(mutex_);
  for (const Trouble& trouble : troubles) {
    const bool known = std::any_of(troubles_.begin(), troubles_.end(), [&](const Trouble& old) {
      return old.kind == trouble.kind;  // the figures in it change from time to time
    });
    if (!known) log(LogLevel::kWarning, trouble.text);
  }
  troubles_ = troubles;
}

watch_actor spawn_trouble_watch(caf::actor_system& system, std::filesystem::path home, int threads,
                                std::shared_ptr<TroubleBoard> board) {
  return system.spawn<caf::detached>(behavior, std::move(home), threads, std::move(board));
}

}  // namespace troupe::actors
