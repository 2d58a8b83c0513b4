#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <troupe/runtime/accelerator.h>
#include <troupe/runtime/cuda/kernels/products.h>

// Chooses the kernel that multiplies a matrix, by its format and the number of rows.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

// A format as the kernels see it: its Layout, or the Values of weights without blocks; and the
// Reader of its weights.
template <class L>
struct DeviceFormat {
  using Layout = L;
  using Reader = BlockReader<L>;
};
template <class F>
struct PlainFormat {
  using Values = F;
  using Reader = PlainReader<F>;
};
template <>
struct DeviceFormat<quant::F32Layout> : PlainFormat<F32Values> {};
template <>
struct DeviceFormat<quant::F16Layout> : PlainFormat<F16Values> {};
template <>
struct DeviceFormat<quant::BF16Layout> : PlainFormat<BF16Values> {};

// Calls body(DeviceFormat<Layout>{}) for a format with kernels, and returns false for others.
template <class Body>
bool with_format(quant::Type type, Body body) {
  switch (type) {
#define TROUPE_FORMAT_CASE(name, title, number) \
  case quant::Type::k##title:                   \
    body(DeviceFormat<quant::title##Layout>{}); \
    return true;
    TROUPE_QUANT_FORMATS(TROUPE_FORMAT_CASE)
#undef TROUPE_FORMAT_CASE
    default:
      return false;
  }
}

// Says whether matrices of this format can be multiplied.
inline bool has_kernels(quant::Type type) {
  return with_format(type, [](auto) {});
}

inline unsigned groups_of(const ProductArgs& args) {
  unsigned groups = 0;
  for (int i = 0; i < args.count; ++i)
    groups += static_cast<unsigned>((args.matrices[i].rows + 15) / 16);
  return groups;
}
inline unsigned rounded_up(std::size_t count, std::size_t unit) {
  return static_cast<unsigned>((count + unit - 1) / unit);
}

template <class L>
void launch_blocks(Stream stream, const ProductArgs& args) {
  const unsigned groups = groups_of(args);
  const auto decode = [&](auto kernel) {
    launch(stream, kernel, dim3(groups), kDecodeThreads, args);
  };
  if (args.batch == 1) return decode(decode_product<L, 1>);
  if (args.batch == 2) return decode(decode_product<L, 2>);
  if (args.batch <= 4) return decode(decode_product<L, 4>);
  if (args.batch <= 8) return decode(decode_product<L, 8>);
  launch(stream, prompt_product<L, kPromptTiles>,
         dim3(rounded_up(groups, kPromptThreads / kWarp),
              rounded_up(static_cast<std::size_t>(args.batch), 8 * kPromptTiles)),
         kPromptThreads, args);
}

// Multiplies args.matrices, which all have this format. It has kernels.
inline void launch_product(Stream stream, quant::Type type, const ProductArgs& args) {
  const bool known = with_format(type, [&](auto format) {
    using Format = decltype(format);
    if constexpr (requires { typename Format::Layout; }) {
      launch_blocks<typename Format::Layout>(stream, args);
    } else {
      launch(stream, plain_product<typename Format::Values>,
             dim3(groups_of(args), rounded_up(static_cast<std::size_t>(args.batch), kPlainColumns)),
             kPlainThreads, args);
    }
  });
  TROUPE_CHECK(known, "a format without kernels was let in");
}

// x[i] = row tokens[i] of the matrix.
inline void launch_gather(Stream stream, const DeviceMatrix& matrix, const int* tokens,
                          std::size_t count, float* x) {
  const bool known = with_format(matrix.type, [&](auto format) {
    launch(stream, gather_rows<typename decltype(format)::Reader>,
           dim3(static_cast<unsigned>(count)), kGatherThreads,
           reinterpret_cast<const unsigned char*>(matrix.data), matrix.group_bytes,
           static_cast<int>(matrix.columns), tokens, x);
  });
  TROUPE_CHECK(known, "a format without kernels was let in");
}

// A product of a step: a matrix, its bias and its output.
struct StepProduct {
  const DeviceMatrix* matrix;
  const float* bias;
  float* out;
};

// Multiplies rows that `common` describes with each matrix: one launch for each format among them.
inline void launch_products(Stream stream, ProductArgs common, std::vector<StepProduct> products) {
  while (!products.empty()) {
    const quant::Type type = products.front().matrix->type;
    ProductArgs args = common;
    args.columns = static_cast<int>(products.front().matrix->columns);
    for (const StepProduct& product : products)
      if (product.matrix->type == type)
        args.matrices[args.count++] = {reinterpret_cast<const unsigned char*>(product.matrix->data),
                                       product.matrix->group_bytes,
                                       static_cast<int>(product.matrix->rows), product.bias,
                                       product.out};
    launch_product(stream, type, args);
    products.erase(std::remove_if(products.begin(), products.end(),
                                  [&](const StepProduct& p) { return p.matrix->type == type; }),
                   products.end());
  }
}

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
