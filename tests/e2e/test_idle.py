"""What daemons cost while nobody asks them anything."""
import pathlib
import subprocess
import sys
import time

import pytest

import harness

SECONDS = 10
CPU_SHARE_MAX = 0.01
WAKES_MAX = 150
MEMORY_MAX = 60 << 20


def cpu_and_wakes(daemon):
    """Of all its threads: seconds, exact (`stat` counts the ticks that met one running), and wakes."""
    tasks = pathlib.Path(f"/proc/{daemon.pid}/task")
    stats = [(task / "schedstat").read_text().split() for task in tasks.iterdir()]
    return sum(int(s[0]) for s in stats) / 1e9, sum(int(s[2]) for s in stats)


# Measures the CPU seconds of waking up and going to sleep again on this machine, by a loop that does nothing
# else.
WAKES = """
import time
def cpu(): return int(open("/proc/self/schedstat").read().split()[0])
before = cpu()
for _ in range(%d): time.sleep(0.02)
print((cpu() - before) / 1e9 / %d)
"""
WAKE_SECONDS = 20e-6  # on a machine at rest


def measure(daemons, record_property):
    """A busy host takes 100 us and more from whoever wakes up, and calls it ours: that is taken off."""
    before, began = [cpu_and_wakes(daemon) for daemon in daemons], time.monotonic()
    count = SECONDS * 50
    wake = float(subprocess.run([sys.executable, "-c", WAKES % (count, count)], capture_output=True,
                                text=True, check=True).stdout)
    seconds = time.monotonic() - began
    for daemon, (cpu, wakes) in zip(daemons, before):
        cpu_after, wakes_after = cpu_and_wakes(daemon)
        wakes = (wakes_after - wakes) / seconds
        seen = (cpu_after - cpu) / seconds
        share = seen - wakes * max(0, wake - WAKE_SECONDS)
        memory = daemon.memory_bytes()
        record_property(daemon.name, {"cpu": seen, "wakes": wakes, "wake_s": wake,
                                      "memory_bytes": memory})
        print(f"{daemon.name}: {100 * seen:.2f} % of a core in {wakes:.0f} wakes a second, of "
              f"{1e6 * wake:.0f} us here: {100 * share:.2f} %; {memory / (1 << 20):.1f} MiB")
        assert share < CPU_SHARE_MAX, f"{daemon.name} used {100 * share:.2f} % of a core"
        assert wakes < WAKES_MAX, f"{daemon.name} woke {wakes:.0f} times a second"
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
