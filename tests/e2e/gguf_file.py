"""A GGUF file taken apart: where its fields lie, the same model in several files, and changed.

Source: the GGUF specification; the parts are what llama.cpp's gguf-split writes.
"""
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
LETTERS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q",
           I64: "q", F64: "d"}
BYTES = {U8: 1, I8: 1, U16: 2, I16: 2, U32: 4, I32: 4, F32: 4, BOOL: 1, U64: 8, I64: 8, F64: 8}


def text(value):
    data = value.encode(errors="surrogateescape")
    return struct.pack("<Q", len(data)) + data


class Reader:
    """Reads the numbers and texts of a file in turn, from behind its magic and version."""

    def __init__(self, content):
        self.content, self.at = content, 8

    def number(self, kind):
        value, = struct.unpack_from("<" + kind, self.content, self.at)
        self.at += struct.calcsize("<" + kind)
        return value

    def text(self):
        length = self.number("Q")
        self.at += length
        return self.content[self.at - length:self.at].decode(errors="surrogateescape")


class GgufFile(Reader):
    """`entries`: [(key, begin, end)]; `tensors`: [(name, raw shape and type, offset field, offset,
    bytes)]; offsets count from `data`, the rest from the file's begin."""

    def __init__(self, content):
        super().__init__(content)
        tensors, entries = self.number("Q"), self.number("Q")
        self.entries, self.tensors, self.alignment = [], [], 32
        for _ in range(entries):
            begin, key = self.at, self.text()
            self.skip(self.number("I"))
            self.entries.append((key, begin, self.at))
        self.table = self.at
        for _ in range(tensors):
            name, begin = self.text(), self.at
            dimensions = self.number("I")
            self.at += 8 * dimensions + 4
            self.tensors.append([name, content[begin:self.at], self.at, self.number("Q")])
        self.table_end = self.at
        self.data = -(-self.at // self.alignment) * self.alignment
        ends = sorted(tensor[3] for tensor in self.tensors[1:])
        ends.append(len(content) - self.data)
        assert [tensor[3] for tensor in self.tensors[1:]] == ends[:-1], "tensors in their order"
        for tensor, end in zip(self.tensors, ends):
            tensor.append(content[self.data + tensor[3]:self.data + end])

    def skip(self, kind):
        if kind == STRING:
            self.text()
        elif kind == ARRAY:
            inner, count = self.number("I"), self.number("Q")
            if inner == STRING:
                for _ in range(count):
                    self.text()
            else:
                self.at += BYTES[inner] * count
        else:
            self.at += BYTES[kind]

    def part(self, number, count):
        """The bytes of part `number` (from 0) of `count`, and its tensors' number."""
        share = self.tensors[len(self.tensors) * number // count:
                             len(self.tensors) * (number + 1) // count]
        entries = b"".join(self.content[begin:end] for _, begin, end in self.entries)
        known = len(self.entries)
        if number > 0:
            entries, known = b"", 0
        for key, kind, letter, value in (("split.no", U16, "H", number),
                                         ("split.count", U16, "H", count),
                                         ("split.tensors.count", I32, "i", len(self.tensors))):
            entries += text(key) + struct.pack("<I" + letter, kind, value)
        out = b"GGUF" + struct.pack("<IQQ", 3, len(share), known + 3) + entries
        at = 0
        for name, shape, _, _, content in share:
            out += text(name) + shape + struct.pack("<Q", at)
            at += -(-len(content) // self.alignment) * self.alignment
        out += bytes(-len(out) % self.alignment)
        for *_, content in share:
            out += content + bytes(-len(content) % self.alignment)
        return out


class EditableGguf(Reader):
    """A GGUF file as key-values (`keys`: key -> [type, value]) and `tensors` (name -> [shape, type,
    bytes]), which can be changed and written again."""

    def __init__(self, content):
        super().__init__(content)
        count, entries = self.number("Q"), self.number("Q")
        self.keys = {}
        for _ in range(entries):
            key, kind = self.text(), self.number("I")
            self.keys[key] = [kind, self.value(kind)]
        found = []
        for _ in range(count):
            name = self.text()
            shape = [self.number("Q") for _ in range(self.number("I"))]
            found.append((name, shape, self.number("I"), self.number("Q")))
        data = -(-self.at // 32) * 32
        ends = [*(one[3] for one in found[1:]), len(content) - data]
        self.tensors = {name: [shape, kind, content[data + at:data + end]]
                        for (name, shape, kind, at), end in zip(found, ends)}

    def value(self, kind):
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            return self.number(LETTERS[kind])
        inner, count = self.number("I"), self.number("Q")
        return [inner, [self.value(inner) for _ in range(count)]]

    def written(self, version=3):
        def scalar(kind, value):
            if kind == STRING:
                return text(value)
            if kind == ARRAY:
                return struct.pack("<IQ", value[0], len(value[1])) + b"".join(
                    scalar(value[0], one) for one in value[1])
            return struct.pack("<" + LETTERS[kind], value)

        out = b"GGUF" + struct.pack("<IQQ", version, len(self.tensors), len(self.keys))
        for key, (kind, value) in self.keys.items():
            out += text(key) + struct.pack("<I", kind) + scalar(kind, value)
        at = 0
        for name, (shape, kind, content) in self.tensors.items():
            out += text(name) + struct.pack("<I", len(shape))
            out += b"".join(struct.pack("<Q", size) for size in shape)
            out += struct.pack("<IQ", kind, at)
            at += -(-len(content) // 32) * 32
        out += bytes(-len(out) % 32)
        return out + b"".join(content + bytes(-len(content) % 32)
                              for _, _, content in self.tensors.values())


def write_parts(source, folder, count):
    """Writes a GGUF file in `count` parts into `folder`; their paths."""
    file = GgufFile(source.read_bytes())
    paths = []
    for number in range(count):
        path = folder / f"{source.stem}-{number + 1:05}-of-{count:05}.gguf"
        path.write_bytes(file.part(number, count))
        paths.append(path)
    return paths
