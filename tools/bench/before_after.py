#!/usr/bin/env python3
"""Compares the speed of two builds of Troupe: they alternate in one run, and the medians of the ratios are printed.

usage: before_after.py OLD NEW MODEL.gguf... [--rounds 11] [--threads 2] [--prompt 512] [--decode 64]

OLD and NEW are two programs `troupe`. For each model it prints new over old for the prompt and for
decoding, with the smallest and the largest ratio, and the best run of NEW over the best of OLD, which other
work on the machine affects less. On a machine with other work run it under `chrt -r 20`. """
import argparse
import json
import os
import statistics
import subprocess


def bench(troupe, model, options):
    done = subprocess.run(
        [troupe, "bench", model, "--json", "--repeats", "2", "--threads", str(options.threads),
         "--prompt", str(options.prompt), "--decode", str(options.decode)],
        capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return answer["prompt_tok_s_median"], answer["decode_tok_s_median"]


def summary(name, pairs):
    ratios = [new / old for old, new in pairs]
    best = max(new for _, new in pairs) / max(old for old, _ in pairs)
    return (f"{name} {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), "
            f"best over best {best:.3f}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("models", nargs="+")
    for name, value in (("rounds", 11), ("threads", 2), ("prompt", 512), ("decode", 64)):
        parser.add_argument("--" + name, type=int, default=value)
    options = parser.parse_args()
    for model in options.models:
        prompt, decode = [], []
        for i in range(options.rounds):
            order = (options.old, options.new) if i % 2 == 0 else (options.new, options.old)
            seen = {troupe: bench(troupe, model, options) for troupe in order}
            old, new = seen[options.old], seen[options.new]
            prompt.append((old[0], new[0]))
            decode.append((old[1], new[1]))
        print(f"{os.path.basename(model)}: {summary('prompt', prompt)}; {summary('decode', decode)}",
              flush=True)


if __name__ == "__main__":
    main()
