"""A worker that dies in the middle of an answer: a clear error within 3 s, the rest stays up."""
import select
import signal
import subprocess
import time

import pytest

import harness

PROMPT = "Once upon a time"
# Sampled text goes on where greedy text would end.
LONG = ("--raw", "-n", 4000, "--temperature", "1.2", "--seed", "5")


@pytest.fixture
def cluster(tmp_path):
    made = harness.Cluster(tmp_path, 2)
    yield made
    made.close()


def start_answer(cluster, layers):
    """An answer under way: some of its text has come."""
    process = cluster.place.spawn(
        "run", harness.MODEL, PROMPT, *LONG, "--layers", layers, "--cluster", cluster.head.address,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    got = b""
    deadline = time.monotonic() + 60
    while len(got) < 40:
        readable, _, _ = select.select([process.stdout], [], [], 1)
        if readable:
            part = process.stdout.read1(4096)
            assert part, process.stderr.read()
            got += part
        assert time.monotonic() < deadline, "no text came"
    return process


def check_end_of(process, victim_dead_at, victim):
    _, err = process.communicate(timeout=20)
    seconds = time.monotonic() - victim_dead_at
    err = err.decode()
    assert process.returncode == 1, err
    assert seconds < 3, f"the request ended {seconds:.1f} s after the worker: {err}"
    assert victim in err, f"the error does not name {victim}: {err}"
    return err


@pytest.mark.parametrize("victim", [0, 1])
def test_killed_worker(cluster, alone, victim):
    process = start_answer(cluster, "0-9,10-19,20-29")
    node = cluster.nodes[victim]
    node.kill()
    check_end_of(process, time.monotonic(), node.name)
    left = [daemon for daemon in cluster.daemons() if daemon is not node]
    assert all(daemon.alive() for daemon in left)
    states = {entry["name"]: entry["state"] for entry in cluster.status()["nodes"]}
    assert states.get(node.name) != states["head"], states
    # The next request works on what is left.
    answer = cluster.run(PROMPT, "--raw", "-n", 8)
    expected = alone.json("run", harness.MODEL, PROMPT, "--raw", "-n", 8)
    assert answer["token_ids"] == expected["token_ids"]
    assert node.name not in [stage["name"] for stage in answer["nodes"]]


def test_frozen_worker(cluster):
    """SIGSTOP closes no connection: the lease runs out instead."""
    process = start_answer(cluster, "0-9,10-19,20-29")
    node = cluster.nodes[0]
    node.process.send_signal(signal.SIGSTOP)
    try:
        check_end_of(process, time.monotonic(), node.name)
        answer = cluster.run(PROMPT, "--raw", "-n", 4)
        assert node.name not in [stage["name"] for stage in answer["nodes"]]
    finally:
        node.process.send_signal(signal.SIGCONT)


def test_a_node_that_leaves(cluster, alone):
    """Stopped in peace: it says goodbye, and the cluster goes on without it."""
    cluster.run(PROMPT, "--raw", "-n", 2, "--layers", "0-9,10-19,20-29")
    node = cluster.nodes[1]
    outcome = cluster.place.troupe("stop", "--home", node.home)
    assert outcome.status == 0, str(outcome)
    assert node.process.wait(5) == 0, node.said()
    answer = cluster.run(PROMPT, "--raw", "-n", 8)
    expected = alone.json("run", harness.MODEL, PROMPT, "--raw", "-n", 8)
    assert answer["token_ids"] == expected["token_ids"]


def test_a_killed_client_leaves_the_cluster_well(cluster):
    process = start_answer(cluster, "0-9,10-19,20-29")
    process.kill()
    process.wait()
    began = time.monotonic()
    cluster.run(PROMPT, "--raw", "-n", 4, "--layers", "0-9,10-19,20-29")
    assert time.monotonic() - began < 20
    assert all(daemon.alive() for daemon in cluster.daemons())


def test_the_head_dies(cluster):
    process = start_answer(cluster, "0-9,10-19,20-29")
    cluster.head.kill()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"troupe: " in err
    outcome = cluster.place.troupe("status", "--cluster", cluster.head.address, timeout=20)
    assert outcome.status == 1, str(outcome)


def test_interrupted_answer(cluster):
    """Ctrl-C ends the request, on the cluster too."""
    process = start_answer(cluster, "0-9,10-19,20-29")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert cluster.run(PROMPT, "--raw", "-n", 2)["finish_reason"] == "length"
