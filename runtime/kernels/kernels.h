#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/status.h>

// The table of compute kernels: one struct of function pointers a CPU target, the same bits from
// each. Kernels never split work, allocate or lock: the caller hands each thread a range of
// outputs. Shapes are in elements. Called by model/transformer through runtime/device.
//
// The lane rule (why the bits are equal): vector lanes run over independent outputs; a reduction
// runs in index order, or over exactly 16 partial sums (element i goes to i mod 16) and one fixed
// tree: ((0+8)+(4+12)) ... i.e. halves are added 8, 4, 2, 1 apart. Only fma, sqrt, division; exp is
// ours. No kernel calls libm.

namespace troupe::kernels {

enum class Isa { kScalar, kAvx2, kAvx512 };  // kAvx512: with VNNI; other CPUs take AVX2
std::string_view isa_name(Isa isa);          // "scalar", "avx2", "avx512"
std::optional<Isa> isa_from_name(std::string_view name);
bool isa_supported(Isa isa);  // by this build and this CPU
// The widest supported target, or what TROUPE_ISA asks for (kInvalidArgument: unknown name, or
// not supported by this CPU).
Result<Isa> choose_isa();

constexpr std::size_t kGroupRows = 16;    // rows of a weight matrix that are interleaved
constexpr std::size_t kBlock = 32;        // activations share a scale over 32 elements
constexpr std::size_t kSuperblock = 256;  // or over 256, for K-quants
constexpr std::size_t kSumElements = 16;  // whose quants are summed in a superblock
constexpr std::size_t kPageKeys = 64;     // keys of a KV page
constexpr std::size_t kKeyBlock = 16;     // keys that lie side by side in K
constexpr std::size_t kSumKeys = 256;     // the sum over values is cut here, then added in order

// 64-byte aligned, uninitialised memory, on huge pages where the system grants them
// (memory_arena.h).
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t bytes);  // TROUPE_CHECKs that memory is there
  AlignedBuffer(AlignedBuffer&&) = default;
  AlignedBuffer& operator=(AlignedBuffer&&) = default;
  // The same memory, which goes with the last that has it: for what nobody writes any more.
  AlignedBuffer share() const { return AlignedBuffer(*this); }
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  std::size_t bytes() const { return data_ ? std::get_deleter<Free>(data_)->bytes : 0; }

 private:
  AlignedBuffer(const AlignedBuffer&) = default;
  struct Free {
    std::size_t bytes;
    void operator()(std::byte* p) const;
  };
  std::shared_ptr<std::byte> data_;
};

// A weight matrix W (rows = outputs, columns = inputs) with kGroupRows rows interleaved, at the
// file's width: scales stay f16. Rows are padded with zeros to a whole group. The layout of each
// format is drawn in quant/<format>.cpp. Immutable after packing; any thread may read.
struct PackedMatrix {
  quant::Type type = quant::Type::kF32;
  std::size_t rows = 0, columns = 0;
  std::size_t groups = 0;  // ceil(rows / kGroupRows)
  std::size_t group_bytes = 0;
  AlignedBuffer data;
};
// Packs rows [row_begin, row_end) of `file_rows` (rows consecutive, as in the file).
//   Errors: kBadData when columns does not fit the format or `bytes` is not rows * row_bytes.
Result<PackedMatrix> pack(quant::Type type, const std::byte* file_rows, std::size_t bytes,
                          std::size_t rows, std::size_t columns);
// out (columns) f32 = row `row` of w, exact.
void unpack_row(const PackedMatrix& w, std::size_t row, float* out);

// Activations of B rows for quantized weights: int8 blocks along K, of 32 or of 256 elements, or
// both, as the weights ask for; the pointers of what nobody asks for are null. All row-major.
//   d = amax/127, q = round-to-nearest-even(x * 127/amax) in [-127,127], over a block;
//   a block with amax < 2^-100 is all zero
struct QuantizedRows {
  // Blocks of 32 (quant::ActivationKind::kBlocks).
  std::int8_t* q = nullptr;     // (B,K)
  float* d = nullptr;           // (B,K/32)
  float* s = nullptr;           // (B,K/32): d * float(sum)
  std::int32_t* sum = nullptr;  // (B,K/32): the sum of a block's q
  // Superblocks of 256 (kSuperblocks).
  std::int8_t* super_q = nullptr;      // (B,K)
  float* super_d = nullptr;            // (B,K/256)
  std::int16_t* super_sums = nullptr;  // (B,K/16): the sums of 16 q

  // Where element `elements` lies, a multiple of the blocks that there are.
  QuantizedRows from(std::size_t elements) const {
    QuantizedRows out = *this;
    if (q) out.q += elements, out.d += elements / kBlock;
    if (q) out.s += elements / kBlock, out.sum += elements / kBlock;
    if (super_q) out.super_q += elements, out.super_d += elements / kSuperblock;
    if (super_q) out.super_sums += elements / kSumElements;
    return out;
  }
};
// What rows `type` multiplies.
quant::ActivationKind activation_kind(quant::Type type);
inline bool wants_quantized(quant::Type type) {
  return activation_kind(type) != quant::ActivationKind::kFloats;
}

struct Activations {
  std::size_t rows = 0, columns = 0;  // B, K
  const float* x = nullptr;           // (B,K), row stride `columns`; may be null if quantized only
  QuantizedRows quantized;            // what the weights ask for; null if f32 only

