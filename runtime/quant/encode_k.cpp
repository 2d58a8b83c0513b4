#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/encode_k.h>
#include <troupe/runtime/quant/encode_search.h>

// A superblock has scales in f16 and small integers, with which they are multiplied for each group
// of its values. First each group gets the scale that suits it best. These are rounded to the small
// integers, the f16 scales are set to the values that then leave the least squared error, and the
// integers next to the chosen ones are tried.

namespace troupe::quant {
namespace {

constexpr int kRounds = 2;

bool put_scale(float value, std::byte* out) {
  const std::uint16_t bits = f32_to_f16(value);
  store(out, bits);
  return f16_is_finite(bits);
}

// A superblock of a format without offsets: w = d * scale[j] * value.
template <std::size_t kGroup, int kScaleLow, int kScaleHigh, class Values>
struct Scaled {
  static constexpr std::size_t kGroups = kSuperblock / kGroup;
  float d = 0.0f;
  int scales[kGroups] = {};
  int values[kSuperblock] = {};

  // Returns the squared error of a group with this scale, up to a constant.
  static float error(const float* x, float scale) {
    float sum = 0.0f;
    const float inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
    for (std::size_t i = 0; i < kGroup; ++i) {
      const float value =
          scale == 0.0f ? 0.0f : static_cast<float>(Values::nearest(x[i] * inverse));
      const float off = x[i] - scale * value;
      sum += off * off;
    }
    return sum;
  }

  void choose_scale(const float* x, float wanted, int* scale) const {
    const int middle = nearest_between(wanted / d, kScaleLow, kScaleHigh);
    float best = -1.0f;
    for (int tried = std::max(middle - 1, kScaleLow); tried <= std::min(middle + 1, kScaleHigh);
         ++tried) {
      const float left = error(x, d * static_cast<float>(tried));
      if (best >= 0.0f && left >= best) continue;
      best = left;
      *scale = tried;
    }
  }

  void choose_values(const float* x) {
    for (std::size_t i = 0; i < kSuperblock; ++i) {
      const float scale = d * static_cast<float>(scales[i / kGroup]);
      values[i] = Values::nearest(std::abs(scale) < kZeroBelow ? 0.0f : x[i] / scale);
    }
  }

  void fit(const float* x) {
    float wanted[kGroups], extreme = 0.0f;
    for (std::size_t j = 0; j < kGroups; ++j) {
      wanted[j] = fit_scale<Values>(x + j * kGroup, kGroup);
      if (std::abs(wanted[j]) > std::abs(extreme)) extreme = wanted[j];
    }
    d = round_to_f16(extreme / static_cast<float>(kScaleLow));
    for (int round = 0; round <= kRounds && d != 0.0f; ++round) {
      for (std::size_t j = 0; j < kGroups; ++j) choose_scale(x + j * kGroup, wanted[j], &scales[j]);
      choose_values(x);
      if (round == kRounds) return;
      double xv = 0.0, vv = 0.0;
      for (std::size_t i = 0; i < kSuperblock; ++i) {
        const double v = scales[i / kGroup] * values[i];
        xv += static_cast<double>(x[i]) * v;
        vv += v * v;
      }
      if (vv > 0.0) d = round_to_f16(static_cast<float>(xv / vv));
    }
    if (d != 0.0f) return;
    std::fill(scales, scales + kGroups, 0);  // values too small for an f16 scale
    choose_values(x);
  }
};

// A superblock of a format with offsets: w = d * scale[j] * q - m * offset[j], q in 0..kHigh.
template <std::size_t kGroup, int kScaleHigh, int kHigh>
struct Offset {
  static constexpr std::size_t kGroups = kSuperblock / kGroup;
  float d = 0.0f, m = 0.0f;
  int scales[kGroups] = {}, offsets[kGroups] = {};
  int q[kSuperblock] = {};

  static int nearest(float x, float scale, float offset) {
    return scale < kZeroBelow ? 0 : nearest_between((x + offset) / scale, 0, kHigh);
  }
  static float error(const float* x, float scale, float offset) {
    float sum = 0.0f;
    for (std::size_t i = 0; i < kGroup; ++i) {
      const float off = scale * static_cast<float>(nearest(x[i], scale, offset)) - offset - x[i];
      sum += off * off;
    }
    return sum;
  }

