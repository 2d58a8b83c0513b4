"""`troupe drain`: layers and answers move to other nodes, and then the node may be stopped."""
import itertools
import subprocess
import threading

import pytest

import harness

PROMPT = "Once upon a time"


def entry(place, head, name):
    return place.nodes(head).get(name, {"state": "absent"})


def events_of(place, head):
    return [(event["event"], event["subject"])
            for event in place.json("events", "--cluster", head.address)["events"]]


def test_answers_move_and_a_restart_brings_the_node_back(place):
    head = place.start("head", "--head", "--no-work")
    nodes = {name: place.start(name, "--join", head.join) for name in ("one", "two")}
    words = ("run", harness.MODEL, PROMPT, "--raw", "-n", 300, "--temperature", "0", "--cluster", head.address)
    alone = place.troupe(*words)
    assert alone.status == 0, str(alone)
    # Both nodes are drained in turn and started anew while answers are being written, and nothing is lost.
    outcomes, over = [], threading.Event()

    def write():
        for count in itertools.count(1):
            outcomes.append(place.troupe(*words))
            if count >= 3 and over.is_set():
                return

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        for name in ("one", "two"):
            drained = place.troupe("drain", name, "--cluster", head.address)
            assert drained.status == 0, str(drained)
            assert f"node {name} holds no layers and may be stopped" in drained.out, str(drained)
            assert entry(place, head, name)["state"] == "draining"
            assert entry(place, head, name)["layers"] == ""
            assert nodes[name].stop() == 0
            nodes[name] = place.start(name, "--join", head.join, port=nodes[name].port)
            harness.wait_until("it did not come back", lambda n=name: entry(place, head, n)["state"] == "ready")
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert len(outcomes) >= 12
    for outcome in outcomes:
        assert outcome.status == 0 and outcome.out == alone.out, str(outcome)
    told = events_of(place, head)
    for name in ("one", "two"):
        assert told.index(("joined", name)) < told.index(("drained", name)) < told.index(("left", name))


def test_a_node_whose_layers_fit_nowhere_stays(place):
    head = place.start("head", "--head", "--no-work")
    place.start("only", "--join", head.join)
    words = ("run", harness.MODEL, PROMPT, "--raw", "-n", 4, "--cluster", head.address)
    assert place.troupe(*words).status == 0
    refused = place.troupe("drain", "only", "--cluster", head.address)
    assert refused.status == 1, str(refused)
    assert "node only holds layers of" in refused.err and "start another node" in refused.err
    assert entry(place, head, "only")["state"] == "ready"
    assert place.troupe(*words).status == 0
    missing = place.troupe("drain", "nobody", "--cluster", head.address)
    assert missing.status == 1 and "no node is named 'nobody'" in missing.err


def test_an_answer_with_a_split_goes_on_without_it(place):
    """--layers was for two nodes; one is drained, and the head is killed under the answer."""
    head = place.start("head", "--head")
    node = place.start("node", "--join", head.join)
    words = ("run", harness.MODEL, PROMPT, "--raw", "-n", 1000, "--cluster", head.address)
    alone = place.troupe(*words)
    assert alone.status == 0, str(alone)
    process = place.spawn(*words, "--layers", "0-14,15-29", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    begun = process.stdout.read1(16)
    assert place.troupe("drain", "node", "--cluster", head.address).status == 0
    assert node.stop() == 0
    assert process.poll() is None, "the answer had ended before"
    head.kill()
    place.start("head", "--head", port=head.port)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0 and (begun + out).decode() == alone.out, err.decode()


@pytest.mark.no_model
def test_drains_outlive_the_head(place):
    head = place.start("head", "--head", "--no-work")
    node = place.start("node", "--join", head.join)
    assert place.troupe("drain", "node", "--cluster", head.address).status == 0
    head.stop()
    head = place.start("head", "--head", "--no-work", port=head.port)
    harness.wait_until("it did not come back", lambda: entry(place, head, "node")["state"] == "draining")
    node.stop()
    place.start("node", "--join", head.join, port=node.port)
    harness.wait_until("it is not used again", lambda: entry(place, head, "node")["state"] == "ready")
    assert ("undrained", "node") in events_of(place, head)


@pytest.mark.no_model
def test_undo_and_events_through_a_restart_of_the_head(place):
    head = place.start("head", "--head", "--no-work")
    place.start("node", "--join", head.join)
    drained = place.json("drain", "node", "--cluster", head.address)
    assert drained == {"node": "node", "draining": True, "moved": [], "is_head": False}
    undone = place.troupe("drain", "node", "--undo", "--cluster", head.address)
    assert undone.status == 0 and "gets layers again" in undone.out, str(undone)
    assert entry(place, head, "node")["state"] == "ready"
    head.stop()
    head = place.start("head", "--head", "--no-work", port=head.port)
    harness.wait_until("it did not come back", lambda: entry(place, head, "node")["state"] == "ready")
    told = [event for event in events_of(place, head) if event[1] in ("node", "the head")]
    assert told[:4] == [("started", "the head"), ("joined", "node"), ("drained", "node"),
                        ("undrained", "node")], told
    assert told.count(("started", "the head")) == 2 and told[-1] == ("joined", "node"), told
    table = place.troupe("events", "--cluster", head.address)
    assert table.status == 0 and "undrained" in table.out
