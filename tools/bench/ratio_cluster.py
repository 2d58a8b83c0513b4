#!/usr/bin/env python3
"""Measures a cluster's speed over that of llama.cpp's RPC backend: two workers of one thread each on this machine.

usage: ratio_cluster.py TROUPE PEER_PYTHON MODEL.gguf... [--rounds 3] [--batch 8] [--prompt 512] [--decode 64]

Ours: a head and a node, both of one thread, with the layers that the head gives them; theirs: two RPC
workers of one thread, and their client. The two alternate, and the median of the rounds' ratios is printed. PEER_PYTHON is
the interpreter that holds llama-cpp-python with its RPC backend (peer_llamacpp.py says how), built for
the instruction set that TROUPE_ISA names. On a machine with other work run all of it under
`chrt -r 20`. Also prints what a hop adds to a token: half of the time that a hidden state takes from one
device's thread to the other's, with an empty answer back, as `troupe plan` measures it. """
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)
from ratio import add_pairs, measure, ratio  # noqa: E402

PEER = str(pathlib.Path(__file__).with_name("peer_llamacpp.py"))


class Theirs:
    """Two RPC workers, ended by close()."""

    def __init__(self, python, folder):
        self.python = python
        port = harness.free_port()
        self.ports = [port, port + 1]
        self.log = open(folder / "rpc.log", "wb")
        self.workers = [subprocess.Popen([python, PEER, "rpc-worker", str(port), "--threads", "1"],
                                         stdout=self.log, stderr=self.log) for port in self.ports]
        time.sleep(2)  # an RPC worker does not say when it is ready

    def bench(self, model, flags):
        servers = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return measure(self.python, PEER, "bench", model, "--threads", 1, "--rpc", servers, *flags)

    def close(self):
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.log.close()


def compare(model, ours, theirs, options):
    flags = ["--repeats", "2", "--prompt", options.prompt, "--decode", options.decode]
    batch = ["--batch", options.batch] if options.batch else []
    at = ("--cluster", ours.head.address)
    plan = ours.place.json("plan", model, *at)
    hops = [way["latency_us"] for way in plan["ways"]]
    pairs = {}
    for _ in range(options.rounds):
        both = ours.place.json("bench", model, *flags, *batch, *at)
        peer = theirs.bench(model, flags + batch)
        add_pairs(pairs, both, peer)
    print(pathlib.Path(model).name, both["isa"], ",".join(n["layers"] for n in both["nodes"]),
          ", ".join(f"{name} {ratio(values)}" for name, values in pairs.items()),
          f"a hop {statistics.median(hops):.0f} us", flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("troupe")
    parser.add_argument("peer")
    parser.add_argument("models", nargs="+")
    for name, value in (("rounds", 3), ("prompt", 512), ("decode", 64)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--batch", default="8")
    options = parser.parse_args()
    harness.TROUPE = options.troupe
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        isa = {"TROUPE_ISA": os.environ["TROUPE_ISA"]} if "TROUPE_ISA" in os.environ else {}
        ours = harness.Cluster(folder, 1, envs=[isa, isa])
        ours.place.env.update(isa)
        theirs = Theirs(options.peer, folder)
        try:
            for model in options.models:
                compare(str(pathlib.Path(model).resolve()), ours, theirs, options)
        finally:
            theirs.close()
            ours.close()


if __name__ == "__main__":
    main()
