#pragma once

#include <cstddef>
#include <memory>

#include <troupe/runtime/accelerator.h>

// The GPU's code on an emulation of CUDA's threads: the second implementation of Accelerator, for
// tests on machines without a GPU. All emulated cards of a process share one memory.

namespace troupe::test {

std::unique_ptr<Accelerator> make_emulated_card();

// Sets the order in which the emulation runs warps and blocks (emulated.h).
void set_schedule(unsigned seed);
// Sets the total memory of the card, and returns the previous value.
std::size_t set_card_memory(std::size_t bytes);
std::size_t used_card_memory();
// Makes the card fail for good after `waits` more waits.
void break_card_after(std::size_t waits);
// Repairs the card; accelerators that saw the failure stay broken.
void mend_card();

}  // namespace troupe::test
