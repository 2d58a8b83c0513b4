"""Makes runtime/quant/iq_grids.cpp: the lattices of the formats IQ1, IQ2 and IQ3, from the Python
package `gguf` 0.19.0.

    python3 tests/oracles/make_iq_grids.py
"""
import pathlib

import numpy as np
from gguf import quants

OUT = pathlib.Path(__file__).parent.parent.parent / "runtime" / "quant" / "iq_grids.cpp"
HEAD = """#include <troupe/runtime/quant/iq_grids.h>

// Made by tests/oracles/make_iq_grids.py. Do not edit.

namespace troupe::quant {

// clang-format off
"""
PER_LINE = 12


def words(quant, bits):
    """The points of a lattice, each as one number of 16 bits: value i lies at bit bits * i."""
    quant.init_grid()
    points = quant.grid.reshape(quant.grid_shape)
    codes = np.searchsorted(np.array(quant.grid_map, dtype=np.float32), points)
    return (codes << (bits * np.arange(points.shape[1]))).sum(axis=1)


text = HEAD
for name, quant, bits in [("Iq2Xxs", quants.IQ2_XXS, 2), ("Iq2Xs", quants.IQ2_XS, 2),
                          ("Iq2S", quants.IQ2_S, 2), ("Iq3Xxs", quants.IQ3_XXS, 4),
                          ("Iq3S", quants.IQ3_S, 4), ("Iq1S", quants.IQ1_S, 2)]:
    numbers = [f"0x{word:04x}," for word in words(quant, bits)]
    text += f"const std::uint16_t k{name}Grid[{len(numbers)}] = {{\n"
    for at in range(0, len(numbers), PER_LINE):
        text += "    " + " ".join(numbers[at:at + PER_LINE]) + "\n"
    text += "};\n"
OUT.write_text(text + "// clang-format on\n\n}  // namespace troupe::quant\n")
