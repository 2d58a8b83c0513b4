#include <algorithm>
#include <chrono>
#include <utility>

#include <troupe/actors/node/trouble_watch.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/machine/process_memory.h>
#include <troupe/runtime/machine/troubles.h>

namespace troupe::actors {
namespace {

constexpr std::chrono::seconds kLookAgain{10};
// Freed memory is given back after so many looks.
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
  return troubles_;
}

void TroubleBoard::set(std::vector<std::string> troubles) {
  const std::vector<std::string> before = all();
  // The first words say which kind of trouble it is; the figures in it change from time to time.
  const auto kind = [](const std::string& trouble) { return trouble.substr(0, 12); };
  for (const std::string& trouble : troubles) {
    const bool known = std::any_of(before.begin(), before.end(), [&](const std::string& old) {
      return kind(old) == kind(trouble);
    });
    if (!known) log(LogLevel::kWarning, trouble);
  }
  const std::lock_guard lock(mutex_);
  troubles_ = std::move(troubles);
}

watch_actor spawn_trouble_watch(caf::actor_system& system, std::filesystem::path home, int threads,
                                std::shared_ptr<TroubleBoard> board) {
  return system.spawn<caf::detached>(behavior, std::move(home), threads, std::move(board));
}

}  // namespace troupe::actors
