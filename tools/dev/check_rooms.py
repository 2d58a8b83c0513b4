#!/usr/bin/env python3
"""Checks the direction of includes, the rooms of libraries, and the sizes of files.

runtime <- model <- actors <- tools, examples: no include goes up. Each outside library is spoken
to in one place. Every include of ours reads <troupe/...>.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RANK = {"runtime": 0, "model": 1, "actors": 2, "tools": 3, "examples": 3, "tests": 4}
# A library's headers -> the places that may include them (path prefixes).
ROOMS = {
    r"caf/": ("actors/", "examples/custom_actor", "examples/parallel_loss",
              "tests/actors/"),
    r"zmq": ("runtime/net/zmq/", "tests/runtime/net/zmq/"),
    r"cereal/": ("runtime/wire/",),
    r"hwy/": ("runtime/kernels/", "runtime/quant/"),
    r"(immintrin|emmintrin|x86intrin|arm_neon)\.h": (
        "runtime/kernels/", "runtime/quant/", "tools/bench/"),
    r"cuda": ("runtime/cuda/",),
    r"boost/": ("actors/http/",),
    r"sqlite3\.h": ("actors/journal/",),
    r"sodium": ("runtime/", "tests/"),
    r"openssl/": ("runtime/sha256",),
    r"pcre2\.h": ("model/",),
    r"utf8proc\.h": ("model/",),
    r"(CLI|spdlog|curl|toml\+\+)/": ("tools/troupe/",),
}
# Whatever a header of the facade includes, it must not drag these in.
FACADE = "actors/troupe.h"
FACADE_FREE_OF = re.compile(r"(caf|zmq|cereal|hwy|cuda|boost|nlohmann)")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
LINES_MAX = 500
# A longer file says why in a comment that begins like this.
LONG_BECAUSE = "// Longer than 500 lines: "


def sources():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *RANK],
                            cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in listed.splitlines():
        path = ROOT / line
        if path.suffix in (".h", ".cpp", ".cu") and path.exists():
            yield line, path.read_text(errors="replace")


def is_repeated(name):
    """Highway's way: a file that is included once for every target, with guards of its own."""
    return name.endswith(("-inl.h", "/foreach_target.h"))


def room_complaint(name, header):
    for pattern, places in ROOMS.items():
        if re.match(pattern, header) and not name.startswith(places):
            return f"includes <{header}>, which only {', '.join(places)} may"
    return None


def complaints_of(name, text):
    room = name.split("/")[0]
    if name.endswith(".h") and "#pragma once" not in text and not is_repeated(name):
        yield "has no #pragma once"
    if name.endswith(".h") and re.search(r"^\s*using namespace", text, re.M):
        yield "says `using namespace` in a header"
    lines = text.count("\n")
    if lines > LINES_MAX and LONG_BECAUSE not in text and room != "tests":
        yield f"has {lines} lines, more than {LINES_MAX}: split it"
    for i, line in enumerate(text.splitlines(), 1):
        if len(line) > 100:
            yield f"line {i} has {len(line)} columns, more than 100"
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            yield f"line {i} leaves something to do: a known limit goes into ARCHITECTURE.md"
    for quote, header in INCLUDE.findall(text):
        if quote == '"' and room != "tests":
            yield f'includes "{header}": write <troupe/...>'
        complaint = room_complaint(name, header)
        if complaint:
            yield complaint
        if header.startswith("troupe/"):
            target = header[len("troupe/"):]
            other = target.split("/")[0]
            if other not in RANK:
                yield f"includes <{header}>, which is no room"
            elif RANK[other] > RANK[room]:
                yield f"includes <{header}>: {room} is below {other}"
            elif not (ROOT / target).exists():
                yield f"includes <{header}>, which does not exist"


def facade_complaints(texts):
    seen, todo = set(), [FACADE]
    while todo:
        name = todo.pop()
        if name in seen or name not in texts:
            continue
        seen.add(name)
        for _, header in INCLUDE.findall(texts[name]):
            if FACADE_FREE_OF.match(header):
                yield f"{FACADE}: drags in <{header}> by {name}"
            if header.startswith("troupe/"):
                todo.append(header[len("troupe/"):])


def main():
    texts = dict(sources())
    found = [f"{name}: {complaint}" for name, text in sorted(texts.items())
             for complaint in complaints_of(name, text)]
    found += facade_complaints(texts)
    if not texts:
        found = ["no source was found: is this the whole tree?"]
    for line in found:
        print(line)
    print(f"{len(texts)} files, {len(found)} complaints")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
