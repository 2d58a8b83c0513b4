#!/usr/bin/env python3
"""Kills and freezes workers under eight open answers, and says what that changed.

Three daemons on loopback share the layers of SmolLM2; eight answers are open (greedy and drawn, with
penalties and stop strings); at a seeded moment a worker gets SIGKILL (or SIGSTOP for longer than its
lease), and comes back for the next round. Prints one JSON object: for each round the bytes that
differ from one process and the longest gap of each stream, and the longest of all beside a run without
faults. Exit status 1 when a byte differs.

  TROUPE_TEST_MODEL=$(troupe pull smollm2-135m) tools/bench/kill_streams.py --kills 50 --stops 10
"""
import argparse
import json
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)
from streams import Batch, Expected  # noqa: E402

THIRDS = "0-9,10-19,20-29"


def strike(cluster, rng, kind):
    """The fault, and what brings the worker back when the answers have ended."""
    index = rng.randrange(len(cluster.nodes))
    victim = cluster.nodes[index]
    if kind == "kill":
        victim.kill()

        def back():
            cluster.nodes[index] = cluster.place.start(victim.name, port=victim.port)
    elif kind == "stop":
        victim.process.send_signal(signal.SIGSTOP)

        def back():
            victim.process.send_signal(signal.SIGCONT)
            deadline = time.monotonic() + 20
            while any(node["state"] != "ready" for node in cluster.status()["nodes"]):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{victim.name} did not join again")
                time.sleep(0.1)
    else:
        def back():
            pass
    return victim.name, back


def one_round(cluster, expected, seed, kind, tokens):
    rng = random.Random(seed)
    before = cluster.status()["counters"]
    batch = Batch(cluster, tokens, "--layers", THIRDS, objects=0)
    batch.wait_for_text(rng.randrange(1, 10 * tokens))
    time.sleep(rng.random() * 0.2)
    still_open = batch.open()
    name, back = strike(cluster, rng, kind)
    at = time.monotonic()
    results = batch.end()
    back()
    after = cluster.status()["counters"]
    gaps = [stream.longest_gap() for stream in batch.streams]
    return {
        "seed": seed, "fault": kind, "worker": name, "open_streams": still_open,
        "differing_bytes": sum(expected.differing_bytes(spec, tokens, text)
                               for spec, text, _ in results),
        "longest_gaps_ms": [round(gap * 1000) for gap in gaps],
        # From the fault to the next byte of each stream that was open.
        "silence_ms": [round(1000 * (next((t for t in stream.times if t > at), at) - at))
                       for stream in batch.streams],
        "replacements": after["replacements"] - before["replacements"],
        "replays": after["replays"] - before["replays"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--stops", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not harness.MODEL:
        sys.exit("TROUPE_TEST_MODEL is not set; see --help")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "alone").mkdir()
        (folder / "cluster").mkdir()
        alone = harness.Place(folder / "alone")
        alone.env["TROUPE_CLUSTER"] = "none"
        cluster = harness.Cluster(folder / "cluster", 2)
        try:
            expected = Expected(alone)
            kinds = ["none"] + ["kill"] * options.kills + ["stop"] * options.stops
            rounds = []
            for number, kind in enumerate(kinds):
                rounds.append(one_round(cluster, expected, options.seed + number, kind,
                                        options.tokens))
                print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
        finally:
            cluster.close()
    summary = {"differing_bytes": sum(one["differing_bytes"] for one in rounds)}
    for kind in ("none", "kill", "stop"):
        of_kind = [max(one["longest_gaps_ms"]) for one in rounds if one["fault"] == kind]
        summary[f"longest_gap_ms_{kind}"] = max(of_kind, default=None)
    print(json.dumps({**summary, "rounds": rounds}))
    return 1 if summary["differing_bytes"] else 0


if __name__ == "__main__":
    sys.exit(main())
