"""Networks that fail: cables pulled, links that carry one way only, and a proxy before every daemon
that delays, throttles, cuts, flips, duplicates and replays. Eight answers are open each time; each is
compared with one process by ==, and each test proves that its fault happened.
"""
import os
import time

import pytest

import harness
import namespaces
from net_proxy import Proxy
from streams import Batch, Expected

wait_until = harness.wait_until

THIRDS = "0-9,10-19,20-29"
TOKENS = 150
REST = 16 << 10  # bytes of pings in a few seconds, no weights
REFUSAL = namespaces.refusal()
on_machines = pytest.mark.skipif(REFUSAL is not None, reason=str(REFUSAL))


@pytest.fixture(scope="module")
def expected(alone):
    return Expected(alone)


@pytest.fixture
def machines(tmp_path):
    """A head and two nodes, each in a network namespace of its own."""
    network = namespaces.Network(3)
    try:
        made = harness.Cluster(tmp_path, 2, network=network)
        yield made
        made.close()
    finally:
        network.close()


class ProxiedCluster(harness.Cluster):
    """Everybody dials everybody through the proxy before them; proxies[0] is the head's."""

    def __init__(self, folder, nodes):
        self.proxies, self.ports = [], []
        super().__init__(folder, nodes)

    def machine(self, i):
        port = harness.free_port()
        for _ in range(100):
            front = harness.free_port()
            if abs(front - port) > 3:
                break
        self.proxies.append(Proxy(front, port))
        return {"port": port, "flags": ("--advertise", self.proxies[-1].address)}

    def close(self):
        super().close()
        for proxy in self.proxies:
            proxy.close()

    def passed(self, channel):
        return sum(proxy.passed(channel) for proxy in self.proxies)


@pytest.fixture
def proxied(tmp_path):
    made = ProxiedCluster(tmp_path, 2)
    yield made
    made.close()


def state_of(cluster, name):
    return {node["name"]: node["state"] for node in cluster.status()["nodes"]}.get(name)


def stages(cluster):
    return {stage["node"] for deployment in cluster.status()["deployments"]
            for stage in deployment["stages"]}


def used_again(cluster, name):
    """A node that was left out holds layers again once it is back."""
    wait_until(f"{name} did not come back", lambda: state_of(cluster, name) == "ready")
    answer = cluster.run("Once upon a time", "--raw", "-n", 4, "--layers", THIRDS)
    assert name in [stage["name"] for stage in answer["nodes"]]


def open_batch(cluster):
    batch = Batch(cluster, TOKENS, "--layers", THIRDS)
    batch.wait_for_text(200)
    assert stages(cluster) == {"head", "node-1", "node-2"}
    return batch


@on_machines
def test_a_pulled_cable(machines, expected):
    """Ten seconds of nothing, no connection closed: the lease runs out, and the node comes back."""
    before = machines.status()["counters"]
    batch = open_batch(machines)
    assert batch.open() > 0
    machines.network.pull(1)
    pulled = time.monotonic()
    expected.check(batch)
    after = machines.status()["counters"]
    assert after["replacements"] > before["replacements"] and after["replays"] > before["replays"]
    assert state_of(machines, "node-1") == "dead"
    assert "node-1" not in stages(machines)
    time.sleep(max(0.0, 10 - (time.monotonic() - pulled)))
    machines.network.plug(1)
    used_again(machines, "node-1")


# One side no longer hears the other: the head a node, a node the head, or one node another node.
@on_machines
@pytest.mark.parametrize("speaker, listener", [(1, 0), (0, 1), (1, 2), (2, 1)])
def test_a_link_that_carries_one_way_only(machines, expected, speaker, listener):
    before = machines.status()["counters"]
    batch = open_batch(machines)
    assert batch.open() > 0
    machines.network.deaf(speaker, listener)
    expected.check(batch)
    after = machines.status()["counters"]
    assert after["replacements"] > before["replacements"] and after["replays"] > before["replays"]
    assert len(stages(machines)) == 2, "one of the two is left out"
    machines.network.hears(speaker, listener)
    for name in ("node-1", "node-2"):
        wait_until(f"{name} is not back", lambda name=name: state_of(machines, name) == "ready")


