#!/usr/bin/env python3
"""Checks the rooms, the direction of includes, and the sizes of files and functions.

A room is a folder of ORDER. A file may include files of its own room and of rooms that stand before
it, so that no circle of rooms is possible. No header/source pairs include each other in a circle, whether
inside a room or across rooms. Each outside library is used in one place. Every include of our own headers
reads <troupe/...>. Long files and functions have a reason beside them. """
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOP = ("runtime", "model", "actors", "tools", "examples", "tests")
# Every room, from the ground up. An entry without a slash at its end is a single header/source pair
# that stands above or below the rest of its folder.
ORDER = (
    "runtime/", "runtime/text/", "runtime/sha256", "runtime/machine/", "runtime/numerics/",
    "runtime/quant/",
    "runtime/kernels/", "runtime/kernels/vector/", "runtime/accelerator",
    "runtime/cuda/compiled", "runtime/cuda/emulated", "runtime/cuda/gpu",
    "runtime/cuda/kernels/", "runtime/cuda/", "runtime/device/", "runtime/wire/",
    "runtime/net/", "runtime/net/sim/", "runtime/net/zmq/",
    "model/config/", "model/text/", "model/files/", "model/families/", "model/source/",
    "model/tokenizer/", "model/jinja/", "model/chat/", "model/sampling/", "model/planning/",
    "model/store/", "model/transformer/", "model/local/", "model/training/",
    "model/convert/",
    # The public door: plain values and the declarations of Cluster and Daemon, which facade/
    # defines; jobs/ takes its callers' functions as these values.
    "actors/troupe/", "actors/troupe",
    "actors/messages/", "actors/actors", "actors/link", "actors/message_handlers",
    "actors/journal/", "actors/cluster_state/",
    "actors/engine/", "actors/bulk/", "actors/jobs/", "actors/node/", "actors/coordinator/",
    "actors/facade/", "actors/attach",
    "actors/http/", "actors/http/endpoints/",
    "tools/troupe/terminal/", "tools/troupe/fetch/", "tools/troupe/", "tools/troupe/daemon/",
    "tools/troupe/views/", "tools/troupe/verbs/", "tools/troupe/main", "tools/bench/",
    "examples/", "tests/",
)
# For each library, its headers and the places that may include them (path prefixes).
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
# Names that only the sources for nvcc, and their tests, may use.
CUDA_PLACES = ("runtime/cuda/", "tests/runtime/cuda/")
CUDA_WORDS = re.compile(r"\bcuda[A-Z]\w*|\b__(global|device|shared|host|CUDACC\w*|CUDA_ARCH)__|"
                        r"\b(blockIdx|threadIdx|blockDim|gridDim|GPU_SHARED|TROUPE_CUDA_SIDE)\b|<<<")
# The facade's header must not include any of these, not even through another header.
FACADE = "actors/troupe.h"
FACADE_FREE_OF = re.compile(r"(caf|zmq|cereal|hwy|cuda|boost|nlohmann)")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
LINES_MAX = 500
# A longer file says why in a comment that begins like this.
LONG_BECAUSE = "// Longer than 500 lines: "
FUNCTION_LINES_MAX = 70
# A longer function says why in a comment just above it or inside it.
LONG_FUNCTION_BECAUSE = "// Longer than 70 lines: "
# Folders whose files are compiled one by one.
COMPILED_ALONE = ("tests/", "examples/", "tools/bench/", "model/families/", "runtime/cuda/")
SHARED_NAME = re.compile(r"(?:inline )?(?:constexpr|const|thread_local)\b[^=({;]*?\b(k[A-Z]\w*)\b|"
                         r"(?:struct|class|enum class) (\w+)\b[^;]*\{")


def sources():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *TOP],
                            cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in listed.splitlines():
        path = ROOT / line
        if path.suffix in (".h", ".cpp", ".cu") and path.exists():
            yield line, path.read_text(errors="replace")


def room_of(name):
    """Returns the entry of ORDER to which a file belongs: its pair if that is named, otherwise its folder."""
    pair = name.rsplit(".", 1)[0]
    fitting = [room for room in ORDER
               if (name.startswith(room) if room.endswith("/") else pair == room)]
    return max(fitting, key=len, default=None)


def is_repeated(name):
    """Returns True if Highway includes this file once for every target, with guards of its own."""
    return name.endswith(("-inl.h", "/foreach_target.h"))


def room_complaint(name, header):
    for pattern, places in ROOMS.items():
        if re.match(pattern, header) and not name.startswith(places):
            return f"includes <{header}>, which only {', '.join(places)} may"
    return None


def include_complaints(name, header):
    target = header[len("troupe/"):]
    here, there = room_of(name), room_of(target)
    if not (ROOT / target).exists():
        yield f"includes <{header}>, which does not exist"
    elif there is None:
        yield f"includes <{header}>, which is in no room"
    elif here is not None and ORDER.index(there) > ORDER.index(here):
        yield f"includes <{header}>: {here} is below {there}"


