#!/usr/bin/env python3
"""Kills, freezes and cuts off workers under eight open answers, and reports what changed.

Three daemons share the layers of SmolLM2; eight answers are open (greedy and drawn, with penalties
and stop strings); at a seeded moment a worker gets SIGKILL, or SIGSTOP for longer than its lease,
or its cable is pulled for ten seconds (then each daemon has a network namespace of its own, which
needs root). The worker comes back for the next round. Prints one JSON object: for each round the
bytes that differ from one process, the longest gap of each stream, and the gap that is allowed.
That is the sum of the time to notice the fault, half a second, and the time that this cluster
takes to read as many tokens of a prompt as are computed again. Exits with 1 if a byte differs; a
gap beyond what is allowed is counted and shown.

  TROUPE_TEST_MODEL=$(troupe pull smollm2-135m) tools/bench/kill_streams.py --kills 50 --stops 10
"""
import argparse
import contextlib
import json
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)
import namespaces  # noqa: E402
from streams import Batch, Expected  # noqa: E402

THIRDS = "0-9,10-19,20-29"
PARTITION_SECONDS = 10
# The time until a fault is noticed: at once if a connection closes, otherwise when a lease of 2 s runs out.
NOTICED_SECONDS = {"kill": 0.3, "stop": 2.2, "partition": 2.2}
PLACED_SECONDS = 0.5


def wait_for_all(cluster):
    deadline = time.monotonic() + 30
    while any(node["state"] != "ready" for node in cluster.status()["nodes"]):
        if time.monotonic() > deadline:
            raise RuntimeError(f"a node did not join again: {cluster.status()['nodes']}")
        time.sleep(0.1)


def prompt_rate(cluster, alone):
    """Returns the tokens/s at which the three nodes read a prompt of 512 tokens, the median of three runs."""
    ids = alone.json("tokenize", harness.MODEL, "-f", harness.GPL)["ids"]
    rates = []
    for i in range(3):
        prompt = harness.ids_flag(ids[512 * i:512 * (i + 1)])
        answer = cluster.place.json("run", harness.MODEL, *prompt, "-n", 1, "--layers", THIRDS,
                                    "--cluster", cluster.head.address)
        rates.append(answer["prompt_tok_s"])
    return sorted(rates)[1]


def strike(cluster, rng, kind):
    """Causes the fault, and returns the function that brings the worker back when the answers have ended."""
    index = rng.randrange(len(cluster.nodes))
    victim = cluster.nodes[index]
    began = time.monotonic()
    if kind == "kill":
        victim.kill()

        def back():
            cluster.nodes[index] = cluster.place.start(victim.name, port=victim.port)
    elif kind == "stop":
        victim.signal(signal.SIGSTOP)

        def back():
            victim.signal(signal.SIGCONT)
            wait_for_all(cluster)
    elif kind == "partition":
        cluster.network.pull(index + 1)

        def back():
            time.sleep(max(0.0, began + PARTITION_SECONDS - time.monotonic()))
            cluster.network.plug(index + 1)
            wait_for_all(cluster)
    else:
        def back():
            pass
    return victim.name, back


def tokens_by(stream, answer, at):
    """Returns how many tokens of a stream that was open at `at` had been through the stages: its
    prompt, and the share of its answer that had come, by bytes. None if it was not open."""
    came = max((n for when, n in zip(stream.times, stream.lengths) if when <= at), default=0)
    whole = len(answer["text"].encode())
    if not 0 < came < whole:
        return 0
    return len(answer["prompt_token_ids"]) + round(len(answer["token_ids"]) * came / whole)


def one_round(cluster, expected, seed, kind, tokens, rate):
    rng = random.Random(f"{seed} {kind}")  # a text is hashed first; small numbers would draw alike
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
    replayed = sum(tokens_by(stream, expected.answer(stream.spec, tokens), at)
                   for stream in batch.streams)
    allowed = None
    if kind != "none":
        allowed = NOTICED_SECONDS[kind] + PLACED_SECONDS + replayed / rate
    return {
        "seed": seed, "fault": kind, "worker": name, "open_streams": still_open,
        "at": time.strftime("%H:%M:%S", time.localtime(time.time() - time.monotonic() + at)),
        "differing_bytes": sum(expected.differing_bytes(spec, tokens, text)
                               for spec, text, _ in results),
        "longest_gaps_ms": [round(gap * 1000) for gap in gaps],
        # The time from the fault to the next byte of each stream that was open.
        "silence_ms": [round(1000 * (next((t for t in stream.times if t > at), at) - at))
                       for stream in batch.streams],
        "replacements": after["replacements"] - before["replacements"],
        "replays": after["replays"] - before["replays"],
        "replayed_tokens": replayed,
        "longest_gap_ms": round(max(gaps) * 1000),
        "allowed_gap_ms": allowed and round(allowed * 1000),
        "within": allowed is None or max(gaps) <= allowed,
    }


def rounds_of(folder, kinds, options, network=None):
    """Runs the rounds on one cluster, and shows each on stderr as it ends."""
    for name in ("alone", "cluster"):
        (folder / name).mkdir(parents=True)
    alone = harness.Place(folder / "alone")
    alone.env["TROUPE_CLUSTER"] = "none"
    cluster = harness.Cluster(folder / "cluster", 2, network=network)
    rounds = []
    try:
        expected = Expected(alone)
        rate = prompt_rate(cluster, alone)
        for kind in kinds:
            seed = options.seed + len(rounds) + (1000 if network else 0)
            rounds.append({**one_round(cluster, expected, seed, kind, options.tokens, rate),
                           "prompt_tok_s": round(rate)})
            print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    finally:
        cluster.close()
    return rounds


def summary_of(rounds):
    summary = {"differing_bytes": sum(one["differing_bytes"] for one in rounds),
               "beyond_allowance": sum(not one["within"] for one in rounds)}
    for kind in ("none", *NOTICED_SECONDS):
        gaps = sorted(one["longest_gap_ms"] for one in rounds if one["fault"] == kind)
        if gaps:
            summary[kind] = {"rounds": len(gaps), "median_gap_ms": gaps[len(gaps) // 2],
                             "longest_gap_ms": gaps[-1]}
    return summary


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--stops", type=int, default=1)
    parser.add_argument("--partitions", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="FOLDER", help="leave the daemons' homes and logs there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # ends the daemons, too
    if not harness.MODEL:
        sys.exit("TROUPE_TEST_MODEL is not set; see --help")
    if options.partitions and namespaces.refusal():
        sys.exit(f"--partitions: {namespaces.refusal()}")
    rounds = []
    with contextlib.ExitStack() as kept:
        folder = pathlib.Path(options.keep or kept.enter_context(tempfile.TemporaryDirectory()))
        if options.kills or options.stops:
            kinds = ["none"] + ["kill"] * options.kills + ["stop"] * options.stops
            rounds += rounds_of(folder / "loopback", kinds, options)
        if options.partitions:
            network = namespaces.Network(3)
            kept.callback(network.close)
            kinds = ["none"] + ["partition"] * options.partitions
            rounds += rounds_of(folder / "network", kinds, options, network)
    summary = summary_of(rounds)
    print(json.dumps({**summary, "rounds": rounds}))
    return 1 if summary["differing_bytes"] else 0


if __name__ == "__main__":
    sys.exit(main())
