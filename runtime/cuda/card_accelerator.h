#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include <troupe/runtime/cuda/program.h>

// A card as an Accelerator. cuda.cu makes it for a GPU, and tests for the emulation.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

class CardAccelerator final : public Accelerator {
 public:
  CardAccelerator(std::shared_ptr<Card> card, std::string architecture)
      : card_(std::move(card)), architecture_(std::move(architecture)) {}

  const std::string& name() const override { return card_->name(); }
  const std::string& architecture() const override { return architecture_; }
  Status health() const override { return card_->health(); }

  Result<std::uint64_t> free_bytes() override {
    TROUPE_RETURN_IF_ERROR(card_->enter());
    std::size_t free_now = 0, all = 0;
    TROUPE_RETURN_IF_ERROR(card_->check(memory_of(&free_now, &all), "its memory was asked for"));
    return std::uint64_t{free_now};
  }
  Result<AlignedBuffer> allocate(std::size_t bytes) override { return allocate_on(card_, bytes); }
  Status upload(const void* from, std::size_t bytes, std::byte* to) override {
    return card_->upload(from, bytes, to);
  }
  Status download(const std::byte* from, std::size_t bytes, void* to) override {
    return card_->download(from, bytes, to);
  }
  Result<std::unique_ptr<StageProgram>> program(const StageShape& shape,
                                                std::span<const DeviceLayer> layers,
                                                const DeviceEnds& ends) override {
    TROUPE_RETURN_IF_ERROR(card_->enter());
    TROUPE_RETURN_IF_ERROR(check_formats({ends.embedding, ends.output}));
    for (const DeviceLayer& layer : layers)
      TROUPE_RETURN_IF_ERROR(check_formats(
          {layer.q, layer.k, layer.v, layer.attention_out, layer.gate, layer.up, layer.down}));
    return std::unique_ptr<StageProgram>(std::make_unique<Program>(card_, shape, layers, ends));
  }

 private:
  Status check_formats(std::initializer_list<DeviceMatrix> matrices) const {
    for (const DeviceMatrix& matrix : matrices)
      if (matrix.rows != 0 && !has_kernels(matrix.type))
        return Status(Code::kFailedPrecondition, "GPUs have no kernels for weights of the type " +
                                                     std::string(quant::find(matrix.type)->name) +
                                                     " yet; use --device cpu");
    return Status::ok();
  }

  const std::shared_ptr<Card> card_;
  const std::string architecture_;
};

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
