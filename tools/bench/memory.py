#!/usr/bin/env python3
"""Compares the resident memory of `troupe run MODEL` with what it must hold: weights, keys and values.

usage: memory.py TROUPE MODEL [--prompt 200] [--tokens 56] [--threads N]

The bound is the size of the model's file, the pages of keys and values of all positions, and 64 MiB
for the program, its tokenizer and its buffers; it applies at any moment, including while the model is loaded. Exits
with 1 above it. Prints one JSON object, sizes in bytes:
  {"model","formats","file","kv","positions","loaded","peak","bound","over_file_and_kv"}
"loaded" is VmRSS at the first token, "peak" the largest VmHWM (the process's own, at its end).
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

SLACK = 64 << 20
PAGE_KEYS = 64  # kernels::kPageKeys: keys and values are taken in pages of this number of positions


def status_kib(pid, field):
    """Returns the number in a line of /proc/PID/status; 0 if the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def kv_bytes(shape, positions):
    pages = (positions + PAGE_KEYS - 1) // PAGE_KEYS
    value_bytes = 4 if shape["kv"] == "f32" else 2
    return pages * PAGE_KEYS * 2 * shape["layers"] * shape["kv_heads"] * shape["head_dim"] * value_bytes


def measure(troupe, model, prompt_ids, tokens, threads, env=None):
    """Returns VmRSS at the first token, and the peak, both in bytes."""
    command = [troupe, "run", model, "--prompt-ids", ",".join(map(str, prompt_ids)), "-n",
               str(tokens), "-t", str(threads)]
    loaded = peak = 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=said, env=env)
        while os.read(process.stdout.fileno(), 4096):
            loaded = loaded or status_kib(process.pid, "VmRSS")
            peak = max(peak, status_kib(process.pid, "VmHWM"))
        _, status, usage = os.wait4(process.pid, 0)
        process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)[:200]} ended with {process.returncode}: "
                               f"{said.read().decode(errors='replace')[-2000:]}")
    return loaded << 10, max(peak, usage.ru_maxrss) << 10


def report(troupe, model, prompt, tokens, threads, env=None):
    shape = json.loads(subprocess.run([troupe, "show", model, "--json"], stdout=subprocess.PIPE,
                                      check=True, env=env).stdout)
    ids = [(7919 * i + 13) % shape["vocabulary"] for i in range(prompt)]
    loaded, peak = measure(troupe, model, ids, tokens, threads, env)
    held = shape["bytes"] + kv_bytes(shape, prompt + tokens)
    return {"model": model, "formats": sorted(shape["formats"]), "file": shape["bytes"],
            "kv": kv_bytes(shape, prompt + tokens), "positions": prompt + tokens,
            "loaded": loaded, "peak": peak, "bound": held + SLACK, "over_file_and_kv": peak - held}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("troupe")
    parser.add_argument("model")
    parser.add_argument("--prompt", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=56)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    env = {**os.environ, "TROUPE_CLUSTER": "none"}
    try:
        found = report(options.troupe, options.model, options.prompt, options.tokens,
                       options.threads, env)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    print(json.dumps(found))
    sys.exit(0 if max(found["loaded"], found["peak"]) <= found["bound"] else 1)


if __name__ == "__main__":
    main()
