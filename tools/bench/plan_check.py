#!/usr/bin/env python3
"""Compares what `troupe plan` predicts on unequal nodes with what is then measured.

usage: plan_check.py TROUPE MODEL.gguf [--config quota|memory|link] [--rounds 3] [--repeats 3]

A head and a node of one thread each, on a CPU each, made unequal in three ways: a quota of half a CPU for the
node; a quota of two fifths, and too little memory on the head for its share of layers; and a connection of
0.3 MB/s between the two. `plan` predicts before any layer has been loaded; then the placement that it chose
is measured, and the equal split. Each round has a new cluster. It needs root, two CPUs with nothing else to do, and control groups of version 1. Prints a JSON object for each round; then, for each configuration, the medians
of predicted over measured and of measured over the equal split. Exit status 1 when a prediction is more than
a fifth off, or when the placement is not 1.3 times as fast as the equal split (in tokens/s of eight streams).
"""
import argparse
import json
import os
import pathlib
import socket
import statistics
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)

GROUPS = pathlib.Path("/sys/fs/cgroup/cpu")
PERIOD_US = 25000  # a quarter of the usual period, so that answers last many periods
SHARES = 262144  # far more than other work on the machine has


class Quota:
    """A control group that grants a process a share of one CPU, as containers do."""

    def __init__(self, pid, share):
        self.path = GROUPS / f"troupe-plan-{pid}"
        self.path.mkdir()
        (self.path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (self.path / "cpu.cfs_quota_us").write_text(str(int(PERIOD_US * share)))
        (self.path / "cpu.shares").write_text(str(SHARES))
        # A quota applies to ordinary threads only, and this run may be of another class.
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(task), os.SCHED_OTHER, os.sched_param(0))
        (self.path / "cgroup.procs").write_text(str(pid))

    def close(self):
        for pid in (self.path / "cgroup.procs").read_text().split():
            (GROUPS / "cgroup.procs").write_text(pid)
        self.path.rmdir()


class Proxy:
    """Forwards three ports; the second, for activations, carries `bytes_s` bytes per second in each direction."""

    def __init__(self, target, bytes_s):
        self.target, self.bytes_s = target, bytes_s
        self.port = harness.free_port()
        self.listeners = []
        for offset in range(3):
            listener = socket.create_server(("127.0.0.1", self.port + offset))
            self.listeners.append(listener)
            threading.Thread(target=self.accept, args=(listener, offset), daemon=True).start()

    def accept(self, listener, offset):
        while True:
            try:
                inner, _ = listener.accept()
                outer = socket.create_connection(("127.0.0.1", self.target + offset))
            except OSError:
                return
            rate = self.bytes_s if offset == 1 else None
            for ends in ((inner, outer), (outer, inner)):
                for end in ends:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.carry, args=(*ends, rate), daemon=True).start()

    @staticmethod
    def carry(source, sink, rate):
        free_at = time.monotonic()
        try:
            while data := source.recv(4096):
                if rate:
                    free_at = max(free_at, time.monotonic()) + len(data) / rate
                    time.sleep(max(0, free_at - time.monotonic()))
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        for listener in self.listeners:
            listener.close()


def pin(daemon, cpu):
    for task in os.listdir(f"/proc/{daemon.pid}/task"):
        os.sched_setaffinity(int(task), {cpu})


CONFIGS = {
    "quota": {"share": 0.5},
    "memory": {"share": 0.4, "memory": "160MB"},
    "link": {"bytes_s": 300_000},
}


def wait_for_copies(place, at):
    """Waits until nodes have fetched no spare copies of layers for two seconds; they begin a second after the
    first answer."""
    copied, since = None, time.monotonic()
    time.sleep(1.5)
    while copied is None or time.monotonic() - since < 2:
        now = sum(node["copied_bytes"] for node in place.json("status", *at)["nodes"])
        if now != copied:
            copied, since = now, time.monotonic()
        time.sleep(0.2)


def figures(found):
    return {"prompt": found["prompt_tok_s_median"], "one_stream": found["decode_tok_s_median"],
            "streams": found["batch"][0]["decode_tok_s"]}


def check(config, model, repeats):
    proxy = quota = None
    with tempfile.TemporaryDirectory() as folder:
        place = harness.Place(folder)
        try:
            memory = ("--memory", config["memory"]) if "memory" in config else ()
            head = place.start("head", "--head", *memory)
            port, advertise = harness.free_port(), ()
            if "bytes_s" in config:
                proxy = Proxy(port, config["bytes_s"])
                advertise = ("--advertise", f"127.0.0.1:{proxy.port}")
            node = place.start("node", "--join", head.join, *advertise, port=port)
            cpus = sorted(os.sched_getaffinity(0))
            pin(head, cpus[0])
            pin(node, cpus[1])
            if "share" in config:
                quota = Quota(node.pid, config["share"])
            at = ("--cluster", head.address)
            plan = place.json("plan", model, *at)
            predicted = plan["prediction"]
            predicted = {"prompt": predicted["prompt_tok_s"], "one_stream": predicted["decode_tok_s"],
                         "streams": predicted["streams_tok_s"]}
            flags = ("--repeats", repeats, "--batch", 8, *at)
            place.json("run", model, "The first answer.", "-n", 4, *at)
            wait_for_copies(place, at)
            chosen = place.json("bench", model, *flags)
            equal = place.json("bench", model, *flags, "--layers", "0-14,15-29")
        finally:
            place.close()
            for one in (proxy, quota):
                if one:
                    one.close()
    measured, equal = figures(chosen), figures(equal)
    return {"stages": {stage["node"]: stage["layers"] for stage in plan["stages"]},
            "measured_stages": {stage["name"]: stage["layers"] for stage in chosen["nodes"]},
            "predicted": predicted, "measured": measured, "equal_split": equal,
            "predicted_over_measured": {key: round(predicted[key] / measured[key], 3)
                                        for key in measured},
            "over_equal_split": {key: round(measured[key] / equal[key], 2) for key in measured},
            "nodes": {node["name"]: node["cost"] for node in plan["nodes"]}, "ways": plan["ways"]}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("troupe")
    parser.add_argument("model")
    parser.add_argument("--config", choices=CONFIGS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    harness.TROUPE = options.troupe
    rounds = {name: [] for name in CONFIGS if options.config in (None, name)}
    for _ in range(options.rounds):
        for name, found in rounds.items():
            found.append(check(CONFIGS[name], str(pathlib.Path(options.model).resolve()),
                               options.repeats))
            print(json.dumps({"config": name, **found[-1]}), flush=True)
    failed = False
    for name, found in rounds.items():
        medians = {what: {key: statistics.median(one[what][key] for one in found)
                          for key in found[0][what]}
                   for what in ("predicted_over_measured", "over_equal_split")}
        print(json.dumps({"config": name, "rounds": len(found), **medians}), flush=True)
        failed |= any(not 0.8 <= ratio <= 1.2
                      for ratio in medians["predicted_over_measured"].values())
        failed |= medians["over_equal_split"]["streams"] < 1.3
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
