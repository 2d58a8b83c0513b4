#pragma once

#include <troupe/runtime/cuda/kernels/rows.h>

// Rotation, keys and values, and attention, with the bits of kernels::Kernels::rope, kv_write and
// attention, on pages as runtime/kernels/kv_page.h draws them. Attention is split over chunks of
// 256 keys, where the lane rule cuts the sum over values: one launch for scores and their maximum
// (which has no order), one for each chunk's sum, one that adds the chunks in order.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

constexpr int kPage = 64;            // kernels::kPageKeys
constexpr int kKeysAtOnce = 256;     // kernels::kSumKeys
constexpr int kHeadDimAtMost = 256;  // one chunk of kernels::kSumColumns

// A row of a step, on the device.
struct DeviceRow {
  int position = 0;
  int first_block = 0;  // where its sequence's blocks begin in the step's table
};

// The keys and values of one layer, for the rows of a step.
struct LayerPages {
  const DeviceRow* rows = nullptr;
  unsigned char* const* blocks = nullptr;  // the step's table
  std::size_t layer_offset = 0;            // of the layer's page in a block
  int kv_heads = 0, head_dim = 0;

  __device__ unsigned char* page(int row, int page) const {
    return blocks[rows[row].first_block + page] + layer_offset;
  }
};

// How a page holds a number.
struct F16Keys {
  using Bits = std::uint16_t;
  __device__ static float read(std::uint16_t bits) { return from_half(bits); }
  __device__ static std::uint16_t write(float value) { return to_half(value); }
};
struct F32Keys {
  using Bits = float;
  __device__ static float read(float bits) { return bits; }
  __device__ static float write(float value) { return value; }
};

struct RotateArgs {
  LayerPages pages;
  float* q = nullptr;             // (B, heads * D), rotated in place
  float* k = nullptr;             // (B, kv_heads * D), rotated in place, then stored
  const float* v = nullptr;       // (B, kv_heads * D), stored
  const float* q_norm = nullptr;  // (D), or null: each head of q and k is normed first
  const float* k_norm = nullptr;
  float epsilon = 0.0f;
  const float* cos_sin = nullptr;  // (B, rotary_dim / 2, 2)
  int heads = 0, rotary_dim = 0;   // rotary_dim 0: the layer does not rotate
  bool interleaved = false;
};

// Rotates or stores a head of q, of k, or of v in one warp. Grid (heads + 2 kv_heads, rows).
template <class Keys>
__global__ void rotate_and_store(RotateArgs args) {
  const int row = static_cast<int>(blockIdx.y), lane = static_cast<int>(threadIdx.x);
  const int head = static_cast<int>(blockIdx.x), D = args.pages.head_dim;
  const int kv_heads = args.pages.kv_heads, position = args.pages.rows[row].position;
  auto* page = reinterpret_cast<typename Keys::Bits*>(args.pages.page(row, position / kPage));
  const int key = position % kPage;
  if (head >= args.heads + kv_heads) {
    const int kv_head = head - args.heads - kv_heads;
    const float* v = args.v + (static_cast<std::size_t>(row) * kv_heads + kv_head) * D;
    for (int c = lane; c < D; c += kWarp)
      page[(static_cast<std::size_t>(kv_heads + kv_head) * kPage + key) * D + c] =
          Keys::write(v[c]);
    return;
  }
  const bool is_key = head >= args.heads;
  const int kv_head = head - args.heads;
  float* x = is_key ? args.k + (static_cast<std::size_t>(row) * kv_heads + kv_head) * D
                    : args.q + (static_cast<std::size_t>(row) * args.heads + head) * D;
  if (const float* weight = is_key ? args.k_norm : args.q_norm; weight != nullptr) {
    float partial = 0.0f;
    for (int c = lane % 16; c < D; c += 16) partial = fma(x[c], x[c], partial);
    const float mean = tree_sum(partial) / static_cast<float>(D);
    const float inverse = 1.0f / square_root(mean + args.epsilon);
    for (int c = lane; c < D; c += kWarp) x[c] = x[c] * inverse * weight[c];
    __syncwarp();
  }
  const int half = args.rotary_dim / 2;
  const float* cos_sin = args.cos_sin + static_cast<std::size_t>(row) * args.rotary_dim;
  for (int i = lane; i < half; i += kWarp) {
    const int first = args.interleaved ? 2 * i : i,
              second = args.interleaved ? 2 * i + 1 : i + half;
    const float a = x[first], b = x[second], cosine = cos_sin[2 * i], sine = cos_sin[2 * i + 1];
    x[first] = fma(a, cosine, -(b * sine));
    x[second] = fma(a, sine, b * cosine);
  }
  if (!is_key) return;
  __syncwarp();
  for (int c = lane; c < D; c += kWarp)
    page[(static_cast<std::size_t>(kv_head * 4 + key / 16) * D + c) * 16 + key % 16] =
        Keys::write(x[c]);
}