  // Without the rows before `row`.
  Activations from_row(std::size_t row) const {
    return {rows - row, columns, x ? x + row * columns : nullptr, quantized.from(row * columns)};
  }
};

enum class KvType { kF16, kF32 };
// One page: keys [page * kPageKeys, +kPageKeys) of one layer of one sequence, zeroed when made.
//   K: [kv_head][key / 16][channel][key % 16]   then   V: [kv_head][key][channel]
std::size_t kv_page_bytes(KvType type, std::size_t kv_heads, std::size_t head_dim);

struct AttentionArgs {
  const float* q = nullptr;  // row r: q + r * q_stride, heads of head_dim side by side
  std::size_t q_stride = 0;
  float* out = nullptr;  // same layout as q; must not alias it
  std::size_t out_stride = 0;
  const std::byte* const* pages = nullptr;  // page p of this sequence and layer
  KvType kv_type = KvType::kF16;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1.0f;
  std::size_t position = 0;  // absolute position of row 0; row r sees keys [lo, position + r]
  std::size_t window = 0;    // 0: lo = 0; else lo = max(0, position + r + 1 - window)
  // Not 0: every row sees keys [0, bidirectional_keys) instead, as in an encoder; then window is 0.
  std::size_t bidirectional_keys = 0;
};

struct Kernels {
  Isa isa;
  // Quantizes rows [row_begin, row_end) of x (B,K) into the blocks that `out` has memory for; K is
  // a multiple of them.
  void (*quantize_rows)(const float* x, std::size_t columns, std::size_t row_begin,
                        std::size_t row_end, QuantizedRows out);
  // out[b * out_stride + r] = (accumulate ? out[...] : 0 by definition absent) + W[r] . x[b]
  //   for all b in [0, x.rows) and the rows r of groups [group_begin, group_end) (rows past w.rows
  //   are not written). The sum of a row is formed alone, from 0, then added once if `accumulate`.
  void (*matmul)(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
                 std::size_t group_end, float* out, std::size_t out_stride, bool accumulate);
  // out = x / sqrt(mean(x^2) + eps) * weight for rows [row_begin, row_end); x, out (B,C) dense.
  //   out may alias x. Source: Zhang & Sennrich 2019, eq. 4.
  void (*rms_norm)(const float* x, const float* weight, float eps, std::size_t channels,
                   std::size_t row_begin, std::size_t row_end, float* out);
  // out = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias for rows [row_begin,
  // row_end);
  //   x, out (B,C) dense. out may alias x. Source: Ba et al. 2016, eq. 4.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps,
                     std::size_t channels, std::size_t row_begin, std::size_t row_end, float* out);
  // Rotates `heads` heads of head_dim at x in place. cos_sin: (rotary_dim/2, 2) f32 of this
  // position. interleaved: pairs (2i, 2i+1); else NeoX: (i, i + rotary_dim/2).
  void (*rope)(float* x, std::size_t heads, std::size_t head_dim, std::size_t rotary_dim,
               const float* cos_sin, bool interleaved);
  // Stores k and v (kv_heads * head_dim, f32) of one position into its page, rounding to the type.
  void (*kv_write)(const float* k, const float* v, std::byte* page, KvType type,
                   std::size_t kv_heads, std::size_t head_dim, std::size_t key_in_page);
  // Rows [row_begin, row_end) of heads [head_begin, head_end). scratch: attention_scratch_floats.
  //   score_j = (q . k_j in channel order) * scale; softmax over j with 16 partial sums by absolute
  //   key position; out = sum of p_j v_j in key order, cut at kSumKeys, divided by the sum last.
  void (*attention)(const AttentionArgs& args, std::size_t head_begin, std::size_t head_end,
                    std::size_t row_begin, std::size_t row_end, float* scratch);
  // gate[i] = silu(gate[i]) * up[i] for i in [0, count). silu(x) = x / (1 + exp(-x)).
  void (*silu_mul)(float* gate, const float* up, std::size_t count);
  // x[i] = gelu(x[i]) for i in [0, count): by tanh x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))),
  // by
  //   erf x/2 (1 + erf(x / sqrt(2))). Source: Hendrycks & Gimpel 2016.
  void (*gelu_tanh)(float* x, std::size_t count);
  void (*gelu_erf)(float* x, std::size_t count);
  // out[i] = tanh(x[i]), ours, within 3 ulp. out may alias x.
  void (*tanh)(const float* x, float* out, std::size_t count);
  // out[i] = exp(x[i]), ours, within 2 ulp of the true value on [-87, 88], clamped outside.
  void (*exp)(const float* x, float* out, std::size_t count);
};
// The table of a supported target.
const Kernels& table(Isa isa);

// Floats of scratch that one call of `attention` needs for rows up to `rows` at `keys` keys.
std::size_t attention_scratch_floats(const AttentionArgs& args, std::size_t rows, std::size_t keys);

// f16 <-> f32, round to nearest even, the same on every target.
std::uint16_t f32_to_f16(float value);
float f16_to_f32(std::uint16_t bits);

// Scalar exp of the table (the definition that every target follows), for samplers and softmaxes
// outside the kernels; log likewise (within 2 ulp on normal numbers; log(0) = -inf).
float exp_bits(float x);
float log_bits(float x);
// tanh within 3 ulp; erf within a 2^-21st of its value; the two forms of GELU from them.
float tanh_bits(float x);
float erf_bits(float x);
float gelu_tanh_bits(float x);
float gelu_erf_bits(float x);

}  // namespace troupe::kernels
