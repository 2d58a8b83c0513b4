#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <troupe/runtime/accelerator.h>
#include <troupe/runtime/cuda/gpu.h>

// A card's memory and its one stream: everything that Accelerator requires except the walk over the
// layers (program.h). The same code runs on a GPU and on the emulation.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

// Pinned host memory, which grows on demand and is freed at the end. One thread at a time uses it.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  ~PinnedMemory() { release_pinned(memory_); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  Error grow(std::size_t bytes) {
    if (bytes <= bytes_) return 0;
    release_pinned(std::exchange(memory_, nullptr));
    bytes_ = 0;
    const Error error = allocate_pinned(&memory_, bytes);
    if (error == 0) bytes_ = bytes;
    return error;
  }
  std::byte* data() { return memory_; }

 private:
  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

// One card, which stays open as long as anything lies on it. Any thread may use it.
class Card {
 public:
  Card(int index, std::string name) : index_(index), name_(std::move(name)) {}
  ~Card() {
    if (open_) end_stream(stream_);
  }
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  Status open() {
    TROUPE_RETURN_IF_ERROR(check(use_device(index_), "it was opened"));
    TROUPE_RETURN_IF_ERROR(check(make_stream(&stream_), "it was opened"));
    open_ = true;
    return Status::ok();
  }
  // Makes the card current for the calling thread, to which CUDA's current device belongs. Every
  // use begins here.
  Status enter() {
    TROUPE_RETURN_IF_ERROR(health());
    return check(use_device(index_), "it was chosen");
  }
  Status health() const {
    const std::lock_guard lock(mutex_);
    return failed_;
  }
  Stream stream() const { return stream_; }
  const std::string& name() const { return name_; }

  // Says what an error means. `when` ends the sentence "the GPU failed when ...". An error that
  // only a new process clears is kept for health().
  Status check(Error error, const std::string& when) const {
    if (error == 0) return Status::ok();
    static_cast<void>(last_error());  // else finish() would report this error again
    if (is_out_of_memory(error))
      return Status(Code::kResourceExhausted,
                    "the GPU " + name_ + " ran out of memory when " + when +
                        "; end other programs that use it, or choose a smaller model or context");
    Status failed(Code::kUnavailable,
                  "the GPU " + name_ + " failed when " + when + ": " + describe(error) +
                      "; start the program again, and if it fails again, look at the system's log");
    const std::lock_guard lock(mutex_);
    if (is_sticky(error) && failed_.is_ok()) failed_ = failed;
    return failed;
  }

  // Waits until the stream has done all of its work. It reports any failure, including those of
  // launches, which return no errors themselves.
  Status finish(const std::string& when) {
    TROUPE_RETURN_IF_ERROR(check(last_error(), when));
    return check(wait_for(stream_), when);
  }

  Status upload(const void* from, std::size_t bytes, std::byte* to) {
    TROUPE_RETURN_IF_ERROR(enter());
    const std::lock_guard lock(staging_mutex_);
    TROUPE_RETURN_IF_ERROR(check(staging_.grow(2 * kPieceBytes), "weights were copied to it"));
    // Two pieces take turns: one is filled while the other travels.
    for (std::size_t at = 0, piece = 0; at < bytes; at += kPieceBytes, ++piece) {
      if (piece != 0 && piece % 2 == 0) TROUPE_RETURN_IF_ERROR(finish("weights were copied to it"));
      const std::size_t count = std::min(kPieceBytes, bytes - at);
      std::byte* room = staging_.data() + piece % 2 * kPieceBytes;
      std::memcpy(room, static_cast<const std::byte*>(from) + at, count);
      TROUPE_RETURN_IF_ERROR(
          check(copy_in(stream_, to + at, room, count), "weights were copied to it"));
    }
    return finish("weights were copied to it");
  }
  Status download(const std::byte* from, std::size_t bytes, void* to) {
    TROUPE_RETURN_IF_ERROR(enter());
    TROUPE_RETURN_IF_ERROR(check(copy_out(stream_, to, from, bytes), "it was read"));
    return finish("it was read");
  }

 private:
  static constexpr std::size_t kPieceBytes = std::size_t{4} << 20;

  const int index_;
  const std::string name_;
  Stream stream_{};
  bool open_ = false;
  mutable std::mutex mutex_;
  mutable Status failed_;
  std::mutex staging_mutex_;
  PinnedMemory staging_;
};

// Takes memory on the card. The memory keeps the card open.
inline Result<AlignedBuffer> allocate_on(const std::shared_ptr<Card>& card, std::size_t bytes) {
  TROUPE_RETURN_IF_ERROR(card->enter());
  std::byte* memory = nullptr;
  const Error error = allocate(&memory, std::max<std::size_t>(bytes, 1));
  TROUPE_RETURN_IF_ERROR(card->check(error, std::to_string(bytes) + " bytes of memory were taken"));
  return AlignedBuffer(memory, bytes, [card](std::byte* at) { release(at); });
}

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