def test_slow_links_change_no_token(proxied, expected):
    for proxy in proxied.proxies:
        proxy.delay_seconds, proxy.bytes_per_second = 0.003, 20 << 20
    expected.check(Batch(proxied, TOKENS, "--layers", THIRDS))
    assert stages(proxied) == {"head", "node-1", "node-2"}
    assert proxied.status()["counters"]["replacements"] == 0, "slow is not lost"
    for proxy in proxied.proxies:
        assert proxy.faults["delay"] > 0 and proxy.faults["throttle"] > 0


def test_connections_that_are_reset(proxied, expected):
    batch = open_batch(proxied)
    assert batch.open() > 0
    proxied.proxies[1].cut()
    time.sleep(0.3)
    proxied.proxies[1].mend()
    expected.check(batch)
    assert proxied.proxies[1].faults["cut"] > 0
    used_again(proxied, "node-1")


# Frames that CURVE authenticates and numbers cannot be changed, sent twice or sent again: the connection
# breaks, and the answers go on.
@pytest.mark.parametrize("fault", ["flip", "duplicate", "replay"])
@pytest.mark.parametrize("channel, way", [("activations", "up"), ("control", "down")])
def test_spoiled_bytes(tmp_path, expected, fault, channel, way):
    cluster = ProxiedCluster(tmp_path, 2)
    try:
        for proxy in cluster.proxies:
            proxy.record_bytes = 4096
        batch = open_batch(cluster)
        assert batch.open() > 0
        # Activations go to a node, control goes to the head.
        proxy = cluster.proxies[0 if channel == "control" else 1]
        connections = proxy.connections
        proxy.spoil(fault, channel, way)
        expected.check(batch)
        assert proxy.faults[fault] == 1
        wait_until("the spoiled connection did not fall", lambda: proxy.connections > connections)
        for name in ("node-1", "node-2"):
            wait_until(f"{name} is not back", lambda name=name: state_of(cluster, name) == "ready")
    finally:
        cluster.close()


def test_weights_move_once(proxied):
    """Bytes of weights on the wire: at a first start what each node needs, at the next one none; a
    node that joins gets its layers only."""
    def measured(layers):
        before = proxied.passed("bulk")
        proxied.run("Once upon a time", "--raw", "-n", 2, "--layers", layers)
        # Copies for the next loss are made in the background.
        wait_until("no copies were made", lambda: all(
            stage["disks"] >= 2 for deployment in proxied.status()["deployments"]
            for stage in deployment["stages"]))
        return proxied.passed("bulk") - before

    size = os.path.getsize(harness.MODEL)
    first = measured(THIRDS)
    assert first > size // 4, "the first start brings the layers"
    again = measured(THIRDS)
    assert again < REST, f"{again} bytes of bulk at a second start"
    for daemon in proxied.nodes:
        daemon.stop()
    proxied.nodes = [proxied.place.start(node.name, port=node.port,
                                         flags=("--advertise", proxied.proxies[i + 1].address))
                     for i, node in enumerate(proxied.nodes)]
    restarted = measured(THIRDS)
    assert restarted < REST, f"{restarted} bytes of bulk after a restart"
    proxied.nodes.append(proxied.place.start("node-3", "--join", proxied.head.join,
                                             **proxied.machine(3)))
    before = proxied.passed("bulk")
    proxied.run("Once upon a time", "--raw", "-n", 2, "--layers", "0-9,10-19,20-28,29-29")
    joined = proxied.passed("bulk") - before
    last = proxied.status()["deployments"][0]["stages"][3]
    assert last["node"] == "node-3" and last["layers"] == "29"
    # The file's header, which holds the tokenizer, was fetched, too.
    assert joined < last["weights_bytes"] * 1.02 + (2 << 20), (joined, last)
    assert joined < size // 2, f"{joined} bytes for a join, of a model of {size}"