struct AttentionArgs {
  LayerPages pages;
  const float* q = nullptr;  // (B, heads * D)
  int heads = 0, window = 0;
  float scale = 1.0f;
  int first_row = 0;         // the row of the step with which the launch begins
  int keys = 0, chunks = 0;  // of the longest sequence; keys is chunks * 256
  float* scores = nullptr;   // (launch's rows, heads, keys)
  float* largest = nullptr;  // (launch's rows, heads, chunks)
  float* parts = nullptr;    // (launch's rows, heads, chunks, D)
  float* out = nullptr;      // (B, heads * D)
  RowBlocks blocks;          // of out
  int heads_at_once = 1;     // the number of heads whose channels are whole blocks of out

  __device__ int last(int row) const { return pages.rows[row].position; }
  __device__ int first(int row) const {
    const int seen = last(row) + 1;
    return window != 0 && seen > window ? seen - window : 0;
  }
};

constexpr int kScoreThreads = 128;

// Computes the scores and their maximum for one chunk of keys and the heads of one key head; a warp
// has a page of keys, a lane two of them. Grid (chunks, kv_heads, rows).
template <class Keys>
__global__ void __launch_bounds__(kScoreThreads) attend_scores(AttentionArgs at) {
  using Bits = typename Keys::Bits;
  GPU_SHARED(float, q, kHeadDimAtMost);
  GPU_SHARED(float, maxima, 4);
  const int local = static_cast<int>(blockIdx.z), row = at.first_row + local;
  const int first = at.first(row), last = at.last(row), D = at.pages.head_dim;
  const int chunk = static_cast<int>(blockIdx.x), kv_head = static_cast<int>(blockIdx.y);
  if (chunk * kKeysAtOnce > last || (chunk + 1) * kKeysAtOnce <= first) return;
  const int group = at.heads / at.pages.kv_heads;
  const int page = chunk * 4 + static_cast<int>(threadIdx.x / kWarp);
  const int in_page = static_cast<int>(threadIdx.x % kWarp) * 2, key = page * kPage + in_page;
  const bool there = page * kPage <= last && page * kPage + kPage > first;
  for (int g = 0; g < group; ++g) {
    const int head = kv_head * group + g;
    const float* from = at.q + (static_cast<std::size_t>(row) * at.heads + head) * D;
    for (int c = threadIdx.x; c < D; c += blockDim.x) q[c] = from[c];
    __syncthreads();
    float s[2] = {0.0f, 0.0f}, most = minus_infinity();
    if (there) {
      const Bits* k = reinterpret_cast<const Bits*>(at.pages.page(row, page)) +
                      static_cast<std::size_t>(kv_head * 4 + in_page / 16) * D * 16 + in_page % 16;
      for (int c = 0; c < D; ++c) {
        s[0] = fma(Keys::read(k[16 * c]), q[c], s[0]);
        s[1] = fma(Keys::read(k[16 * c + 1]), q[c], s[1]);
      }
    }
    for (int i = 0; i < 2; ++i)
      if (key + i >= first && key + i <= last) {
        const float score = s[i] * at.scale;
        at.scores[(static_cast<std::size_t>(local) * at.heads + head) * at.keys + key + i] = score;
        most = score > most ? score : most;
      }
    for (int apart = 16; apart > 0; apart /= 2) {
      const float other = __shfl_xor_sync(kWholeWarp, most, apart);
      most = other > most ? other : most;
    }
    if (threadIdx.x % kWarp == 0) maxima[threadIdx.x / kWarp] = most;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int i = 0; i < 4; ++i) most = maxima[i] > most ? maxima[i] : most;
      at.largest[(static_cast<std::size_t>(local) * at.heads + head) * at.chunks + chunk] = most;
    }
  }
}

