"""Makes tests/data/golden/file_formats.safetensors: blocks of the formats in SCALES, and their values by
the Python package `gguf` 0.19.0.

    python3 tests/oracles/make_file_formats.py
"""
import json
import pathlib
import struct

import gguf
import numpy as np
from gguf import GGMLQuantizationType, quants

GOLDEN = pathlib.Path(__file__).parent.parent / "data" / "golden"
# Where the f16 scales of a block lie, and how large they are.
SCALES = {"Q2_K": [(80, .01), (82, .01)], "Q3_K": [(108, .01)], "IQ4_NL": [(0, .01)],
          "IQ4_XS": [(0, .01)], "TQ1_0": [(52, .05)], "TQ2_0": [(64, .05)], "MXFP4": [],
          "IQ1_S": [(0, .05)], "IQ1_M": [], "IQ2_XXS": [(0, .01)], "IQ2_XS": [(0, .01)],
          "IQ2_S": [(0, .01)], "IQ3_XXS": [(0, .01)], "IQ3_S": [(0, .01)]}
random = np.random.default_rng(7)


def packed_digits(digits):
    """Five digits in base 3 as TQ1_0 has them in a byte; missing ones are 0."""
    value = 0
    for digit in [*digits, 0, 0, 0, 0, 0][:5]:
        value = value * 3 + int(digit)
    return (value * 256 + 242) // 243


def ternary(raw):
    for block in raw:
        digits = random.integers(0, 3, 256)
        for i in range(32):
            block[i] = packed_digits(digits[i:160:32])
        for i in range(16):
            block[32 + i] = packed_digits(digits[160 + i:240:16])
        for i in range(4):
            block[48 + i] = packed_digits(digits[240 + i::4])


def iq1_m_scales(raw):
    """The scale of IQ1_M, whose 16 bits lie on top of four words."""
    bits = (random.uniform(0.2, 1, len(raw)) * .05).astype(np.float16).view(np.uint16)
    for i in range(4):
        high = (bits >> (4 * i) & 15).astype(np.uint8)
        raw[:, 49 + 2 * i] = raw[:, 49 + 2 * i] & 15 | high << 4


def blocks_of(name):
    elements, size = gguf.GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    count = 4096 // elements // (2 if elements == 32 or name[:3] in ("IQ1", "IQ2", "IQ3") else 1)
    raw = random.integers(0, 256, (count, size), dtype=np.uint8)
    if name == "TQ1_0":
        ternary(raw)
    if name == "IQ1_M":
        iq1_m_scales(raw)
    if name == "MXFP4":
        raw[:, 0] = random.integers(112, 130, count)
    for at, scale in SCALES[name]:
        values = (random.uniform(0.2, 1, count) * scale).astype(np.float16)
        raw[:, at:at + 2] = values.view(np.uint8).reshape(count, 2)
    return raw.reshape(-1)


header, body = {}, b""
for chosen in SCALES:
    blocks = blocks_of(chosen)
    values = quants.dequantize(blocks.reshape(1, -1), GGMLQuantizationType[chosen])
    for part, kind, array in (("bytes", "U8", blocks), ("f32", "F32", values.astype(np.float32))):
        content = array.tobytes()
        header[f"{chosen}.{part}"] = {"dtype": kind, "shape": [array.size],
                                      "data_offsets": [len(body), len(body) + len(content)]}
        body += content
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
(GOLDEN / "file_formats.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
