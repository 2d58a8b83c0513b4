#!/usr/bin/env python3
"""Measures training: Troupe's speed and memory over PyTorch's, alternating, in one run.

usage: ratio_train.py TROUPE PYTHON MODEL.gguf [--kind full|lora|both] [--rounds 3] [--threads 2]
       ratio_train.py TROUPE PYTHON MINILM_FOLDER --kind classify

PYTHON is an interpreter that can import torch, transformers, gguf and, for lora, peft. `full` and
`lora` are steps of 4 x 256 tokens, `classify` is an epoch of tests/data/debian_sections. Prints a JSON
object: medians of the ratios of tokens a second (of the best step), the smallest and the largest, and
the peak of each program's own memory (RssAnon).
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEER = ROOT / "tools/bench/peer_torch.py"
SECTIONS = ROOT / "tests/data/debian_sections/train.jsonl"
TEXT_TIMES = 8
STEPS = 4


def peak_of(process, peak):
    """Watches a process's anonymous memory, in KiB, until it ends."""
    while process.poll() is None:
        try:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("RssAnon:"):
                peak[0] = max(peak[0], int(line.split()[1]))
        time.sleep(0.02)


def run(words):
    """Runs a program; returns its stdout, as JSON lines, and its peak of memory in MB."""
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    peak = [0]
    watch = threading.Thread(target=peak_of, args=(process, peak))
    watch.start()
    out, err = process.communicate()
    watch.join()
    if process.returncode:
        raise SystemExit(f"{words[0]}: {err[-2000:]}")
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")], peak[0] / 1e3


def ours(options, kind, folder, more):
    out = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "out"
    words = [options.troupe, "finetune", options.model, "--json", "--threads", options.threads,
             "--clip-norm", 0, "--order", "file", "-o", out]
    if kind == "classify":
        words += ["--task", "classify", "--data", SECTIONS, "--batch-size", 32, "--drop-last",
                  "--max-length", 64, "--lr", 1e-4, "--decay-all"]
    else:
        words += ["--task", "lm", "--data", folder / "text.txt", "--batch-size", 4, "--max-length", 256,
                  "--max-steps", 1 + STEPS, "--lr", 1e-5]
    if kind == "lora":
        words += ["--lora-rank", 8, "--lora-targets", "q,v"]
    lines, peak = run(words + more)
    steps = [line for line in lines if "step" in line and "tokens_per_s" in line]
    if kind == "classify":
        seconds = sum(line["tokens"] / line["tokens_per_s"] for line in steps)
        return sum(line["tokens"] for line in steps) / seconds, peak
    return max(line["tokens_per_s"] for line in steps[1:]), peak


def peers(options, kind, more):
    words = [options.python, PEER, "classify" if kind == "classify" else "lm", options.model]
    if kind == "classify":
        words += [SECTIONS]
    elif kind == "lora":
        words += ["--lora-rank", 8]
    lines, peak = run(words + ["--threads", options.threads] + more)
    return lines[-1], peak


def compare(options, kind, folder, more):
    ratios, seen, memory, name = [], [], [], ""
    for i in range(options.rounds):
        if i % 2 == 0:
            mine, my_peak = ours(options, kind, folder, more)
        peer, peer_peak = peers(options, kind, more)
        if i % 2:
            mine, my_peak = ours(options, kind, folder, more)
        name = f"{peer['peer']} ({peer['cpu']})"
        ratios.append(mine / peer["tokens_per_s"])
        seen.append((mine, peer["tokens_per_s"]))
        memory.append((my_peak, peer_peak))
    middle = [statistics.median(column) for column in zip(*seen)]
    peaks = [max(column) for column in zip(*memory)]
    print(json.dumps({
        "kind": kind + "".join(" " + word for word in more), "peer": name, "threads": options.threads,
        "tokens_per_s": round(middle[0], 1), "peer_tokens_per_s": round(middle[1], 1),
        "ratio": round(statistics.median(ratios), 3), "smallest": round(min(ratios), 3),
        "largest": round(max(ratios), 3), "peak_mb": round(peaks[0]), "peer_peak_mb": round(peaks[1]),
        "peak_ratio": round(peaks[0] / peaks[1], 3)}), flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("troupe")
    parser.add_argument("python")
    parser.add_argument("model")
    parser.add_argument("--kind", choices=("full", "lora", "both", "classify"), default="both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "text.txt").write_text((ROOT / "LICENSE").read_text() * TEXT_TIMES)
        if options.kind == "classify":
            compare(options, "classify", folder, [])
        if options.kind in ("full", "both"):
            compare(options, "full", folder, [])
            compare(options, "full", folder, ["--checkpointing"])
        if options.kind in ("lora", "both"):
            compare(options, "lora", folder, [])


if __name__ == "__main__":
    main()