// p = exp(score - largest) in place, and the chunk's sum of p v, key by key. A thread has two
// channels. Grid (chunks, heads, rows), D / 2 threads rounded up to warps.
template <class Keys>
__global__ void attend_values(AttentionArgs at) {
  using Bits = typename Keys::Bits;
  GPU_SHARED(float, p, kKeysAtOnce);
  const int local = static_cast<int>(blockIdx.z), row = at.first_row + local;
  const int first = at.first(row), last = at.last(row), D = at.pages.head_dim;
  const int chunk = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  const int kv_heads = at.pages.kv_heads, kv_head = head / (at.heads / kv_heads);
  const int begin = chunk * kKeysAtOnce, from = begin < first ? first : begin;
  const int to = begin + kKeysAtOnce <= last ? begin + kKeysAtOnce : last + 1;
  if (from >= to) return;
  const std::size_t of_head = static_cast<std::size_t>(local) * at.heads + head;
  float most = minus_infinity();
  for (int i = first / kKeysAtOnce; i <= last / kKeysAtOnce; ++i) {
    const float other = at.largest[of_head * at.chunks + i];
    most = other > most ? other : most;
  }
  float* scores = at.scores + of_head * at.keys;
  for (int j = from + static_cast<int>(threadIdx.x); j < to; j += blockDim.x)
    scores[j] = p[j - begin] = exp_same(scores[j] - most);
  __syncthreads();
  const int c = static_cast<int>(threadIdx.x) * 2;
  if (c >= D) return;
  float part[2] = {0.0f, 0.0f};
  for (int j = from; j < to; ++j) {
    const Bits* v = reinterpret_cast<const Bits*>(at.pages.page(row, j / kPage)) +
                    (static_cast<std::size_t>(kv_heads + kv_head) * kPage + j % kPage) * D + c;
    part[0] = fma(p[j - begin], Keys::read(v[0]), part[0]);
    part[1] = fma(p[j - begin], Keys::read(v[1]), part[1]);
  }
  float* parts = at.parts + (of_head * at.chunks + chunk) * D + c;
  parts[0] = part[0];
  parts[1] = part[1];
}

constexpr int kCombineThreads = 128;

// out = the chunks' sums in order / (the sum of p in 16 lanes by key and one tree), and its blocks.
// Grid (heads / heads_at_once, rows).
__global__ void __launch_bounds__(kCombineThreads) attend_combine(AttentionArgs at) {
  GPU_SHARED(float, total, 1);
  const int local = static_cast<int>(blockIdx.y), row = at.first_row + local;
  const int first = at.first(row), last = at.last(row), D = at.pages.head_dim;
  const int first_head = static_cast<int>(blockIdx.x) * at.heads_at_once;
  const int width = at.heads * D;
  for (int h = first_head; h < first_head + at.heads_at_once; ++h) {
    const std::size_t of_head = static_cast<std::size_t>(local) * at.heads + h;
    if (threadIdx.x < kWarp) {
      const float* p = at.scores + of_head * at.keys;
      float sum = 0.0f;
      for (int j = first / 16 * 16 + static_cast<int>(threadIdx.x % 16); j <= last; j += 16)
        if (j >= first) sum += p[j];
      sum = tree_sum(sum);
      if (threadIdx.x == 0) total[0] = sum;
    }
    __syncthreads();
    for (int c = threadIdx.x; c < D; c += blockDim.x) {
      float sum = 0.0f;
      for (int i = first / kKeysAtOnce; i <= last / kKeysAtOnce; ++i)
        sum += at.parts[(of_head * at.chunks + i) * D + c];
      at.out[static_cast<std::size_t>(row) * width + h * D + c] = sum / total[0];
    }
    __syncthreads();
  }
  quantize_columns(at.out, width, row, first_head * D, (first_head + at.heads_at_once) * D,
                   at.blocks);
}

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
