#!/usr/bin/env python3
"""Compiles the GPU's kernels and checks, without a GPU, what their bits and speed depend on.

    tools/dev/check_cuda.py              for sm_90a
    tools/dev/check_cuda.py 80 86 100    for these architectures

In the PTX, each arithmetic operation on floats is on f32 and says that it rounds to nearest (.rn),
so ptxas may contract none with another. Nothing is approximated or flushed to zero, and there is no
atomic operation. (A minimum or maximum rounds nothing and is not checked.) For each kernel, ptxas
reports no spilled register and at most REGISTERS_MAX. Without nvcc of CUDA 13 it says so and
succeeds: the tests on the emulation run everywhere.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOM = ROOT / "runtime" / "cuda"
ARITHMETIC = re.compile(
    r"\s(add|sub|mul|fma|mad|div|sqrt|rcp|rsqrt|ex2|lg2|sin|cos|tanh)((?:\.\w+)*)"
    r"\.(f32|f64|f16|f16x2|bf16|bf16x2|tf32)\b")
REGISTERS_MAX = 168  # the 65,536 registers of a multiprocessor then serve 384 threads


def find_nvcc():
    toolkit = os.environ.get("CUDA_PATH", "/usr/local/cuda")
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=f"{toolkit}/bin")
    if nvcc is None:
        return None
    said = subprocess.run([nvcc, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.search(r"release (\d+)", said)
    return nvcc if found and int(found[1]) >= 13 else None


def ptx_complaints(text):
    for line in text.splitlines():
        line = line.split("//")[0]
        found = ARITHMETIC.search(" " + line)
        if found and (found[2] != ".rn" or found[3] != "f32"):
            yield f"not one rounding to nearest: {line.strip()}"
        if re.search(r"\b(atom|red)\.", line):
            yield f"an atomic operation: {line.strip()}"
        if re.search(r"\.(ftz|approx)\b", line):
            yield f"an approximation: {line.strip()}"


def ptxas_complaints(text):
    """Yields (complaint or None, registers) for each kernel, from what ptxas -v prints. A complaint about
    spills comes with 0 registers."""
    name = "?"
    for line in text.splitlines():
        entry = re.search(r"Compiling entry function '(\w+)'", line)
        if entry:
            name = entry[1]
        spilled = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill "
                            "loads", line)
        if spilled and (spilled[2], spilled[3]) != ("0", "0"):
            yield f"{name}: {line.strip()}", 0
        used = re.search(r"Used (\d+) registers", line)
        if used:
            count = int(used[1])
            yield (f"{name} uses {count} registers, more than {REGISTERS_MAX}"
                   if count > REGISTERS_MAX else None), count


def compile_for(nvcc, architecture, folder):
    """Returns the PTX and what ptxas said."""
    include = folder / "include"
    include.mkdir(exist_ok=True)
    if not (include / "troupe").exists():
        (include / "troupe").symlink_to(ROOT)
    kept = folder / architecture
    kept.mkdir()
    done = subprocess.run(
        [nvcc, "-optf", ROOM / "nvcc_flags", f"-I{include}", "--keep", f"--keep-dir={kept}",
         f"-gencode=arch=compute_{architecture},code=sm_{architecture}", "-Xptxas", "-v",
         "-cubin", ROOM / "cuda.cu", "-o", kept / "cuda.cubin"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"sm_{architecture}: nvcc fails:\n{done.stdout[-4000:]}")
    return (kept / "cuda.ptx").read_text(), done.stdout


def main():
    nvcc = find_nvcc()
    if nvcc is None:
        print("CUDA room: not compiled (no nvcc of CUDA 13 here); its kernels were tested on the "
              "emulation")
        return 0
    architectures = sys.argv[1:] or ["90a"]
    failures, most, seen = [], 0, []
    with tempfile.TemporaryDirectory() as folder:
        for architecture in architectures:
            ptx, said = compile_for(nvcc, architecture, pathlib.Path(folder))
            failures += [f"sm_{architecture}: {line}" for line in ptx_complaints(ptx)]
            found = list(ptxas_complaints(said))
            failures += [f"sm_{architecture}: {line}" for line, _ in found if line]
            most = max([most] + [count for _, count in found])
            kernels = sum(1 for _, count in found if count)
            operations = len(re.findall(ARITHMETIC, ptx))
            seen.append(f"sm_{architecture}: {kernels} kernels, {operations} operations on f32 in "
                        "the PTX")
            if kernels == 0 or operations == 0:
                failures.append(f"sm_{architecture}: nothing was found to check: have nvcc's words "
                                "changed?")
    for line in failures[:50]:
        print(line)
    print(f"CUDA room: compiled for {'; '.join(seen)}; at most {most} registers, "
          f"{len(failures)} complaints")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