  void choose_scales(const float* x, const ScaleAndOffset& wanted, int* scale, int* offset) const {
    const int s = d == 0.0f ? 0 : nearest_between(wanted.d / d, 0, kScaleHigh);
    const int o = m == 0.0f ? 0 : nearest_between(wanted.m / m, 0, kScaleHigh);
    float best = -1.0f;
    for (int tried_s = std::max(s - 1, 0); tried_s <= std::min(s + 1, kScaleHigh); ++tried_s) {
      for (int tried_o = std::max(o - 1, 0); tried_o <= std::min(o + 1, kScaleHigh); ++tried_o) {
        const float left =
            error(x, d * static_cast<float>(tried_s), m * static_cast<float>(tried_o));
        if (best >= 0.0f && left >= best) continue;
        best = left;
        *scale = tried_s;
        *offset = tried_o;
      }
    }
  }

  void choose_values(const float* x) {
    for (std::size_t i = 0; i < kSuperblock; ++i)
      q[i] = nearest(x[i], d * static_cast<float>(scales[i / kGroup]),
                     m * static_cast<float>(offsets[i / kGroup]));
  }

  // Sets d and m to the values that leave the least error with the given integers.
  void fit_ends(const float* x) {
    double aa = 0.0, ab = 0.0, bb = 0.0, xa = 0.0, xb = 0.0;
    for (std::size_t i = 0; i < kSuperblock; ++i) {
      const double a = scales[i / kGroup] * q[i], b = -offsets[i / kGroup];
      const double value = static_cast<double>(x[i]);
      aa += a * a;
      ab += a * b;
      bb += b * b;
      xa += value * a;
      xb += value * b;
    }
    const double determinant = aa * bb - ab * ab;
    if (determinant > 1e-9 * aa * bb) {
      const double new_d = (xa * bb - xb * ab) / determinant;
      const double new_m = (aa * xb - ab * xa) / determinant;
      if (new_d < 0.0 || new_m < 0.0) return;
      d = round_to_f16(static_cast<float>(new_d));
      m = round_to_f16(static_cast<float>(new_m));
    } else if (bb == 0.0 && aa > 0.0 && xa > 0.0) {
      d = round_to_f16(static_cast<float>(xa / aa));
    }
  }

