"""Faults put into the GPU's kernels, each of which the tests on the emulation must notice.
mutations.py reads them; a row of this table has the form of a row there."""

ATTENTION = "cuda: attention has the oracle's bits"
BEST = "cuda: the best id is the first of the largest logits"
LONG = "cuda: long rows have the oracle's bits"
NORMS = "cuda: norms and their blocks have the oracle's bits"
PRODUCTS = "cuda: products of every format and number of rows have the oracle's bits"
ROTATED = "cuda: rotated heads and stored keys have the CPU's bits"
SWIGLU = "cuda: gated activations and their blocks have the oracle's bits"
WINDOWS = "cuda: attention with a window has the oracle's bits"

ROOM = "runtime/cuda/kernels/"


def row(file, before, after, test):
    return (ROOM + file, before, after, "runtime_tests", test, {})


KERNEL_MUTATIONS = {
    "kernel: the scores' maximum over 3 of 4 warps": row(
        "attention.h", "for (int i = 0; i < 4; ++i) most =", "for (int i = 0; i < 3; ++i) most =",
        ATTENTION),
    "kernel: no barrier before probabilities are read": row(
        "attention.h", "exp_same(scores[j] - most);\n  __syncthreads();",
        "exp_same(scores[j] - most);", ATTENTION),
    "kernel: no barrier behind a head's query": row(
        "attention.h", "q[c] = from[c];\n    __syncthreads();", "q[c] = from[c];", ATTENTION),
    "kernel: no barrier before the next head's total": row(
        "attention.h", "= sum / total[0];\n    }\n    __syncthreads();", "= sum / total[0];\n    }",
        ATTENTION),
    "kernel: a value's page for the next key": row(
        "attention.h", "* kPage + j % kPage) * D + c;", "* kPage + (j + 1) % kPage) * D + c;",
        ATTENTION),
    "kernel: the window begins one key late": row(
        "attention.h", "seen > window ? seen - window : 0", "seen > window ? seen - window + 1 : 0",
        WINDOWS),
    "kernel: the first key has no part in the total": row(
        "attention.h", "if (j >= first) sum += p[j];", "if (j > first) sum += p[j];", WINDOWS),
    "kernel: chunks are added from the first of all": row(
        "attention.h", "for (int i = first / kKeysAtOnce; i <= last / kKeysAtOnce; ++i)\n        sum",
        "for (int i = 0; i <= last / kKeysAtOnce; ++i)\n        sum", WINDOWS),
    "kernel: a rotation without its sign": row(
        "attention.h", "fma(a, cosine, -(b * sine))", "fma(a, cosine, b * sine)", ROTATED),
    "kernel: no barrier between norm and rotation": row(
        "attention.h", "x[c] * inverse * weight[c];\n    __syncwarp();",
        "x[c] * inverse * weight[c];", ROTATED),
    "kernel: keys of 8 side by side": row(
        "attention.h", "key / 16) * D + c) * 16 + key % 16]", "key / 16) * D + c) * 16 + key % 8]",
        ROTATED),
    "kernel: a tree of 1, 2, 4, 8": row(
        "arithmetic.h", "for (int apart = 8; apart > 0; apart /= 2) partial",
        "for (int apart = 1; apart < 16; apart *= 2) partial", NORMS),
    "kernel: one coefficient of exp": row(
        "arithmetic.h", "1.6666665e-1f", "1.6666667e-1f", SWIGLU),
    "kernel: no barrier before the norm's factor is read": row(
        "rows.h", "(mean + epsilon);\n  }\n  __syncthreads();", "(mean + epsilon);\n  }", NORMS),
    "kernel: no barrier before a norm is quantized": row(
        "rows.h", "inverse[0] * weight[c];\n  __syncthreads();", "inverse[0] * weight[c];", NORMS),
    "kernel: tiny blocks keep their scale": row(
        "rows.h", "finite && largest < 0x1p-100f", "finite && largest == 0.0f", SWIGLU),
    "kernel: negative activations are rounded to halves": row(
        "rows.h", "x[i] * inverse + 12582912.0f", "x[i] * inverse + 8388608.0f", NORMS),
    "kernel: no barrier before terms are added": row(
        "products.h", "    __syncthreads();\n    const int row = threadIdx.x % 16, column",
        "    const int row = threadIdx.x % 16, column", PRODUCTS),
    "kernel: no barrier before terms are overwritten": row(
        "products.h", "acc = add_term<L>(term, acc);\n      }\n    __syncthreads();",
        "acc = add_term<L>(term, acc);\n      }", LONG),
    "kernel: a shuffle by 8 for 4": row(
        "products.h", "isum += __shfl_xor_sync(kWholeWarp, isum, 4);",
        "isum += __shfl_xor_sync(kWholeWarp, isum, 8);", PRODUCTS),
    "kernel: rows of a lane in another order": row(
        "products.h", "(up ? 2 : 0) + (up2 ? 1 : 0)", "(up2 ? 2 : 0) + (up ? 1 : 0)", PRODUCTS),
    "kernel: the offset of a block is forgotten": row(
        "products.h", "sums->isum -= L::kOffset * x.sum[block];", "sums->isum -= 0 * x.sum[block];",
        PRODUCTS),
    "kernel: an unfused multiply-add": row(
        "products.h", "acc = fma(term.product.x, term.product.y, acc);",
        "acc = term.product.x * term.product.y + acc;", PRODUCTS),
    "kernel: a superblock's offset is added": row(
        "products.h", "term.offset = {-m * d,", "term.offset = {m * d,", PRODUCTS),
    "kernel: halves of a run share a scale": row(
        "products.h", "scales[i / 2].half_scale(2 * u + 1) * upper[i]",
        "scales[i / 2].half_scale(2 * u) * upper[i]", PRODUCTS),
    "kernel: a batch's last column is left out": row(
        "products.h", "if (column >= args.batch) continue;",
        "if (column + 1 >= args.batch) continue;", PRODUCTS),
    "kernel: chains of floats begin at the total": row(
        "products.h", "float acc[kPlainColumns] = {};",
        "float acc[kPlainColumns] = {};\n    acc[0] = part < 1 ? total : 0.0f;", LONG),
    "kernel: rows 8 apart are swapped": row(
        "weights.h", "a[2] = load<std::uint32_t>(at + 256);\n    a[3] = load<std::uint32_t>(at + 288);",
        "a[3] = load<std::uint32_t>(at + 256);\n    a[2] = load<std::uint32_t>(at + 288);",
        PRODUCTS),
    "kernel: the fifth bit of the other half": row(
        "weights.h", "*high |= (bits >> (p + 4) &", "*high |= (bits >> p &", PRODUCTS),
    "kernel: ties go to the higher id": row(
        "best.h", "(b.value == a.value && b.id < a.id)", "(b.value == a.value && b.id > a.id)",
        BEST),
    "kernel: the last warp's best is left out": row(
        "best.h", "i < static_cast<int>(blockDim.x / kWarp); ++i)",
        "i < static_cast<int>(blockDim.x / kWarp) - 1; ++i)", BEST),
}
