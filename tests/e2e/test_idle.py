"""What daemons cost while nobody asks them anything."""
import pathlib
import time

import pytest

import harness

SECONDS = 10
CPU_SHARE_MAX = 0.01
MEMORY_MAX = 60 << 20


def cpu_seconds(daemon):
    """Of all its threads, exact: what `stat` counts are the ticks that met one of them running."""
    tasks = pathlib.Path(f"/proc/{daemon.process.pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def resident_bytes(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as status:
        line = [line for line in status if line.startswith("VmRSS")][0]
    return int(line.split()[1]) * 1024


def measure(daemons, record_property):
    before, began = [cpu_seconds(daemon) for daemon in daemons], time.monotonic()
    time.sleep(SECONDS)
    seconds = time.monotonic() - began
    for daemon, cpu in zip(daemons, before):
        share = (cpu_seconds(daemon) - cpu) / seconds
        memory = resident_bytes(daemon)
        record_property(daemon.name, {"cpu": share, "memory_bytes": memory})
        print(f"{daemon.name}: {100 * share:.2f} % of a core, {memory / (1 << 20):.1f} MiB")
        assert share < CPU_SHARE_MAX, f"{daemon.name} used {100 * share:.2f} % of a core"
        assert memory < MEMORY_MAX, f"{daemon.name} holds {memory >> 20} MiB"


@pytest.mark.no_model
def test_daemons_that_wait(place, record_property):
    head = place.start("head", "--head", threads=2)
    nodes = [place.start(name, "--join", head.join, threads=2) for name in ("a", "b")]
    time.sleep(1)
    measure([head, *nodes], record_property)


def test_a_model_that_was_unloaded_is_gone_from_memory(place, record_property):
    head = place.start("head", "--head", threads=2)
    node = place.start("node", "--join", head.join, threads=2)
    place.json("run", harness.MODEL, "hi", "-n", 4, "--cluster", head.address)
    assert place.troupe("unload", harness.MODEL, "--cluster", head.address).status == 0
    time.sleep(1)
    measure([head, node], record_property)
