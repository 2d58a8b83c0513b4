#pragma once

// The list of weight formats, one row each: the name of its source file and functions, the TITLE of
// its enumerator kTITLE and of its layout TITLELayout, and its number in GGUF (ggml_type). A new
// format is a row here, its layout in layout.h, and the two files that define NAME_format()
// (runtime/quant/NAME.cpp) and its products on the vector targets
// (runtime/kernels/vector/matmul_NAME.cpp).

#define TROUPE_QUANT_FORMATS(ROW) \
  ROW(f32, F32, 0)                \
  ROW(f16, F16, 1)                \
  ROW(bf16, BF16, 30)             \
  ROW(q4_0, Q4_0, 2)              \
  ROW(q4_1, Q4_1, 3)              \
  ROW(q5_0, Q5_0, 6)              \
  ROW(q5_1, Q5_1, 7)              \
  ROW(q8_0, Q8_0, 8)              \
  ROW(q4_k, Q4_K, 12)             \
  ROW(q5_k, Q5_K, 13)             \
  ROW(q6_k, Q6_K, 14)             \
  ROW(q2_k, Q2_K, 10)             \
  ROW(q3_k, Q3_K, 11)             \
  ROW(iq4_nl, IQ4_NL, 20)         \
  ROW(iq4_xs, IQ4_XS, 23)         \
  ROW(mxfp4, MXFP4, 39)

// Formats that are read into another one when weights are packed; they have no kernels. A row's
// NAME_format() (runtime/quant/NAME.cpp) says into which. The numbers from 1000 on are our own:
// GGUF has no such formats, but the header that is made for a folder may
// (model/source/hf_folder.h).
#define TROUPE_FILE_FORMATS(ROW)      \
  ROW(iq2_xxs, IQ2_XXS, 16)           \
  ROW(iq2_xs, IQ2_XS, 17)             \
  ROW(iq3_xxs, IQ3_XXS, 18)           \
  ROW(iq1_s, IQ1_S, 19)               \
  ROW(iq3_s, IQ3_S, 21)               \
  ROW(iq2_s, IQ2_S, 22)               \
  ROW(iq1_m, IQ1_M, 29)               \
  ROW(tq1_0, TQ1_0, 34)               \
  ROW(tq2_0, TQ2_0, 35)               \
  ROW(f8_e4m3, F8_E4M3, 1000)         \
  ROW(f8_e5m2, F8_E5M2, 1001)         \
  ROW(mxfp4_split, MXFP4_SPLIT, 1002) \
  ROW(e8m0, E8M0, 1003)
