#!/usr/bin/env python3
"""Runs the fuzzers of a build for some seconds each, as many side by side as there are CPUs.

usage: run_fuzzers.py BUILD SECONDS [NAME...]     every one, or those named, e.g. gguf_fuzz

Each begins with the seeds made here and the files in tests/fuzz/corpus/NAME, which has the inputs of findings
that were fixed. A finding is an exit status of 1; its input and its log lie in BUILD/findings. """
import concurrent.futures
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import fuzz_seeds

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "tests/data/templates"


SEEDS = {
    "frame_fuzz": [b"TRP1\x01\0\x05\0" + bytes(72), struct.pack("<I", 3) + b"abc" + bytes(40)],
    "text_fuzz": [b"127.0.0.1:7700", b"[::1]:7700", b"0-9,10-19", b"trp-" + b"0" * 96],
    "chat_template_fuzz": [path.read_bytes() for path in sorted(TEMPLATES.glob("*.jinja"))],
    **{name: seeds() for name, seeds in fuzz_seeds.SEEDS.items()},
}


def seed_files(name, folder):
    for i, seed in enumerate(SEEDS.get(name, [])):
        (folder / f"seed-{i}").write_bytes(seed)
    for path in (ROOT / "tests/fuzz/corpus" / name).glob("*"):
        shutil.copy(path, folder / f"corpus-{path.name}")


def run(fuzzer, seconds, findings):
    """Runs a fuzzer; returns the lines to show to a person, and whether all was well."""
    log = findings / f"{fuzzer.name}.log"
    started = time.time() - 1
    with tempfile.TemporaryDirectory() as folder, open(log, "wb") as out:
        corpus = pathlib.Path(folder)
        seed_files(fuzzer.name, corpus)
        began = len(list(corpus.iterdir()))
        command = [fuzzer, f"-max_total_time={seconds}", "-rss_limit_mb=1024", "-timeout=10",
                   "-max_len=131072", "-print_final_stats=1",
                   f"-artifact_prefix={findings / fuzzer.name}-", corpus]
        try:
            # A fuzzer limits its own time; this limit is for one that hangs.
            status = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False,
                                    timeout=seconds + 120).returncode
        except subprocess.TimeoutExpired:
            status = "none: it did not end"
        grown = len(list(corpus.iterdir()))
    lines = log.read_text(errors="replace").splitlines()
    if status == 0:
        executed = [line.split()[-1] for line in lines if "number_of_executed_units" in line]
        if executed:
            return f"{executed[0]} inputs, {began} seeds, {grown - began} new paths", True
    inputs = sorted(path for path in findings.glob(f"{fuzzer.name}-*")
                    if path.stat().st_mtime >= started)
    why = [i for i, line in enumerate(lines) if "ERROR: " in line or "runtime error: " in line]
    told = [f"exit status {status} (its whole output: {log})"]
    told += ["   | " + line for line in lines[why[0] if why else -12:][:12]]
    told += [f"   run it again: {fuzzer} {path}" for path in inputs]
    if inputs:
        told += [f"       once it is fixed: install -D  {inputs[0]} -t tests/fuzz/corpus/{fuzzer.name}/"]
    return "\n".join(told), False


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: run_fuzzers.py BUILD SECONDS [NAME...]")
    build, seconds, names = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    fuzzers = sorted(path.resolve() for path in build.glob("*_fuzz") if path.is_file())
    missing = sorted(set(names) - {fuzzer.name for fuzzer in fuzzers})
    if missing or not fuzzers:
        sys.exit(f"there is no {missing[0] if missing else 'fuzzer'} in {build}; build the target "
                 "troupe_fuzzers first")
    if names:
        fuzzers = [fuzzer for fuzzer in fuzzers if fuzzer.name in names]
    findings = build.resolve() / "findings"
    findings.mkdir(exist_ok=True)
    failed = []
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        running = [(fuzzer.name, pool.submit(run, fuzzer, seconds, findings))
                   for fuzzer in fuzzers]
        for name, future in running:
            told, well = future.result()
            print(f"== {name} for {seconds} s: {told}", flush=True)
            if not well:
                failed.append(name)
    print(f"{len(fuzzers)} fuzzers, findings of: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
