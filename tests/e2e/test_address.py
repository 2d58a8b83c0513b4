"""Where daemons listen: ports and addresses that they choose themselves, that change, or are not there yet."""
import json
import subprocess
import time

import pytest

import harness
import namespaces

REFUSAL = namespaces.refusal()
on_machines = pytest.mark.skipif(REFUSAL is not None, reason=str(REFUSAL))
NEW = "10.77.0.99"


@pytest.fixture
def network():
    made = namespaces.Network(2)
    yield made
    made.close()


def spawn_without_listen(place, head, name, **more):
    with open(place.folder / f"{name}.log", "wb") as log:
        return place.spawn("start", "--json", "--home", place.folder / name, "--name", name, "--threads", 1,
                           "--join", head.join, stdout=subprocess.PIPE, stderr=log, **more)


def ready_address(node):
    line = node.stdout.readline()
    assert line, f"it was not ready: {' '.join(node.args)}"
    return json.loads(line)["ready"]["address"]


def start_without_listen(place, head, name, **more):
    node = spawn_without_listen(place, head, name, **more)
    return node, ready_address(node)


@on_machines
def test_a_node_follows_its_address(place, network):
    """No --listen: the node takes the address from which it reaches its head, whatever it is by then."""
    place.inside = network.inside(0)
    head = place.start("head", "--head", "--no-work", host=network.host(0))
    node, _ = start_without_listen(place, head, "node", inside=network.inside(1))
    assert place.nodes(head)["node"]["address"].startswith(network.host(1) + ":")
    network.move(1, NEW)
    began = time.monotonic()
    harness.wait_until("the node did not come back", lambda: (
        place.nodes(head)["node"]["state"] == "ready"
        and place.nodes(head)["node"]["address"].startswith(NEW + ":")), 40)
    assert time.monotonic() - began < 30
    assert node.poll() is None
    outcome = place.troupe("run", harness.MODEL, "Once upon a time", "--raw", "-n", 4, "--cluster", head.address)
    assert outcome.status == 0, str(outcome)
    assert "joining the cluster again from " + NEW in (place.folder / "node.log").read_text()


def test_nodes_of_one_machine_find_ports_of_their_own(place):
    head = place.start("head", "--head")
    addresses = [head.address] + [start_without_listen(place, head, name)[1] for name in ("first", "second")]
    ports = sorted(int(address.rsplit(":", 1)[1]) for address in addresses)
    assert all(after - before >= 3 for before, after in zip(ports, ports[1:])), addresses
    assert {node["state"] for node in place.nodes(head).values()} == {"ready"}


def test_nodes_that_start_together_find_ports_of_their_own(place):
    head = place.start("head", "--head")
    started = [spawn_without_listen(place, head, f"n{i}") for i in range(4)]
    addresses = [ready_address(node) for node in started]
    assert len(set(addresses)) == 4, addresses
    harness.wait_until("not all joined", lambda: len(place.nodes(head)) == 5)


def test_nodes_of_one_machine_share_its_memory(place):
    head = place.start("head", "--head", "--no-work")
    node, _ = start_without_listen(place, head, "first")
    alone = place.nodes(head)["first"]["memory_bytes"]
    start_without_listen(place, head, "second")
    place.start("third", "--join", head.join, "--memory", "1GiB")  # the third node has this much memory of its own
    told = {name: entry["memory_bytes"] for name, entry in place.nodes(head).items()}
    assert told["first"] == alone // 2 and 0.4 * alone < told["second"] <= 0.6 * alone, (alone, told)
    assert told["third"] == 1 << 30
    node.kill()
    harness.wait_until("its share was not given back",
                       lambda: place.nodes(head)["second"]["memory_bytes"] >= 2 * told["second"])


def test_a_name_that_is_this_machine_alone_is_told(place):
    """As Debian's 127.0.1.1, the address of a machine's own name."""
    daemon = place.start("head", "--head", host="localhost")
    assert "only this machine reaches localhost" in daemon.said()


def test_an_address_that_is_not_there_yet_is_worth_another_try(place):
    outcome = place.troupe("start", "--head", "--listen", "192.0.2.7:7700", "--home", place.folder / "late")
    assert outcome.status == 1, str(outcome)  # a service manager then tries again; after a status of 2 it would not
    assert "no such address at this moment" in outcome.err
