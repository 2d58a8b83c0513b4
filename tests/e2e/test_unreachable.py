"""A node that joins but cannot be dialled (a firewall, a NAT, a wrong --advertise): the head says why,
it gets no layers, nobody waits for it, and it is used as soon as it can be reached."""
import contextlib
import time

import pytest

import harness
from net_proxy import Proxy

PROMPT = "Once upon a time"


@pytest.fixture
def shut(place):
    """A head and a node that work, and a node of which the others have an address where nobody listens."""
    head = place.start("head", "--head")
    place.start("open", "--join", head.join)
    port = harness.free_port()
    node = place.start("shut", "--join", head.join, "--advertise", f"127.0.0.1:{port}")
    return head, node, port


def test_a_node_that_cannot_be_dialled_gets_no_layers(place, shut):
    head, _, port = shut
    told = place.nodes(head)["shut"]
    assert told["state"] == "unreachable"
    assert f"nobody listens at 127.0.0.1:{port}" in told["trouble"]
    listed = place.troupe("nodes", "--cluster", head.address)
    assert "node shut gets no layers: the head cannot reach it" in listed.out
    # Nobody waits for the node, and commands that ask are told about it.
    seconds = []
    for _ in range(3):
        outcome = place.troupe("run", harness.MODEL, PROMPT, "--raw", "-n", 2, "--cluster", head.address)
        assert outcome.status == 0, str(outcome)
        assert "node shut gets no layers" in outcome.err
        seconds.append(outcome.seconds)
        time.sleep(0.5)
    assert min(seconds[1:]) < 3, seconds
    counters = place.json("status", "--cluster", head.address)["counters"]
    assert counters["replacements"] == 0
    plan = place.json("plan", harness.MODEL, "--cluster", head.address)
    assert "node shut gets no layers" in plan["left_out"]
    assert "shut" not in [node["name"] for node in plan["nodes"]]
    three = place.troupe("run", harness.MODEL, PROMPT, "--raw", "-n", 2, "--layers", "0-9,10-19,20-29",
                         "--cluster", head.address)
    assert three.status != 0 and "node shut gets no layers" in three.err, str(three)


def test_it_is_used_when_it_can_be_reached(place, shut):
    head, node, port = shut
    assert place.nodes(head)["shut"]["state"] == "unreachable"
    with contextlib.closing(Proxy(port, node.port)):
        harness.wait_until("it was not dialled again",
                           lambda: place.nodes(head)["shut"]["state"] == "ready", 15)
        assert place.nodes(head)["shut"]["trouble"] == ""
        answer = place.json("run", harness.MODEL, PROMPT, "--raw", "-n", 2, "--layers",
                            "0-9,10-19,20-29", "--cluster", head.address)
        assert "shut" in [stage["name"] for stage in answer["nodes"]]
        assert "left_out" not in answer
