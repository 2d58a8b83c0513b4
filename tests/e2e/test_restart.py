"""A head that is started again has all its nodes back, also if its disk is slow.

A node says Hello until it is welcomed, and a head opens its sockets when it listens. strace holds up
every fsync of the head, as a slow disk does; without strace the restarts are plain ones.
"""
import os
import shutil
import subprocess
import time

import pytest

import harness

pytestmark = pytest.mark.no_model

NODES = int(os.environ.get("TROUPE_RESTART_NODES", "4"))
RESTARTS = int(os.environ.get("TROUPE_RESTARTS", "2"))  # of each kind; a longer run sets it
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
