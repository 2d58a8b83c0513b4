#pragma once

// The list of weight formats, one row each: the name of its source file and functions, its
// enumerator, and GGUF's number of it (ggml_type). A new format is a row here, its layout in
// layout.h, and the two files that define NAME_format() (runtime/quant/NAME.cpp) and its products
// on the vector targets (runtime/kernels/vector/matmul_NAME.cpp).

#define TROUPE_QUANT_FORMATS(ROW) \
  ROW(f32, kF32, 0)               \
  ROW(f16, kF16, 1)               \
  ROW(bf16, kBF16, 30)            \
  ROW(q4_0, kQ4_0, 2)             \
  ROW(q4_1, kQ4_1, 3)             \
  ROW(q5_0, kQ5_0, 6)             \
  ROW(q5_1, kQ5_1, 7)             \
  ROW(q8_0, kQ8_0, 8)             \
  ROW(q4_k, kQ4_K, 12)            \
  ROW(q5_k, kQ5_K, 13)            \
  ROW(q6_k, kQ6_K, 14)            \
  ROW(q2_k, kQ2_K, 10)            \
  ROW(q3_k, kQ3_K, 11)            \
  ROW(iq4_nl, kIQ4_NL, 20)        \
  ROW(iq4_xs, kIQ4_XS, 23)        \
  ROW(mxfp4, kMXFP4, 39)

// Formats that are read into another one when weights are packed; they have no kernels. A row's
// NAME_format() (runtime/quant/NAME.cpp) says into which. The numbers from 1000 on are our own:
// GGUF has no such formats, but the header that is made for a folder may
// (model/source/hf_folder.h).
#define TROUPE_FILE_FORMATS(ROW)       \
  ROW(iq2_xxs, kIQ2_XXS, 16)           \
  ROW(iq2_xs, kIQ2_XS, 17)             \
  ROW(iq3_xxs, kIQ3_XXS, 18)           \
  ROW(iq1_s, kIQ1_S, 19)               \
  ROW(iq3_s, kIQ3_S, 21)               \
  ROW(iq2_s, kIQ2_S, 22)               \
  ROW(iq1_m, kIQ1_M, 29)               \
  ROW(tq1_0, kTQ1_0, 34)               \
  ROW(tq2_0, kTQ2_0, 35)               \
  ROW(f8_e4m3, kF8_E4M3, 1000)         \
  ROW(f8_e5m2, kF8_E5M2, 1001)         \
  ROW(mxfp4_split, kMXFP4_SPLIT, 1002) \
  ROW(e8m0, kE8M0, 1003)
