"""A job kind of a user's own program, mapped by three nodes that are that program: the word count of
examples/word_count.cpp against Python's."""
import collections
import pathlib
import re
import signal
import subprocess

import pytest

import harness

PROGRAM = harness.BUILD / "example_word_count"
pytestmark = pytest.mark.no_model


def expected_of(files):
    words = collections.Counter()
    for path in files:
        words.update(re.findall(r"[a-z]+", path.read_text(errors="replace").lower()))
    best = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:10]
    return [f"{count:8} {word}" for word, count in best]


@pytest.fixture
def files(tmp_path):
    """Forty texts, none like another."""
    text = pathlib.Path(harness.GPL).read_text().splitlines(keepends=True)
    made = []
    for i in range(40):
        path = tmp_path / f"text-{i}"
        path.write_text("".join(text[i * 10:i * 10 + 60 + i]) + f"mark{'x' * i}\n")
        made.append(path)
    return made


class Counters:
    """A head that knows no words, and programs that join it and count."""

    def __init__(self, place, nodes):
        self.place = place
        self.head = place.start("head", "--head", "--no-work")
        self.nodes = []
        for i in range(nodes):
            listen = f"127.0.0.1:{harness.free_port()}"
            process = subprocess.Popen(
                [PROGRAM, "--join", self.head.join, place.folder / f"node-{i}", listen],
                env=place.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            place.processes.append(process)
            assert process.stdout.readline() == b"counting\n"
            self.nodes.append(process)

    def count(self, files):
        done = subprocess.run([PROGRAM, "--cluster", self.head.address, *files],
                              env=self.place.env, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                              check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def log(self):
        at = ("--cluster", self.head.address)
        name = self.place.json("jobs", *at)["jobs"][-1]["id"]
        return [line["text"] for line in self.place.json("logs", name, *at)["lines"]]


def mappers(log):
    return {re.search(r"mapped by (.*)", line)[1] for line in log if "mapped by" in line}


def test_an_own_job_kind_on_three_nodes(place, files):
    cluster = Counters(place, 3)
    assert cluster.count(files) == expected_of(files)
    log = cluster.log()
    assert len(mappers(log)) == 3, log
    assert sum("mapped by" in line for line in log) == 40 and log[-1] == "done"


def test_the_shards_of_a_lost_node_are_mapped_elsewhere(place, files):
    """Frozen before the job came: it takes its shards, and its lease runs out."""
    cluster = Counters(place, 3)
    cluster.nodes[0].send_signal(signal.SIGSTOP)
    try:
        assert cluster.count(files) == expected_of(files)
        log = cluster.log()
        assert any("is tried again" in line and "is gone" in line for line in log), log
        assert len(mappers(log)) == 2, log
        assert sum("mapped by" in line for line in log) == 40
    finally:
        cluster.nodes[0].send_signal(signal.SIGCONT)


def test_a_job_waits_for_its_kind(place, files):
    """Nobody knows the kind: the job waits, says so, and goes on when a node comes that does."""
    head = place.start("head", "--head", "--no-work")
    asker = subprocess.Popen([PROGRAM, "--cluster", head.address, *files[:3]], env=place.env,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    place.processes.append(asker)
    at = ("--cluster", head.address)
    deadline = harness.time.monotonic() + 20
    while not place.json("jobs", *at)["jobs"]:
        assert harness.time.monotonic() < deadline
    job = place.json("jobs", *at)["jobs"][0]
    assert job["state"] == "waiting" and "'word_count'" in job["waits_for"]
    node = subprocess.Popen([PROGRAM, "--join", head.join, place.folder / "node",
                             f"127.0.0.1:{harness.free_port()}"], env=place.env,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    place.processes.append(node)
    out, _ = asker.communicate(timeout=60)
    assert out.decode().splitlines() == expected_of(files[:3])


def test_in_one_process(place, files):
    done = subprocess.run([PROGRAM, *files], env=place.env, stdout=subprocess.PIPE, text=True,
                          timeout=60, check=True)
    assert done.stdout.splitlines() == expected_of(files)
