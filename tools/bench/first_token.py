#!/usr/bin/env python3
"""Measures how long `troupe run MODEL --raw -n 1` takes from the start of its process to its first token.

usage: first_token.py TROUPE MODEL [--runs 7] [--tokens 20] [--threads N]

The prompt has the given number of tokens. A first run, which does not count, brings the files into the page
cache. Prints one JSON object, times in seconds:
  {"model","prompt_tokens","threads","runs":[...],"median","least","most","cpu","files_cold"}
"cpu" is the user and system time of the median run up to its end, "files_cold" the time of that first run.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

TEXT = ("The capital of France is a large city on the river Seine, known to people everywhere for "
        "its museums, its food and its long history as a place where arts and sciences meet")


def prompt_of(troupe, model, tokens):
    """Returns a text of exactly `tokens` tokens."""
    words = TEXT.split()
    for count in range(1, 4 * tokens + 1):
        text = " ".join(words[i % len(words)] for i in range(count))
        done = subprocess.run([troupe, "tokenize", model, text, "--json"], stdout=subprocess.PIPE,
                              check=True)
        if len(json.loads(done.stdout)["ids"]) == tokens:
            return text
    sys.exit(f"no text of {tokens} tokens was found for {model}; give another --tokens")


def run(command):
    """Returns the seconds to the first byte on stdout, and those of CPU in all."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    first = os.read(process.stdout.fileno(), 1)
    seconds = time.monotonic() - began
    said = process.stderr.read()
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if not first or process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}: {said.decode()[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("troupe")
    parser.add_argument("model")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    os.environ["TROUPE_CLUSTER"] = "none"
    text = prompt_of(options.troupe, options.model, options.tokens)
    command = [options.troupe, "run", options.model, "--raw", text, "-n", "1", "-t",
               str(options.threads)]
    cold, _ = run(command)
    runs = [run(command) for _ in range(options.runs)]
    median = sorted(runs)[len(runs) // 2]
    print(json.dumps({
        "model": options.model, "prompt_tokens": options.tokens, "threads": options.threads,
        "runs": [round(seconds, 4) for seconds, _ in runs],
        "median": round(statistics.median(seconds for seconds, _ in runs), 4),
        "least": round(min(runs)[0], 4), "most": round(max(runs)[0], 4),
        "cpu": round(median[1], 4), "files_cold": round(cold, 4)}))


if __name__ == "__main__":
    main()
