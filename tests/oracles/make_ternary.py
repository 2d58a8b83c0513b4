"""Makes tests/data/golden/ternary.safetensors: values, and their blocks of TQ1_0 and TQ2_0 by the Python
package `gguf` 0.19.0.

    python3 tests/oracles/make_ternary.py
"""
import json
import pathlib
import struct

from gguf import GGMLQuantizationType, quants
import numpy as np

GOLDEN = pathlib.Path(__file__).parent.parent / "data" / "golden"
random = np.random.default_rng(3)
values = random.normal(size=(12, 256)).astype(np.float32)
values[1] = 0
values[2] = random.integers(-1, 2, 256) * np.float32(0.03)  # weights that are ternary
values[3] = random.integers(-4, 5, 256) / np.float32(4)     # halves of the scale are ties
values[4] *= np.float32(1e-9)                                # the scale becomes 0 in f16
values[5] *= np.float32(1e-5)
values[6] *= np.float32(1e4)
values[7, 10] = -9                                           # the scale follows from this value alone
for i in range(8, 12):  # a hair above and below ties
    scale = np.abs(values[i]).max()
    values[i] = np.clip(scale / 2 * (1 + random.integers(-3, 4, 256) * np.float32(6e-8)), 0, scale)
    values[i, 0] = scale

header, body = {}, b""
parts = {"input": ("F32", values.tobytes())}
for name in ("TQ1_0", "TQ2_0"):
    parts[name] = ("U8", quants.quantize(values, GGMLQuantizationType[name]).tobytes())
for name, (kind, content) in parts.items():
    size = len(content) // (4 if kind == "F32" else 1)
    header[name] = {"dtype": kind, "shape": [size],
                    "data_offsets": [len(body), len(body) + len(content)]}
    body += content
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
(GOLDEN / "ternary.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
