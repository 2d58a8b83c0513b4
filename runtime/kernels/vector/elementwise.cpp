// The vector targets' kernels that work element by element or on a row alone: norms, rotation,
// storing keys and values, SiLU, GELU, tanh, exp. Compiled once for each target.

#include <cmath>
#include <cstring>

#include <troupe/runtime/kernels/targets.h>

#ifndef TROUPE_KERNEL_GROUP
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <troupe/runtime/kernels/vector/elementwise.cpp>
#endif
#include <troupe/runtime/kernels/vector/foreach_target.h>

#if TROUPE_VECTOR_TARGET
#include <troupe/runtime/kernels/vector/simd-inl.h>
#include <troupe/runtime/numerics/elementary.h>
#include <troupe/runtime/numerics/half.h>

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {
namespace {

void rope_interleaved(float* HWY_RESTRICT x, const float* HWY_RESTRICT cos_sin, std::size_t half) {
  for (std::size_t i = 0; i < half; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1], cosine = cos_sin[2 * i], sine = cos_sin[2 * i + 1];
    x[2 * i] = __builtin_fmaf(a, cosine, -(b * sine));
    x[2 * i + 1] = __builtin_fmaf(a, sine, b * cosine);
  }
}

void rope_halves(float* HWY_RESTRICT first, float* HWY_RESTRICT second,
                 const float* HWY_RESTRICT cos_sin, std::size_t half) {
  for (std::size_t i = 0; i < half; ++i) {
    const float a = first[i], b = second[i], cosine = cos_sin[2 * i], sine = cos_sin[2 * i + 1];
    first[i] = __builtin_fmaf(a, cosine, -(b * sine));
    second[i] = __builtin_fmaf(a, sine, b * cosine);
  }
}

HWY_INLINE Floats silu_mul_lanes(Floats gate, Floats up) {
  const Floats one = hn::Set(kFloat, 1.0f);
  return hn::Mul(hn::Div(gate, hn::Add(one, exp_lanes(hn::Neg(gate)))), up);
}

}  // namespace

