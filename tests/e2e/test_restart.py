"""A head that is started again has all its nodes back, also if its disk is slow.

A node says Hello until it is welcomed, and a head opens its sockets when it listens. strace holds up
every fsync of the head, as a slow disk does; without strace the restarts are plain ones.
"""
import json
import os
import shutil
import subprocess
import time

import pytest

import harness

pytestmark = pytest.mark.no_model

NODES = int(os.environ.get("TROUPE_RESTART_NODES", "4"))
RESTARTS = int(os.environ.get("TROUPE_RESTARTS", "2"))  # restarts of each kind; a longer run sets the number
BACK_SECONDS = 8


def slow_disk(milliseconds):
    """Words before a command whose fsyncs take this much longer; none if this machine cannot."""
    if not milliseconds or not shutil.which("strace"):
        return ()
    words = ("strace", "-D", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", "/dev/null", "-e",
             f"inject=fsync,fdatasync:delay_enter={milliseconds * 1000}")
    tried = subprocess.run([*words, "true"], stderr=subprocess.DEVNULL, check=False)
    return words if tried.returncode == 0 else ()


def ready_nodes(place, head):
    nodes = place.json("nodes", "--cluster", head.address)["nodes"]
    return [node["name"] for node in nodes if node["state"] == "ready"]


@pytest.mark.parametrize("fsync_ms", [0, 20, 100])
def test_every_node_comes_back(place, fsync_ms):
    head = place.start("head", "--head", "--no-work")
    nodes = [place.start(f"node-{i}", "--join", head.join) for i in range(NODES)]
    took = []
    for restart in range(RESTARTS):
        head.kill()
        head = place.start("head", "--head", "--no-work", port=head.port,
                           inside=slow_disk(fsync_ms))
        began = time.monotonic()
        while len(ready_nodes(place, head)) < NODES + 1:
            missing = {f"node-{i}" for i in range(NODES)} - set(ready_nodes(place, head))
            assert time.monotonic() - began < BACK_SECONDS, (restart, missing)
            time.sleep(0.05)
        took.append(time.monotonic() - began)
    print(f"fsync + {fsync_ms} ms, {NODES} nodes, {RESTARTS} restarts: "
          f"all back within {max(took):.1f} s")
    assert all(node.alive() for node in nodes)


def test_a_command_of_the_home_waits_for_its_head(place):
    """It names no cluster: the daemon of its home was killed, and is started again meanwhile."""
    head = place.start("head", "--head", "--no-work")
    head.kill()
    asked = place.spawn("nodes", "--json", "--home", head.home, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE)
    time.sleep(1)
    place.start("head", "--head", "--no-work", port=head.port)
    out, said = asked.communicate(timeout=20)
    assert asked.returncode == 0, said
    assert b"was killed and may come back" in said
    assert [node["name"] for node in json.loads(out)["nodes"]] == ["head"]


def test_a_daemon_that_does_not_come_back_is_not_waited_for_long(place):
    head = place.start("head", "--head", "--no-work")
    head.kill()
    outcome = place.troupe("nodes", "--home", head.home)
    assert outcome.status == 1 and "no daemon runs on the home" in outcome.err, str(outcome)
    assert 2.5 < outcome.seconds < 6, str(outcome)
    stopped = place.start("other", "--head", "--no-work")
    assert stopped.stop() == 0
    outcome = place.troupe("nodes", "--home", stopped.home)
    assert outcome.status == 1 and outcome.seconds < 2, str(outcome)
