// Measures the kernels on the shapes of SmolLM2-135M, and the limits of the machine for comparison.
//   kernel_bench [ISA [THREADS [FILTER]]]     e.g. kernel_bench avx2 2 matmul
// Every figure is the best of several runs. The weights of each measurement are many copies, larger
// than the caches, as a model's are: figures of few columns include memory.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <troupe/runtime/device/device.h>
#include <troupe/runtime/kernels/table.h>
#include <troupe/runtime/machine/aligned_buffer.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using namespace troupe;
using kernels::PackedMatrix;

double seconds_of(const std::function<void()>& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Returns the seconds of the best of several runs, which take about a second together.
double best_seconds(const std::function<void()>& body) {
  double best = seconds_of(body), total = best;
  for (int runs = 1; (total < 0.4 || runs < 4) && runs < 2000; ++runs) {
    const double seconds = seconds_of(body);
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

#if defined(__x86_64__)
constexpr int kPeakSteps = 1000000;
constexpr int kPeakChains = 12;

// Runs FMAs in twelve chains, and nothing else.
__attribute__((target("avx2,fma"))) void fma_avx2() {
  __m256 x[kPeakChains];
  for (auto& v : x) v = _mm256_set1_ps(1.0f);
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
  for (int i = 0; i < kPeakSteps; ++i)
    for (auto& v : x) {
      v = _mm256_fmadd_ps(v, a, b);
      asm volatile("" : "+x"(v));
    }
}
__attribute__((target("avx512f"))) void fma_avx512() {
  __m512 x[kPeakChains];
  for (auto& v : x) v = _mm512_set1_ps(1.0f);
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
  for (int i = 0; i < kPeakSteps; ++i)
    for (auto& v : x) {
      v = _mm512_fmadd_ps(v, a, b);
      asm volatile("" : "+v"(v));
    }
}
// Byte products alone, into twelve registers. They are in assembly, because the compiler would keep
// arrays of integer vectors in memory here.
#define TROUPE_TWELVE(instruction)                                                    \
  instruction "0\n" instruction "1\n" instruction "2\n" instruction "3\n" instruction \
              "4\n" instruction "5\n" instruction "6\n" instruction "7\n" instruction \
              "8\n" instruction "9\n" instruction "10\n" instruction "11\n"
#define TROUPE_CLOBBERS \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11"
void bytes_avx2() {
  for (int i = 0; i < kPeakSteps; ++i)
    asm volatile(TROUPE_TWELVE("vpmaddubsw %%ymm12, %%ymm13, %%ymm")::: TROUPE_CLOBBERS);
  asm volatile("vzeroupper");
}
void bytes_vnni() {
  for (int i = 0; i < kPeakSteps; ++i)
    asm volatile(TROUPE_TWELVE("vpdpbusd %%zmm12, %%zmm13, %%zmm")::: TROUPE_CLOBBERS);
  asm volatile("vzeroupper");
}
double peak(void (*loop)(), int products_a_step) {
  return 1e-9 * kPeakSteps * kPeakChains * products_a_step / best_seconds(loop);
}
#endif

class Bench {
 public:
  Bench(Device& device, std::string filter) : device_(device), filter_(std::move(filter)) {}

  void machine() {
    if (!wanted("machine")) return;
    AlignedBuffer memory(std::size_t{256} << 20);  // on huge pages, as weights are
    std::memset(memory.data(), 1, memory.bytes());
    const auto* words = reinterpret_cast<const std::uint64_t*>(memory.data());
    const std::size_t lines = memory.bytes() / 64;
    std::vector<std::uint64_t> sums(static_cast<std::size_t>(device_.threads()) * 8);
    const double seconds = best_seconds([&] {
      device_.pool().run([&](int thread) {
        const IndexRange part = split(lines, thread, device_.threads());
        std::uint64_t sum[8] = {};
        for (std::size_t i = part.begin; i < part.end; ++i)
          for (std::size_t j = 0; j < 8; ++j) sum[j] += words[i * 8 + j];
        for (const std::uint64_t s : sum) sums[static_cast<std::size_t>(thread) * 8] += s;
      });
    });
    std::printf("machine: memory read %.1f GB/s with %d threads\n",
                static_cast<double>(memory.bytes()) / seconds / 1e9, device_.threads());
#if defined(__x86_64__)
    if (kernels::isa_supported(kernels::Isa::kAvx2))
      std::printf("machine: a core, avx2: %.0f G fma/s, %.0f G maddubs MAC/s\n", peak(fma_avx2, 8),
                  peak(bytes_avx2, 32));
    if (__builtin_cpu_supports("avx512vnni"))
      std::printf("machine: a core, avx512: %.0f G fma/s, %.0f G dpbusd MAC/s\n",
                  peak(fma_avx512, 16), peak(bytes_vnni, 64));
#endif
    constexpr int kBarriers = 100000;
    const double barrier = best_seconds([&] {
      device_.pool().run([&](int thread) {
        for (int i = 0; i < kBarriers; ++i) device_.pool().barrier(thread);
      });
    });
    std::printf("machine: barrier %.0f ns\n", barrier / kBarriers * 1e9);
  }

  void matmul(quant::Type type, std::size_t rows, std::size_t columns, std::size_t copies) {
    const std::string name = "matmul " + std::string(quant::find(type)->name) + " " +
                             std::to_string(rows) + "x" + std::to_string(columns);
    if (!wanted(name)) return;
    std::vector<PackedMatrix> weights;
    double bytes = 0;
    for (std::size_t i = 0; i < copies; ++i) {
      weights.push_back(random_matrix(type, rows, columns));
      bytes += static_cast<double>(weights.back().data.bytes());
    }
    for (const std::size_t batch : {1, 2, 4, 8, 64, 512}) {
      if (rows > 10000 && batch > 8) continue;
      const std::size_t used = std::max<std::size_t>(1, batch < 8 ? copies : copies / batch);
      Rows x(device_.kernels(), batch, columns);
      std::vector<float> out(batch * rows);
      const double seconds = best_seconds([&] {
        device_.pool().run([&](int thread) {
          for (std::size_t copy = 0; copy < used; ++copy) {
            const PackedMatrix& w = weights[copy];
            const IndexRange part = split(w.groups, thread, device_.threads());
            device_.kernels().matmul(w, x.activations, part.begin, part.end, out.data(), rows,
                                     false);
            device_.pool().barrier(thread);
          }
        });
      });
      std::printf(
          "%-24s batch %3zu: %6.1f GMAC/s a thread, weights %5.1f GB/s in all\n", name.c_str(),
          batch,
          static_cast<double>(used * rows * columns * batch) / seconds / 1e9 / device_.threads(),
          bytes * static_cast<double>(used) / static_cast<double>(copies) / seconds / 1e9);
    }
  }

  // Measures attention with 9 heads, 3 key heads and a head_dim of 64, as in a layer of
  // SmolLM2-135M. Each copy has a cache of its own.
  void attention(std::size_t position, std::size_t rows, std::size_t copies) {
    const std::string name =
        "attention " + std::to_string(rows) + " rows at " + std::to_string(position);
    if (!wanted(name)) return;
    const std::size_t keys = position + rows, kHeads = 9, kKvHeads = 3, kHeadDim = 64;
    const std::size_t page_bytes =
        kernels::kv_page_bytes(kernels::KvType::kF16, kKvHeads, kHeadDim);
    std::vector<AlignedBuffer> buffers;  // the pages of all copies, which stand for layers
    std::vector<std::vector<const std::byte*>> pages(copies);
    const std::vector<float> kv = random_floats(kKvHeads * kHeadDim);
    for (std::size_t key = 0; key < keys; key += kernels::kPageKeys) {
      buffers.emplace_back(page_bytes * copies);
      std::memset(buffers.back().data(), 0, buffers.back().bytes());
      for (std::size_t copy = 0; copy < copies; ++copy) {
        std::byte* page = buffers.back().data() + copy * page_bytes;
        pages[copy].push_back(page);
        for (std::size_t i = 0; i < kernels::kPageKeys; ++i)
          device_.kernels().kv_write(kv.data(), kv.data(), page, kernels::KvType::kF16, kKvHeads,
                                     kHeadDim, i);
      }
    }
    const std::vector<float> q = random_floats(rows * kHeads * kHeadDim);
    std::vector<float> out(q.size());
    kernels::AttentionArgs args{.q = q.data(),
                                .q_stride = kHeads * kHeadDim,
                                .out = out.data(),
                                .out_stride = kHeads * kHeadDim,
                                .heads = kHeads,
                                .kv_heads = kKvHeads,
                                .head_dim = kHeadDim,
                                .scale = 0.125f,
                                .position = position};
    std::vector<float> scratch(kernels::attention_scratch_floats(args, keys));
    const double seconds = best_seconds([&] {
      for (std::size_t copy = 0; copy < copies; ++copy) {
        args.pages = pages[copy].data();
        device_.kernels().attention(args, 0, kHeads, 0, rows, scratch.data());
      }
    });
    const double pairs = static_cast<double>(rows) * static_cast<double>(position) +
                         static_cast<double>(rows * (rows + 1)) / 2;
    std::printf("%-24s x %2zu: %5.1f GMAC/s, %.1f us, caches %.1f GB/s (one thread)\n",
                name.c_str(), copies,
                pairs * kHeads * kHeadDim * 2 * static_cast<double>(copies) / seconds / 1e9,
                seconds / static_cast<double>(copies) * 1e6,
                static_cast<double>(keys * 2 * kKvHeads * kHeadDim * 2 * copies) / seconds / 1e9);
  }

  void elementwise() {
    if (!wanted("elementwise")) return;
    const std::size_t rows = 64;
    std::vector<float> x = random_floats(rows * 1536), up = random_floats(rows * 1536);
    std::vector<float> out(x.size());
    Rows quantized(device_.kernels(), rows, 1536);
    const kernels::Kernels& k = device_.kernels();
    const auto report = [&](const char* name, std::size_t columns,
                            const std::function<void()>& body) {
      std::printf("%-24s %6.0f ns a row of %zu (one thread)\n", name,
                  best_seconds(body) / static_cast<double>(rows) * 1e9, columns);
    };
    report("elementwise quantize", 576,
           [&] { k.quantize_rows(x.data(), 576, 0, rows, quantized.activations.quantized); });
    report("elementwise rms_norm", 576,
           [&] { k.rms_norm(x.data(), up.data(), 1e-5f, 576, 0, rows, out.data()); });
    report("elementwise silu_mul", 1536, [&] {
      std::copy(x.begin(), x.end(), out.begin());
      k.silu_mul(out.data(), up.data(), rows * 1536);
    });
    report("elementwise rope", 576, [&] {
      for (std::size_t row = 0; row < rows; ++row)
        k.rope(out.data() + row * 576, 9, 64, 64, up.data(), true);
    });
    AlignedBuffer page(kernels::kv_page_bytes(kernels::KvType::kF16, 3, 64));
    report("elementwise kv_write", 192, [&] {
      for (std::size_t row = 0; row < rows; ++row)
        k.kv_write(x.data() + row * 192, up.data() + row * 192, page.data(), kernels::KvType::kF16,
                   3, 64, row);
    });
  }

 private:
  // Random activations of some rows, also quantized.
  struct Rows {
    Rows(const kernels::Kernels& kernels, std::size_t rows, std::size_t columns)
        : x(random_floats(rows * columns)),
          q(x.size()),
          d(x.size() / kernels::kBlock),
          s(d.size()),
          sum(d.size()),
          super_q(columns % kernels::kSuperblock == 0 ? x.size() : 0),
          super_d(super_q.size() / kernels::kSuperblock),
          super_sums(super_q.size() / kernels::kSumElements),
          activations{.rows = rows,
                      .columns = columns,
                      .x = x.data(),
                      .quantized = {q.data(), d.data(), s.data(), sum.data(),
                                    super_q.empty() ? nullptr : super_q.data(), super_d.data(),
                                    super_sums.data()}} {
      kernels.quantize_rows(x.data(), columns, 0, rows, activations.quantized);
    }
    std::vector<float> x;
    std::vector<std::int8_t> q;
    std::vector<float> d, s;
    std::vector<std::int32_t> sum;
    std::vector<std::int8_t> super_q;
    std::vector<float> super_d;
    std::vector<std::int16_t> super_sums;
    kernels::Activations activations;
  };

  static std::vector<float> random_floats(std::size_t count) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
  }

  static PackedMatrix random_matrix(quant::Type type, std::size_t rows, std::size_t columns) {
    const quant::Format& format = *quant::find(type);
    std::vector<std::byte> bytes(rows * columns / format.block_elements * format.block_bytes);
    std::uint32_t state = 1;
    for (std::byte& byte : bytes) {
      state = state * 1664525u + 1013904223u;
      // Every f16, bf16 and f32 made of the bytes 48 to 63 is finite and not small. Sums of
      // subnormal numbers would take a hundred cycles on some CPUs.
      byte = static_cast<std::byte>(48 + (state >> 28));
    }
    auto packed = kernels::pack(type, bytes.data(), bytes.size(), rows, columns);
    TROUPE_CHECK(packed.is_ok(), packed.message());
    return std::move(*packed);
  }

  bool wanted(const std::string& name) const { return name.find(filter_) != std::string::npos; }

  Device& device_;
  std::string filter_;
};

}  // namespace

int main(int argc, char** argv) {
  DeviceOptions options;
  if (argc > 1 && std::strcmp(argv[1], "best") != 0) {
    options.isa = kernels::isa_from_name(argv[1]);
    if (!options.isa) {
      std::fprintf(stderr, "usage: kernel_bench [best|scalar|avx2|avx512 [THREADS [FILTER]]]\n");
      return 2;
    }
  }
  options.threads = argc > 2 ? std::atoi(argv[2]) : 1;
  auto device = Device::create(options);
  if (!device) {
    std::fprintf(stderr, "kernel_bench: %s\n", device.message().c_str());
    return 1;
  }
  std::printf("isa %s, threads %d\n",
              std::string(kernels::isa_name((*device)->kernels().isa)).c_str(),
              (*device)->threads());
  Bench bench(**device, argc > 3 ? argv[3] : "");
  bench.machine();
  bench.matmul(quant::Type::kQ4_1, 576, 576, 400);
  bench.matmul(quant::Type::kQ4_1, 192, 576, 1200);
  bench.matmul(quant::Type::kQ4_1, 576, 1536, 150);
  for (const quant::Type type :
       {quant::Type::kQ4_0, quant::Type::kQ4_1, quant::Type::kQ5_0, quant::Type::kQ5_1,
        quant::Type::kQ8_0, quant::Type::kF16, quant::Type::kBF16, quant::Type::kF32})
    bench.matmul(type, 1536, 576, 60);
  bench.matmul(quant::Type::kQ8_0, 49152, 576, 1);
  for (const quant::Type type :
       {quant::Type::kQ4_0, quant::Type::kQ8_0, quant::Type::kQ2_K, quant::Type::kQ3_K,
        quant::Type::kQ4_K, quant::Type::kQ5_K, quant::Type::kQ6_K, quant::Type::kIQ4_NL,
        quant::Type::kIQ4_XS, quant::Type::kMXFP4})
    bench.matmul(type, 2048, 2048, 16);
  bench.attention(0, 512, 1);
  bench.attention(127, 1, 1);
  bench.attention(1023, 1, 1);
  bench.attention(1023, 1, 120);
  bench.elementwise();
  return 0;
}