void rms_norm(const float* x, const float* weight, float eps, std::size_t channels,
              std::size_t row_begin, std::size_t row_end, float* out) {
  const std::size_t whole = channels / 16 * 16;
  for (std::size_t row = row_begin; row < row_end; ++row) {
    const float* in = x + row * channels;
    float* to = out + row * channels;
    Floats partial[kParts];
    for (std::size_t p = 0; p < kParts; ++p) partial[p] = hn::Zero(kFloat);
    for (std::size_t c = 0; c < whole; c += 16)
      for (std::size_t p = 0; p < kParts; ++p) {
        const Floats v = hn::LoadU(kFloat, in + c + p * kLanes);
        partial[p] = hn::MulAdd(v, v, partial[p]);
      }
    if (whole != channels) {  // zeros in the missing lanes add nothing
      float tail[16] = {};
      for (std::size_t c = whole; c < channels; ++c) tail[c - whole] = in[c];
      for (std::size_t p = 0; p < kParts; ++p) {
        const Floats v = hn::LoadU(kFloat, tail + p * kLanes);
        partial[p] = hn::MulAdd(v, v, partial[p]);
      }
    }
    const float mean = tree_sum(partial) / static_cast<float>(channels);
    const float inverse = 1.0f / __builtin_sqrtf(mean + eps);
    const Floats inverses = hn::Set(kFloat, inverse);
    for (std::size_t c = 0; c < whole; c += kLanes) {
      const Floats v = hn::Mul(hn::LoadU(kFloat, in + c), inverses);
      hn::StoreU(hn::Mul(v, hn::LoadU(kFloat, weight + c)), kFloat, to + c);
    }
    for (std::size_t c = whole; c < channels; ++c) to[c] = in[c] * inverse * weight[c];
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps,
                std::size_t channels, std::size_t row_begin, std::size_t row_end, float* out) {
  const std::size_t whole = channels / 16 * 16;
  const auto count = static_cast<float>(channels);
  for (std::size_t row = row_begin; row < row_end; ++row) {
    const float* in = x + row * channels;
    float* to = out + row * channels;
    Floats partial[kParts];
    for (std::size_t p = 0; p < kParts; ++p) partial[p] = hn::Zero(kFloat);
    for (std::size_t c = 0; c < whole; c += 16)
      for (std::size_t p = 0; p < kParts; ++p)
        partial[p] = hn::Add(partial[p], hn::LoadU(kFloat, in + c + p * kLanes));
    float tail[16] = {};  // zeros in the missing lanes add nothing
    for (std::size_t c = whole; c < channels; ++c) tail[c - whole] = in[c];
    for (std::size_t p = 0; p < kParts && whole != channels; ++p)
      partial[p] = hn::Add(partial[p], hn::LoadU(kFloat, tail + p * kLanes));
    const float mean = tree_sum(partial) / count;
    const Floats means = hn::Set(kFloat, mean);
    for (std::size_t p = 0; p < kParts; ++p) partial[p] = hn::Zero(kFloat);
    for (std::size_t c = 0; c < whole; c += 16)
      for (std::size_t p = 0; p < kParts; ++p) {
        const Floats d = hn::Sub(hn::LoadU(kFloat, in + c + p * kLanes), means);
        partial[p] = hn::MulAdd(d, d, partial[p]);
      }
    for (std::size_t c = whole; c < channels; ++c) tail[c - whole] = in[c] - mean;
    for (std::size_t p = 0; p < kParts && whole != channels; ++p) {
      const Floats d = hn::LoadU(kFloat, tail + p * kLanes);
      partial[p] = hn::MulAdd(d, d, partial[p]);
    }
    const float inverse = 1.0f / __builtin_sqrtf(tree_sum(partial) / count + eps);
    const Floats inverses = hn::Set(kFloat, inverse);
    for (std::size_t c = 0; c < whole; c += kLanes) {
      const Floats v = hn::Mul(hn::Sub(hn::LoadU(kFloat, in + c), means), inverses);
      hn::StoreU(hn::MulAdd(v, hn::LoadU(kFloat, weight + c), hn::LoadU(kFloat, bias + c)), kFloat,
                 to + c);
    }
    for (std::size_t c = whole; c < channels; ++c)
      to[c] = __builtin_fmaf((in[c] - mean) * inverse, weight[c], bias[c]);
  }
}

void rope(float* x, std::size_t heads, std::size_t head_dim, std::size_t rotary_dim,
          const float* cos_sin, bool interleaved) {
  const std::size_t half = rotary_dim / 2;
  for (std::size_t head = 0; head < heads; ++head, x += head_dim) {
    if (interleaved) {
      rope_interleaved(x, cos_sin, half);
    } else {
      rope_halves(x, x + half, cos_sin, half);
    }
  }
}

void kv_write(const float* k, const float* v, std::byte* page, KvType type, std::size_t kv_heads,
              std::size_t head_dim, std::size_t key_in_page) {
  const std::size_t element = type == KvType::kF16 ? 2 : 4;
  const std::size_t block = key_in_page / kKeyBlock, lane = key_in_page % kKeyBlock;
  for (std::size_t h = 0; h < kv_heads; ++h, k += head_dim, v += head_dim) {
    std::byte* k_to =
        page + ((h * (kPageKeys / kKeyBlock) + block) * head_dim * kKeyBlock + lane) * element;
    std::byte* v_to = page + ((kv_heads + h) * kPageKeys + key_in_page) * head_dim * element;
    if (type == KvType::kF32) {
      std::memcpy(v_to, v, head_dim * element);
      for (std::size_t c = 0; c < head_dim; ++c)
        std::memcpy(k_to + c * kKeyBlock * element, k + c, element);
      continue;
    }
    const std::size_t whole = head_dim / kLanes * kLanes;
    for (std::size_t c = 0; c < whole; c += kLanes) {
      std::uint16_t halves[kLanes];
      store_f16(hn::LoadU(kFloat, k + c), halves);
      for (std::size_t i = 0; i < kLanes; ++i)
        std::memcpy(k_to + (c + i) * kKeyBlock * element, &halves[i], element);
      store_f16(hn::LoadU(kFloat, v + c), v_to + c * element);
    }
    for (std::size_t c = whole; c < head_dim; ++c) {
      const std::uint16_t halves[2] = {f32_to_f16(k[c]), f32_to_f16(v[c])};
      std::memcpy(k_to + c * kKeyBlock * element, &halves[0], element);
      std::memcpy(v_to + c * element, &halves[1], element);
    }
  }
}

void silu_mul(float* gate, const float* up, std::size_t count) {
  const std::size_t whole = count / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes)
    hn::StoreU(silu_mul_lanes(hn::LoadU(kFloat, gate + i), hn::LoadU(kFloat, up + i)), kFloat,
               gate + i);
  for (std::size_t i = whole; i < count; ++i)
    gate[i] = gate[i] / (1.0f + exp_bits(-gate[i])) * up[i];
}

void gelu_tanh(float* x, std::size_t count) {
  const std::size_t whole = count / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes)
    hn::StoreU(gelu_tanh_lanes(hn::LoadU(kFloat, x + i)), kFloat, x + i);
  for (std::size_t i = whole; i < count; ++i) x[i] = gelu_tanh_bits(x[i]);
}

void gelu_erf(float* x, std::size_t count) {
  const std::size_t whole = count / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes)
    hn::StoreU(gelu_erf_lanes(hn::LoadU(kFloat, x + i)), kFloat, x + i);
  for (std::size_t i = whole; i < count; ++i) x[i] = gelu_erf_bits(x[i]);
}

void tanh(const float* x, float* out, std::size_t count) {
  const std::size_t whole = count / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes)
    hn::StoreU(tanh_lanes(hn::LoadU(kFloat, x + i)), kFloat, out + i);
  for (std::size_t i = whole; i < count; ++i) out[i] = tanh_bits(x[i]);
}

void exp(const float* x, float* out, std::size_t count) {
  const std::size_t whole = count / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes)
    hn::StoreU(exp_lanes(hn::LoadU(kFloat, x + i)), kFloat, out + i);
  for (std::size_t i = whole; i < count; ++i) out[i] = exp_bits(x[i]);
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TROUPE_VECTOR_TARGET
