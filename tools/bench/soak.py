#!/usr/bin/env python3
"""Runs a cluster in trouble for minutes on end: does it recover from everything, and is nothing left behind?

A head and three nodes answer streams, and do jobs, while faults come one after the other in seeded
order: a daemon gets SIGKILL and is started again, is frozen for longer than its lease, is drained and
restarted, or (as root, where each daemon has a network namespace) loses its cable for some seconds; a
client is frozen, too. Every answer and every line of a job is compared with that of one process. At the
end all nodes must be back within 8 s of the last fault and the pause after it, and memory (beside weights,
keys and values), descriptors and the list of nodes must be what they were after the first minute. The size of
the journal is printed, but not checked, because it grows with each job that has ended. Prints one JSON
object; exit status 1 if anything fell short.

With --rolling N nothing goes wrong, but all daemons are restarted in turn, N times, as an operator does it:
a node is drained, stopped and started again, and the head stopped and started again, under eight streams
and a job.

  TROUPE_TEST_MODEL=$(troupe pull smollm2-135m) tools/bench/soak.py --minutes 10 --seed 1
"""
import argparse
import contextlib
import itertools
import json
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)
import namespaces  # noqa: E402
from streams import SPECS, Expected, Stream  # noqa: E402

NODES = 3
STREAMS = 4
STREAMS_ROLLING = 8
TOKENS = 80
JOB_LINES = 6
JOB_TOKENS = 24
FREEZE_SECONDS = 9
CABLE_SECONDS = 5
BACK_SECONDS = 8
SETTLE_SECONDS = 60  # the first measurement
RSS_MORE_BYTES = 16 << 20
ANSWER_SECONDS = 120


