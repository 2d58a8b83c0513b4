#!/usr/bin/env python3
"""Measures Troupe's speed over llama.cpp's: they alternate, with two threads, and the median of the rounds' ratios is printed.

usage: ratio.py TROUPE PEER_PYTHON MODEL.gguf... [--rounds 3] [--batch 16] [--prompt 512] [--decode 64]

PEER_PYTHON is the interpreter that holds llama-cpp-python (peer_llamacpp.py says how), built for the
instruction set that TROUPE_ISA names. On a machine with other work run all of it under `chrt -r 1`.
"""
import argparse
import json
import pathlib
import statistics
import subprocess


def measure(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def ratio(pairs):
    ours, theirs = (statistics.median(values) for values in zip(*pairs))
    return f"{statistics.median(a / b for a, b in pairs):.2f} ({ours:.0f} / {theirs:.0f})"


def add_pairs(pairs, ours, theirs):
    """Returns the figures of both for the same quantity, by its name."""
    for name in ("prompt", "decode"):
        key = name + "_tok_s_median"
        pairs.setdefault(name, []).append((ours[key], theirs[key]))
    for a, b in zip(ours["batch"], theirs["batch"]):
        pairs.setdefault(f"{a['n']} sequences", []).append((a["decode_tok_s"], b["decode_tok_s"]))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("troupe")
    parser.add_argument("peer")
    parser.add_argument("models", nargs="+")
    for name, value in (("rounds", 3), ("prompt", 512), ("decode", 64)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--batch", default="")
    options = parser.parse_args()
    flags = ["--threads", "2", "--repeats", "2", "--prompt", str(options.prompt), "--decode",
             str(options.decode), *(["--batch", options.batch] if options.batch else [])]
    script = str(pathlib.Path(__file__).with_name("peer_llamacpp.py"))
    for model in options.models:
        pairs = {}
        for _ in range(options.rounds):
            ours = measure(options.troupe, "bench", model, *flags, "--json")
            theirs = measure(options.peer, script, "bench", model, *flags)
            add_pairs(pairs, ours, theirs)
        print(pathlib.Path(model).name, ours["isa"],
              ", ".join(f"{name} {ratio(values)}" for name, values in pairs.items()), flush=True)


if __name__ == "__main__":
    main()
