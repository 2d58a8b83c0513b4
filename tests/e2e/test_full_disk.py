"""A node's disk is full: while its layers are fetched, and while copies of other nodes' are."""
import subprocess

import pytest

import harness
from test_failure import PROMPT, THIRDS, stages, wait_until

WORDS = (PROMPT, "--raw", "-n", 4, "--layers", THIRDS)


@pytest.fixture
def small_disk(tmp_path):
    """Puts a file system of its own under a node's home; says how to change its size."""
    mounted = []

    def mount(name, megabytes):
        home = tmp_path / name
        home.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}M", "tmpfs", home],
                          check=False, stderr=subprocess.DEVNULL).returncode != 0:
            pytest.skip("a disk of its own cannot be mounted here")
        mounted.append(home)

        def resize(size):
            subprocess.run(["mount", "-o", f"remount,size={size}M", home], check=True)
        return resize

    yield mount
    for home in mounted:
        subprocess.run(["umount", "--lazy", home], check=False)


def test_a_full_disk_while_layers_are_fetched(tmp_path, small_disk, alone):
    """The others answer; nothing half-fetched is taken for whole when there is room again."""
    resize = small_disk("node-1", 8)
    cluster = harness.Cluster(tmp_path, 2)
    try:
        expected = alone.json("run", harness.MODEL, *WORDS[:-2])["token_ids"]
        answer = cluster.run(*WORDS)
        assert answer["token_ids"] == expected
        assert "node-1" not in {stage["name"] for stage in answer["nodes"]}
        assert "space" in cluster.head.said() or "full" in cluster.head.said()
        assert cluster.nodes[0].alive()
        resize(300)
        cluster.place.json("unload", harness.MODEL, "--cluster", cluster.head.address)
        again = cluster.run(*WORDS)
        assert again["token_ids"] == expected
        assert {stage["name"] for stage in again["nodes"]} == {"head", "node-1", "node-2"}
    finally:
        cluster.close()


def test_a_full_disk_while_copies_are_made(tmp_path, small_disk):
    """Answers do not mind; the copies are there soon after there is room."""
    resize = small_disk("node-1", 40)
    cluster = harness.Cluster(tmp_path, 2)
    try:
        cluster.run(*WORDS)
        wait_until("no copy failed", lambda: "no copies of other" in cluster.nodes[0].said())
        assert any(stage["disks"] < 2 for stage in stages(cluster))
        assert len(cluster.run(*WORDS)["nodes"]) == 3
        resize(300)
        wait_until("no copies were made",
                   lambda: all(stage["disks"] >= 2 for stage in stages(cluster)), timeout=40)
    finally:
        cluster.close()


def test_people_are_told_of_a_disk_that_is_nearly_full(tmp_path, small_disk):
    """`status`, `nodes` and `doctor` name the node, its folder and what helps; then they are silent again."""
    resize = small_disk("node-1", 300)
    cluster = harness.Cluster(tmp_path, 1)
    try:
        def troubles():
            return cluster.place.nodes(cluster.head)["node-1"]["troubles"]
        wait_until("the head does not know", troubles)
        assert [text for text in troubles() if str(tmp_path / "node-1") in text and "nearly full" in text]
        said = cluster.place.troupe("status", "--cluster", cluster.head.address).out
        assert "node node-1: the disk of" in said, said
        found = cluster.place.json("doctor", "--home", cluster.head.home)
        assert found["cluster"]["answers"] and found["cluster"]["nodes"] == 2
        assert any(text.startswith("node node-1: the disk of") for text in found["missing"]), found
        assert "is nearly full" in cluster.nodes[0].said()
        resize(4000)
        wait_until("the head still tells of it", lambda: not troubles())
    finally:
        cluster.close()