class Soak:
    def __init__(self, folder, seed, network, streams=STREAMS):
        self.rng = random.Random(seed)
        (folder / "alone").mkdir()
        alone = harness.Place(folder / "alone")
        alone.env["TROUPE_CLUSTER"] = "none"
        self.expected = Expected(alone)
        for spec in SPECS:  # before anything is busy
            self.expected.answer(spec, TOKENS)
        self.job_text = self.expected.answer(SPECS[0], JOB_TOKENS)["text"]
        (folder / "cluster").mkdir()
        self.network = network
        self.cluster = harness.Cluster(folder / "cluster", NODES, network=network)
        self.folder = folder
        self.streams = streams
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.open = []  # streams under way
        self.answers = self.jobs = self.answered_late = 0
        self.wrong, self.faults = [], []

    def count(self, what, wrong=None):
        with self.lock:
            setattr(self, what, getattr(self, what) + 1)
        if wrong:
            self.complain(wrong)

    def complain(self, text):
        with self.lock:
            self.wrong.append(text)

    # ---- load ---------------------------------------------------------------------------------

    def ask(self, number):
        """Runs streams one after the other; each must end well, with the bytes of one process."""
        rng = random.Random(f"stream {number}")
        while not self.over.is_set():
            spec = rng.choice(SPECS)
            stream = Stream(self.cluster.place, spec, TOKENS, ("--cluster", self.cluster.head.address))
            with self.lock:
                self.open.append(stream)
            try:
                stream.end(ANSWER_SECONDS)
                bad = stream.status != 0 or self.expected.differing_bytes(spec, TOKENS, stream.text)
                self.count("answers", bad and f"{spec[0]!r}: {stream.status}, {stream.err[-300:]}")
            except AssertionError as error:
                self.count("answers", str(error)[-300:])
            with self.lock:
                self.open.remove(stream)
            if stream.longest_gap() > FREEZE_SECONDS:
                self.count("answered_late")

    def work(self):
        """Runs jobs one after the other; the output must have every line once, with the right text."""
        place, number = self.cluster.place, 0
        while not self.over.is_set():
            number += 1
            folder = self.folder / f"job{number}"
            folder.mkdir()
            prompts = [SPECS[0][0]] * JOB_LINES
            (folder / "in.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
            (folder / "job.json").write_text(json.dumps({
                "kind": "generate", "model": harness.MODEL, "input": "in.jsonl", "output": "out.jsonl",
                "raw": True, "max_tokens": JOB_TOKENS}))
            outcome = place.troupe("submit", folder / "job.json", "--id", f"job{number}", "--wait",
                                   "--cluster", self.cluster.head.address, timeout=600)
            bad = None
            if outcome.status != 0:
                bad = str(outcome)[-400:]
            else:
                lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
                texts = {line.get("text") for line in lines}
                if [line["index"] for line in lines] != list(range(JOB_LINES)) or texts != {self.job_text}:
                    bad = f"job {number}: {lines}"
            self.count("jobs", bad)

    # ---- faults -------------------------------------------------------------------------------

    def daemon(self, index):
        return self.cluster.head if index == 0 else self.cluster.nodes[index - 1]

    def start_again(self, index):
        dead = self.daemon(index)
        flags = ("--head",) if index == 0 else ()  # a node remembers its head
        started = self.cluster.place.start(dead.name, *flags, port=dead.port, **self.cluster.machine(index))
        if index == 0:
            self.cluster.head = started
        else:
            self.cluster.nodes[index - 1] = started

    def kill(self, index):
        self.daemon(index).kill()
        time.sleep(self.rng.random())
        self.start_again(index)

    def freeze(self, index):
        self.daemon(index).signal(signal.SIGSTOP)
        time.sleep(FREEZE_SECONDS)
        self.daemon(index).signal(signal.SIGCONT)

    def freeze_client(self, _):
        with self.lock:
            victim = self.rng.choice(self.open).process if self.open else None
        if victim is None:
            return
        victim.send_signal(signal.SIGSTOP)
        time.sleep(FREEZE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            victim.send_signal(signal.SIGCONT)

    def drain(self, index):
        outcome = self.cluster.place.troupe("drain", self.daemon(index).name, "--cluster",
                                            self.cluster.head.address)
        if outcome.status != 0:
            return self.complain(f"drain: {str(outcome)[-300:]}")
        self.daemon(index).stop()
        return self.start_again(index)

    def cut_off(self, index):
        self.network.pull(index)
        time.sleep(CABLE_SECONDS)
        self.network.plug(index)

    def begin_fault(self, name):
        self.faults.append(name)
        print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr)

    def strike(self):
        """Causes one fault, then pauses; the head is struck as often as each node."""
        kinds = [(self.kill, 0), (self.freeze, 0), (self.freeze_client, 0), (self.kill, 1),
                 (self.freeze, 1), (self.drain, 1)] + ([(self.cut_off, 1)] if self.network else [])
        fault, first = self.rng.choice(kinds)
        index = self.rng.randrange(1, NODES + 1) if first else 0
        self.begin_fault(f"{fault.__name__} {index}")
        fault(index)
        time.sleep(2 + 4 * self.rng.random())

    def restart(self, index):
        """Restarts a daemon as an operator does, and waits until the cluster is whole again."""
        self.begin_fault(f"restart {index}")
        if index:
            self.drain(index)
        else:
            self.cluster.head.stop()
            self.start_again(0)
        if self.seconds_until_back() is None:
            self.complain(f"not all nodes came back after {self.faults[-1]}")

    # ---- measuring ----------------------------------------------------------------------------

    def ready(self):
        nodes = self.cluster.status()["nodes"]
        return len([node for node in nodes if node["state"] == "ready"]) == NODES + 1

    def seconds_until_back(self):
        began = time.monotonic()
        while time.monotonic() < began + 60:
            if self.ready():
                return time.monotonic() - began
            time.sleep(0.2)
        return None

    def own_bytes(self, daemon):
        """A daemon's memory without the weights, keys and values that it holds, which depend on the layers
        that it was given since the last fault."""
        [node] = [node for node in self.cluster.status()["nodes"] if node["name"] == daemon.name]
        return daemon.memory_bytes("RssAnon") - node["weights_bytes"] - node["kv_bytes"]

    def state(self):
        daemons = [self.daemon(i) for i in range(NODES + 1)]
        home = self.cluster.head.home
        return {
            "rss_anon": [one.memory_bytes("RssAnon") for one in daemons],
            "own_bytes": [self.own_bytes(one) for one in daemons],
            "descriptors_max": max(len(list(pathlib.Path(f"/proc/{one.pid}/fd").iterdir()))
                                   for one in daemons),
            "journal_bytes": sum(path.stat().st_size for path in home.glob("journal.db*")),
            "nodes_listed": len(self.cluster.status()["nodes"]),
        }

    def result(self, short, **more):
        return {"faults": len(self.faults), "answers": self.answers, "jobs": self.jobs,
                "answers_with_a_pause": self.answered_late, **more, "fell_short": short}

    @contextlib.contextmanager
    def loaded(self):
        """Streams and jobs run inside the block; at its end, those that are under way have ended."""
        threads = [threading.Thread(target=self.ask, args=(i,)) for i in range(self.streams)]
        threads.append(threading.Thread(target=self.work))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def run_rolling(self, rounds):
        with self.loaded():
            for _, index in itertools.product(range(rounds), [*range(1, NODES + 1), 0]):
                time.sleep(3)
                self.restart(index)
        return self.result(self.wrong)

    def run(self, seconds):
        with self.loaded():
            began = time.monotonic()
            settle = min(SETTLE_SECONDS, seconds / 4)
            while time.monotonic() < began + settle:
                self.strike()
            self.seconds_until_back()
            before = self.state()
            while time.monotonic() < began + seconds:
                self.strike()
            back = self.seconds_until_back()
        time.sleep(3)
        after = self.state()
        short = list(self.wrong)
        if back is None or back > BACK_SECONDS:
            short.append(f"nodes were back after {back} s")
        if max(after["own_bytes"]) > max(before["own_bytes"]) + RSS_MORE_BYTES:
            short.append("memory grew")
        if after["descriptors_max"] > before["descriptors_max"] + 8:
            short.append("descriptors grew")
        if after["nodes_listed"] > before["nodes_listed"]:
            short.append("dead nodes accumulate")
        return self.result(short, back_s=back and round(back, 1), before=before, after=after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rolling", type=int, metavar="N", help="restart all daemons in turn, N times")
    options = parser.parse_args()
    if not harness.MODEL:
        parser.error("TROUPE_TEST_MODEL is not set")
    with tempfile.TemporaryDirectory(prefix="troupe-soak-") as folder, contextlib.ExitStack() as stack:
        network = None
        if namespaces.refusal() is None:
            network = stack.enter_context(contextlib.closing(namespaces.Network(NODES + 1)))
        soak = Soak(pathlib.Path(folder), options.seed, network,
                    STREAMS_ROLLING if options.rolling else STREAMS)
        try:
            found = soak.run_rolling(options.rolling) if options.rolling else soak.run(60 * options.minutes)
        finally:
            soak.over.set()
            soak.cluster.close()
    print(json.dumps({"seed": options.seed, **found}))
    return 1 if found["fell_short"] else 0


if __name__ == "__main__":
    sys.exit(main())