def pair_of(name):
    """Returns what a header and its source share: their path without the ending."""
    return re.sub(r"(-inl)?\.(h|cpp|cu)$", "", name)


def circle_complaints(texts):
    """Returns the circles between header/source pairs, each once, as the list of its pairs."""
    arrows = {}
    for name, text in texts.items():
        if name.startswith("tests/"):
            continue
        for _, header in INCLUDE.findall(text):
            target = header[len("troupe/"):] if header.startswith("troupe/") else None
            if target in texts and pair_of(target) != pair_of(name):
                arrows.setdefault(pair_of(name), set()).add(pair_of(target))
    done, path = set(), []

    def visit(pair):
        if pair in path:
            yield " -> ".join(path[path.index(pair):] + [pair]) + ": a circle of pairs"
            return
        if pair in done:
            return
        path.append(pair)
        for other in sorted(arrows.get(pair, ())):
            yield from visit(other)
        path.pop()
        done.add(pair)

    for pair in sorted(arrows):
        yield from visit(pair)


def complaints_of(name, text):
    room = name.split("/")[0]
    if name.endswith(".h") and "#pragma once" not in text and not is_repeated(name):
        yield "has no #pragma once"
    if name.endswith(".h") and re.search(r"^\s*using namespace", text, re.M):
        yield "says `using namespace` in a header"
    if room_of(name) is None:
        yield "is in no room: name its folder in ORDER"
    lines = text.count("\n")
    if lines > LINES_MAX and LONG_BECAUSE not in text and room != "tests":
        yield f"has {lines} lines, more than {LINES_MAX}: split it"
    if room != "tests":
        yield from function_complaints(text)
    for i, line in enumerate(text.splitlines(), 1):
        if len(line) > 100:
            yield f"line {i} has {len(line)} columns, more than 100"
        word = None if name.startswith(CUDA_PLACES) else CUDA_WORDS.search(line)
        if word:
            yield f"line {i} says {word[0]}, which only {' and '.join(CUDA_PLACES)} may"
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            yield f"line {i} leaves work undone: a known limit goes into ARCHITECTURE.md"
    for quote, header in INCLUDE.findall(text):
        if quote == '"' and room != "tests":
            yield f'includes "{header}": write <troupe/...>'
        complaint = room_complaint(name, header)
        if complaint:
            yield complaint
        if header.startswith("troupe/"):
            yield from include_complaints(name, header)


def functions_of(lines):
    """Yields the line numbers (first, last), from 0, of every function at namespace or class scope.

    Relies on the format that check_format.py enforces: the body is indented deeper than the first
    line of the signature and the closing brace.
    """
    for last, line in enumerate(lines):
        if line not in ("}", "  }"):
            continue
        indent = len(line) - 1
        first = last - 1
        while first > 0 and (not lines[first].strip() or lines[first].startswith("#") or
                             len(lines[first]) - len(lines[first].lstrip()) > indent):
            first -= 1
        opening = lines[first]
        if re.search(r"\b(namespace|struct|class|enum|union|extern)\b[^()]*$", opening):
            continue
        if len(opening) - len(opening.lstrip()) == indent and "(" in opening:
            yield first, last


def function_complaints(text):
    lines = text.splitlines()
    for first, last in functions_of(lines):
        count = last - first + 1
        if count <= FUNCTION_LINES_MAX:
            continue
        above = first
        while above > 0 and lines[above - 1].lstrip().startswith("//"):
            above -= 1
        if not any(LONG_FUNCTION_BECAUSE in line for line in lines[above:last]):
            yield (f"line {first + 1}: a function of {count} lines, more than "
                   f"{FUNCTION_LINES_MAX}: split it")


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


def name_complaints(texts):
    """Finds constants and types of an anonymous namespace whose names another file of the folder has, too, or
    one of its headers declares: the folder's files are compiled together (troupe_compile_together in
    tools/cmake/TroupeBuild.cmake)."""
    seen = {}
    for name, text in sorted(texts.items(), key=lambda one: (not one[0].endswith(".h"), one[0])):
        folder, is_header = name.rsplit("/", 1)[0] + "/", name.endswith(".h")
        if not name.endswith((".h", ".cpp")) or folder.startswith(COMPILED_ALONE):
            continue
        anonymous = False
        for line in text.splitlines():
            if line in ("namespace {", "}  // namespace"):
                anonymous = line == "namespace {"
            found = SHARED_NAME.match(line) if anonymous or is_header else None
            if found is None:
                continue
            item = found.group(1) or found.group(2)
            other = seen.setdefault((folder, item), name)
            if other != name and not is_header:
                yield f"{name}: {item} is also a name in {other}, and they may be compiled together"


def main():
    texts = dict(sources())
    found = [f"{name}: {complaint}" for name, text in sorted(texts.items())
             for complaint in complaints_of(name, text)]
    found += facade_complaints(texts)
    found += circle_complaints(texts)
    found += name_complaints(texts)
    if not texts:
        found = ["no source was found: is this the whole tree?"]
    for line in found:
        print(line)
    print(f"{len(texts)} files, {len(found)} complaints")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
