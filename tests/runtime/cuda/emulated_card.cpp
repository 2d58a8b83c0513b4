#include <utility>

#include <troupe/runtime/cuda/card_accelerator.h>
#include <troupe/tests/runtime/cuda/emulated_card.h>

namespace troupe::test {

std::unique_ptr<Accelerator> make_emulated_card() {
  auto card = std::make_shared<cuda::Card>(0, "cuda:0");
  TROUPE_CHECK(card->open().is_ok(), "an emulated card opens");
  return std::make_unique<cuda::CardAccelerator>(std::move(card), "emulated");
}

void set_schedule(unsigned seed) { cuda::threads::schedule_seed() = seed; }

std::size_t set_card_memory(std::size_t bytes) {
  return std::exchange(cuda::emulated_card().all_bytes, bytes);
}
std::size_t used_card_memory() { return cuda::emulated_card().used_bytes; }

void break_card_after(std::size_t waits) {
  cuda::emulated_card().waits = waits;
  cuda::emulated_card().fails = cuda::kIllegalAddress;
}
void mend_card() { cuda::emulated_card().fails = 0; }

}  // namespace troupe::test
