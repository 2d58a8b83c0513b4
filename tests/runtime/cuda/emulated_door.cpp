#include <troupe/runtime/cuda/cuda.h>
#include <troupe/tests/runtime/cuda/emulated_card.h>

// The door of runtime/cuda for tests of programs: "cuda:0" is an emulated card. A program that
// links this does not use the library's own door.

namespace troupe::cuda {

Report report() {
  Report found;
  found.cards.push_back({"emulated", "emulated", std::uint64_t{256} << 20, 1});
  return found;
}

Result<std::unique_ptr<Accelerator>> open(int index) {
  if (index != 0) return Status(Code::kNotFound, "there is one emulated GPU, cuda:0");
  return test::make_emulated_card();
}

}  // namespace troupe::cuda
