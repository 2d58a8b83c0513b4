// Compiles the including file once for each vector target. The includer defines HWY_TARGET_INCLUDE
// as its own path, includes this file, and wraps its kernels in `#if TROUPE_VECTOR_TARGET` and
// HWY_BEFORE_NAMESPACE / HWY_AFTER_NAMESPACE. In a group, which troupe_compile_kernels_together in
// CMake makes, the path is the group's. Highway's scalar and SSE targets do not fuse a multiply and
// an add, so nothing of ours is compiled for them. There is no include guard on purpose: the last
// part is read anew for each target.

#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#endif
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // re-includes the includer

#undef TROUPE_VECTOR_TARGET
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#define TROUPE_VECTOR_TARGET 1
#include <hwy/highway.h>
#else
#define TROUPE_VECTOR_TARGET 0
#endif
