#!/usr/bin/env python3
"""Runs every fuzzer of a build for some seconds each, from seeds made here.

usage: run_fuzzers.py BUILD SECONDS     a finding is an exit status of 1, its input lies in BUILD
"""
import pathlib
import struct
import subprocess
import sys
import tempfile

import fuzz_seeds

TEMPLATES = pathlib.Path(__file__).resolve().parents[2] / "tests/data/templates"


SEEDS = {
    "frame_fuzz": [b"TRP1\x01\0\x05\0" + bytes(72), struct.pack("<I", 3) + b"abc" + bytes(40)],
    "text_fuzz": [b"127.0.0.1:7700", b"[::1]:7700", b"0-9,10-19", b"trp-" + b"0" * 96],
    "chat_template_fuzz": [path.read_bytes() for path in sorted(TEMPLATES.glob("*.jinja"))],
    **{name: seeds() for name, seeds in fuzz_seeds.SEEDS.items()},
}


def run(fuzzer, seconds):
    with tempfile.TemporaryDirectory() as folder:
        for i, seed in enumerate(SEEDS.get(fuzzer.name, [b""])):
            (pathlib.Path(folder) / f"seed-{i}").write_bytes(seed)
        return subprocess.run(
            [fuzzer.resolve(), f"-max_total_time={seconds}", "-rss_limit_mb=1024", "-timeout=10",
             "-max_len=131072", "-print_final_stats=1",
             f"-artifact_prefix={fuzzer.resolve()}-finding-", folder], check=False).returncode


def main():
    build, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    fuzzers = sorted(path for path in build.glob("*_fuzz") if path.is_file())
    if not fuzzers:
        sys.exit(f"there is no fuzzer in {build}")
    failed = []
    for fuzzer in fuzzers:
        print(f"== {fuzzer.name} for {seconds} s", flush=True)
        if run(fuzzer, seconds) != 0:
            failed.append(fuzzer.name)
    print(f"{len(fuzzers)} fuzzers, findings of: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
