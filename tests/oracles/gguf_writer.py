"""Writes the metadata of a GGUF file without tensors. Source: the GGUF specification."""
import struct

UINT8, UINT32, FLOAT32, BOOL, STRING, ARRAY, INT32 = 0, 4, 6, 7, 8, 9, 5


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind, value):
    if kind == STRING:
        return text(value)
    return struct.pack({UINT8: "<B", UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}[kind], value)


def write(path, entries):
    """entries: {key: (kind, value)}; a list as the value is an array of that kind."""
    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries))
    for key, (kind, value) in entries.items():
        out += text(key)
        if isinstance(value, list):
            out += struct.pack("<IIQ", ARRAY, kind, len(value))
            out += b"".join(scalar(kind, one) for one in value)
        else:
            out += struct.pack("<I", kind) + scalar(kind, value)
    path.write_bytes(out + b"\0" * (-len(out) % 32))