  void fit(const float* x) {
    ScaleAndOffset wanted[kGroups];
    for (std::size_t j = 0; j < kGroups; ++j) {
      wanted[j] = fit_scale_and_offset(x + j * kGroup, kGroup, kHigh);
      d = std::max(d, wanted[j].d);
      m = std::max(m, wanted[j].m);
    }
    d = round_to_f16(d / static_cast<float>(kScaleHigh));
    m = round_to_f16(m / static_cast<float>(kScaleHigh));
    for (int round = 0; round <= kRounds; ++round) {
      for (std::size_t j = 0; j < kGroups; ++j)
        choose_scales(x + j * kGroup, wanted[j], &scales[j], &offsets[j]);
      choose_values(x);
      if (round < kRounds) fit_ends(x);
    }
  }
};

std::byte byte_of(unsigned low, unsigned high) { return static_cast<std::byte>(low | high << 4); }

// Writes the 12 bytes of eight scales and eight offsets of 6 bits.
void put_six_bits(const int* scales, const int* offsets, std::byte* out) {
  for (std::size_t j = 0; j < 4; ++j) {
    const auto low_s = static_cast<unsigned>(scales[j]),
               high_s = static_cast<unsigned>(scales[j + 4]);
    const auto low_o = static_cast<unsigned>(offsets[j]),
               high_o = static_cast<unsigned>(offsets[j + 4]);
    out[j] = static_cast<std::byte>(low_s | high_s >> 4 << 6);
    out[j + 4] = static_cast<std::byte>(low_o | high_o >> 4 << 6);
    out[j + 8] = byte_of(high_s & 15u, high_o & 15u);
  }
}

template <int kHigh>
bool put_six_bit_superblock(const float* x, std::byte* out, std::byte* nibbles,
                            std::byte* fifth_bits) {
  Offset<32, 63, kHigh> fitted;
  fitted.fit(x);
  put_six_bits(fitted.scales, fitted.offsets, out + 4);
  const auto q = [&](std::size_t i) { return static_cast<unsigned>(fitted.q[i]); };
  for (std::size_t piece = 0; piece < 4; ++piece)
    for (std::size_t l = 0; l < 32; ++l)
      nibbles[32 * piece + l] = byte_of(q(64 * piece + l) & 15u, q(64 * piece + 32 + l) & 15u);
  for (std::size_t l = 0; l < 32 && fifth_bits != nullptr; ++l) {
    unsigned bits = 0;
    for (std::size_t j = 0; j < 8; ++j) bits |= q(32 * j + l) >> 4 << j;
    fifth_bits[l] = static_cast<std::byte>(bits);
  }
  return put_scale(fitted.d, out) && put_scale(fitted.m, out + 2);
}

// Writes 64 bytes: byte 32h + l holds in its bits 2i the two bits that low(128h + 32i + l) returns.
template <class Low>
void put_pairs(Low low, std::byte* out) {
  for (std::size_t h = 0; h < 2; ++h) {
    for (std::size_t l = 0; l < 32; ++l) {
      unsigned bits = 0;
      for (std::size_t i = 0; i < 4; ++i) bits |= (low(128 * h + 32 * i + l) & 3u) << 2 * i;
      out[32 * h + l] = static_cast<std::byte>(bits);
    }
  }
}

}  // namespace

bool put_q4_k(const float* x, std::byte* out) {
  return put_six_bit_superblock<15>(x, out, out + 16, nullptr);
}

bool put_q5_k(const float* x, std::byte* out) {
  return put_six_bit_superblock<31>(x, out, out + 48, out + 16);
}

bool put_q2_k(const float* x, std::byte* out) {
  Offset<16, 15, 3> fitted;
  fitted.fit(x);
  for (std::size_t j = 0; j < 16; ++j)
    out[j] =
        byte_of(static_cast<unsigned>(fitted.scales[j]), static_cast<unsigned>(fitted.offsets[j]));
  put_pairs([&](std::size_t i) { return static_cast<unsigned>(fitted.q[i]); }, out + 16);
  return put_scale(fitted.d, out + 80) && put_scale(fitted.m, out + 82);
}

bool put_q3_k(const float* x, std::byte* out) {
  using Values = Integers<-4, 3>;
  Scaled<16, -32, 31, Values> fitted;
  fitted.fit(x);
  const auto q = [&](std::size_t i) { return Values::code(fitted.values[i]); };
  for (std::size_t l = 0; l < 32; ++l) {
    unsigned bits = 0;
    for (std::size_t h = 0; h < 8; ++h) bits |= q(32 * h + l) >> 2 << h;
    out[l] = static_cast<std::byte>(bits);
  }
  put_pairs(q, out + 32);
  const auto scale = [&](std::size_t j) { return static_cast<unsigned>(fitted.scales[j] + 32); };
  for (std::size_t j = 0; j < 8; ++j) out[96 + j] = byte_of(scale(j) & 15u, scale(j + 8) & 15u);
  for (std::size_t j = 0; j < 4; ++j) {
    unsigned bits = 0;
    for (std::size_t i = 0; i < 4; ++i) bits |= scale(4 * i + j) >> 4 << 2 * i;
    out[104 + j] = static_cast<std::byte>(bits);
  }
  return put_scale(fitted.d, out + 108);
}

bool put_q6_k(const float* x, std::byte* out) {
  using Values = Integers<-32, 31>;
  Scaled<16, -128, 127, Values> fitted;
  fitted.fit(x);
  const auto q = [&](std::size_t i) { return Values::code(fitted.values[i]); };
  for (std::size_t h = 0; h < 2; ++h)
    for (std::size_t l = 0; l < 64; ++l)
      out[64 * h + l] = byte_of(q(128 * h + l) & 15u, q(128 * h + 64 + l) & 15u);
  put_pairs([&](std::size_t i) { return q(i) >> 4; }, out + 128);
  for (std::size_t j = 0; j < 16; ++j)
    out[192 + j] = static_cast<std::byte>(static_cast<std::int8_t>(fitted.scales[j]));
  return put_scale(fitted.d, out + 208);
}

bool put_iq4_xs(const float* x, std::byte* out) {
  Scaled<32, -32, 31, Iq4Numbers> fitted;
  fitted.fit(x);
  const auto scale = [&](std::size_t b) { return static_cast<unsigned>(fitted.scales[b] + 32); };
  unsigned high = 0;
  for (std::size_t b = 0; b < 8; ++b) high |= scale(b) >> 4 << 2 * b;
  store(out + 2, static_cast<std::uint16_t>(high));
  for (std::size_t j = 0; j < 4; ++j)
    out[4 + j] = byte_of(scale(2 * j) & 15u, scale(2 * j + 1) & 15u);
  const auto q = [&](std::size_t i) { return Iq4Numbers::code(fitted.values[i]); };
  for (std::size_t b = 0; b < 8; ++b)
    for (std::size_t j = 0; j < 16; ++j)
      out[8 + 16 * b + j] = byte_of(q(32 * b + j), q(32 * b + 16 + j));
  return put_scale(fitted.d, out);
}

bool put_iq4_nl(const float* x, std::byte* out) {
  const float d = round_to_f16(fit_scale<Iq4Numbers>(x, 32));
  const auto q = [&](std::size_t i) {
    return Iq4Numbers::index(std::abs(d) < kZeroBelow ? 0.0f : x[i] / d);
  };
  for (std::size_t j = 0; j < 16; ++j) out[2 + j] = byte_of(q(j), q(16 + j));
  return put_scale(d, out);
}

}  // namespace troupe::quant
