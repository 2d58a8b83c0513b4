"""What a run takes of the machine: memory within its bound, the CPUs that it may use."""
import os
import sys

import pytest

import harness

sys.path.insert(0, str(harness.ROOT / "tools" / "bench"))
import memory  # noqa: E402  (after the path is set)


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_the_file_the_keys_and_values_and_64_mib(alone, threads):
    """At any moment: a tied embedding is there once, and file pages go as they are packed."""
    found = memory.report(harness.TROUPE, harness.MODEL, prompt=700, tokens=68, threads=threads,
                          env=alone.env)
    assert found["file"] == os.path.getsize(harness.MODEL)
    assert found["kv"] == 768 * 30 * 2 * 3 * 64 * 2
    assert found["loaded"] > found["file"] // 2
    assert max(found["loaded"], found["peak"]) <= found["bound"], found


def test_an_affinity_mask_sets_the_number_of_threads(alone):
    one = min(os.sched_getaffinity(0))
    found = alone.json("doctor", preexec_fn=lambda: os.sched_setaffinity(0, {one}))
    assert found["cpu"]["usable"] == 1
