"""GPUs of a daemon as processes and nodes of their own. The program is the one in which "cuda:0" is an
emulated card: what it computes is the CPU's, bit for bit, and so are answers that change between both."""
import json
import os
import signal
import threading

import pytest

import harness
from tiny_folder import Folder

EMULATED = os.environ.get("TROUPE_EMULATED_BIN", "")
GREEDY, DRAWN = (), ("--temperature", "0.9", "--seed", "7", "--repeat-penalty", "1.2")


@pytest.fixture(scope="module", autouse=True)
def emulated():
    assert EMULATED, "TROUPE_EMULATED_BIN is not set"
    before, harness.TROUPE = harness.TROUPE, EMULATED
    yield
    harness.TROUPE = before


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Folder(tmp_path_factory.mktemp("model") / "tiny", context=512).path


@pytest.fixture
def place(tmp_path):
    place = harness.Place(tmp_path)
    yield place
    place.close()


def pid_of(daemon, device="cuda0"):
    return int((daemon.home / "devices" / device / "daemon.pid").read_text())


def members(place, head):
    return {name: node for name, node in place.nodes(head).items() if node["state"] == "ready"}


def answer(place, model, head, *flags):
    return place.json("run", model, "Once upon a time", "--raw", "-n", 120, "--cluster",
                      head.address if head else "none", *flags)["text"]


def test_a_gpu_that_is_killed_in_mid_answer(place, model):
    """Layers on a CPU and on a GPU; kill -9 of the GPU's process; it comes back as the same node."""
    want = {flags: answer(place, model, None, *flags) for flags in (GREEDY, DRAWN)}
    head = place.start("head", "--head", flags=("--device", "cuda:0,cpu"))
    assert sorted(members(place, head)) == ["head", "head-cuda0"]
    first = members(place, head)["head-cuda0"]
    assert first["isa"] == "cuda emulated"
    assert members(place, head)["head"]["isa"] != "cuda emulated"
    layers, replays = ("--layers", "0,1"), 0
    for flags in (GREEDY, DRAWN):
        assert answer(place, model, head, *flags, *layers) == want[flags]
        pid, texts = pid_of(head), []
        asking = threading.Thread(target=lambda f=flags: texts.append(answer(place, model, head, *f, *layers)))
        asking.start()
        harness.wait_until("the answer has begun", lambda: any(
            one["running"] for one in place.json("status", "--cluster", head.address)["deployments"]))
        os.kill(pid, signal.SIGKILL)
        asking.join(60)
        assert texts == [want[flags]]
        replays, before = place.json("status", "--cluster", head.address)["counters"]["replays"], replays
        assert replays > before, "the GPU was killed before or after the answer"
        harness.wait_until("the GPU's node is back",
                           lambda p=pid: "head-cuda0" in members(place, head) and pid_of(head) != p)
    assert head.alive() and "the node of cuda:0 has ended: starting it again" in head.said()
    pid = pid_of(head)
    assert head.stop() == 0
    harness.wait_until("the GPU's process is gone", lambda: not os.path.exists(f"/proc/{pid}"))


def test_a_head_survives_its_only_gpu_and_does_not_outlive_itself(place, model):
    head = place.start("head", "--head", flags=("--device", "cuda:0"))
    nodes = members(place, head)
    assert sorted(nodes) == ["head", "head-cuda0"]
    assert answer(place, model, head) == answer(place, model, None)
    assert (head.home / "devices" / "cuda0" / "store").is_symlink()
    first = pid_of(head)
    os.kill(first, signal.SIGKILL)
    harness.wait_until("the GPU's node is back",
                       lambda: "head-cuda0" in members(place, head) and pid_of(head) != first)
    assert answer(place, model, head) == answer(place, model, None)
    # The daemon aborts, and at its next start the GPU cannot be used yet: the head works at once, and the GPU's node
    # joins later.
    devices = head.home / "devices"
    devices.rename(head.home / "away")
    devices.write_text("")
    before = head.pid
    head.signal(signal.SIGABRT)
    harness.wait_until("the head is back", lambda: int((head.home / "daemon.pid").read_text()) != before)
    assert place.json("nodes", "--cluster", head.address)["nodes"]
    devices.unlink()
    (head.home / "away").rename(devices)
    harness.wait_until("the GPU is back", lambda: "head-cuda0" in members(place, head))
    head.pid = int((head.home / "daemon.pid").read_text())
    pid = pid_of(head)
    head.kill()
    harness.wait_until("the GPU's process dies with its daemon", lambda: not os.path.exists(f"/proc/{pid}"))


def test_a_node_brings_its_gpu_with_the_same_token(place, model):
    head = place.start("head", "--head")
    token = place.json("key", "new", "--uses", 2, "--cluster", head.address)["token"]
    node = place.start("node", "--join", token, flags=("--device", "cpu,cuda:0"))
    assert sorted(members(place, head)) == ["head", "node", "node-cuda0"]
    node.stop()
    harness.wait_until("both have left", lambda: sorted(members(place, head)) == ["head"])
    again = place.start("node", flags=("--device", "cpu,cuda:0"), port=node.port)
    assert sorted(members(place, head)) == ["head", "node", "node-cuda0"]
    again.stop()
    # A token for one use lets only the node in.
    single = place.json("key", "new", "--cluster", head.address)["token"]
    refused = place.troupe("start", "--home", place.folder / "other", "--name", "other", "--join", single,
                           "--device", "cpu,cuda:0", "--json")
    assert refused.status != 0
    error = json.loads(refused.out.splitlines()[0])["error"]["message"]
    assert error.startswith("cuda:0: ") and "token" in error


@pytest.mark.parametrize("devices, words", [
    ("cuda:7,cpu", "there is one emulated GPU, cuda:0"), ("cuda:0,cuda:0", "names cuda:0 twice"),
    ("cuda:0,gpu", "is not a device; choose cpu, or a GPU such as cuda:0"), ("cpu,,cuda:0", "has an empty name between commas")])
def test_devices_that_cannot_be(place, devices, words):
    refused = place.troupe("start", "--head", "--home", place.folder / "h", "--listen",
                           f"127.0.0.1:{harness.free_port()}", "--device", devices)
    assert refused.status != 0
    assert words in refused.err, str(refused)
    assert refused.out == ""
