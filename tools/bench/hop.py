#!/usr/bin/env python3
"""Measures what a hop adds to a token: wire, encryption and actors together, on loopback.

Three daemons of one thread hold the layers of SmolLM2 on one, two and three stages; with a single answer only
one stage computes at a time, so that the work on a token is the same and the difference is the cost of the
hops. The token's id and hidden states do not cross between processes with one stage (the head's own); they
cross twice with two stages (head, node, head) and three times with three. Rounds alternate; prints one JSON
object with the microseconds of a token and of a hop, each the median over the rounds.

  TROUPE_TEST_MODEL=$(troupe pull smollm2-135m) chrt -r 20 tools/bench/hop.py --rounds 7
"""
import argparse
import json
import pathlib
import signal
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)

STAGES = {1: "0-29", 2: "0-14,15-29", 3: "0-9,10-19,20-29"}
CROSSINGS = {1: 0, 2: 2, 3: 3}


def token_us(cluster, stages, tokens):
    """Returns the microseconds of a token after the first, in an answer that runs alone."""
    answer = cluster.run("The history of Rome begins", "--raw", "-n", tokens, "--layers",
                         STAGES[stages], "--temperature", "1.2", "--seed", "5",
                         "--no-speculation")
    names = [node["name"] for node in answer["nodes"]]
    if len(set(names)) != stages or names[0] != "head":
        raise RuntimeError(f"{stages} stages should begin at the head, but lie on {names}")
    return 1e6 / answer["decode_tok_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=200)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # ends the daemons, too
    if not harness.MODEL:
        sys.exit("TROUPE_TEST_MODEL is not set; see --help")
    times = {stages: [] for stages in STAGES}
    with tempfile.TemporaryDirectory() as folder:
        cluster = harness.Cluster(folder, 2)
        try:
            for stages in STAGES:
                token_us(cluster, stages, 8)  # loads, and makes the connections
            for _ in range(options.rounds):
                for stages, of_stages in times.items():
                    of_stages.append(token_us(cluster, stages, options.tokens))
                print({stages: round(of[-1]) for stages, of in times.items()}, file=sys.stderr,
                      flush=True)
        finally:
            cluster.close()
    hops = {stages: statistics.median((long - short) / CROSSINGS[stages]
                                      for short, long in zip(times[1], times[stages]))
            for stages in (2, 3)}
    print(json.dumps({
        "token_us": {stages: round(statistics.median(of)) for stages, of in times.items()},
        "hop_us": {stages: round(us) for stages, us in hops.items()},
        "rounds_us": {stages: [round(one) for one in of] for stages, of in times.items()}}))


if __name__ == "__main__":
    main()
