"""Daemons that leave their terminal, and what they tell a service manager."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

import harness

pytestmark = pytest.mark.no_model


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


@pytest.fixture
def detached(place):
    """Homes whose daemons are stopped at the end."""
    homes = []

    def start(name, *flags, **more):
        homes.append(place.folder / name)
        return place.troupe("start", "--daemon", "--home", homes[-1], "--name", name, "--threads", 1,
                            *flags, timeout=60, **more)

    yield start
    for home in homes:
        place.troupe("stop", "--home", home, timeout=20)


def test_a_head_and_a_node_in_the_background(place, detached):
    port = harness.free_port()
    began = time.monotonic()
    outcome = detached("head", "--listen", f"127.0.0.1:{port}")
    assert outcome.status == 0, str(outcome)
    # The join command is all of stdout, and the daemon was ready when it was printed.
    assert re.fullmatch(rf"troupe start --join \S+@127\.0\.0\.1:{port}\n", outcome.out)
    assert "head head is ready" in outcome.err
    assert time.monotonic() - began < 20
    home = place.folder / "head"
    pid = int((home / "daemon.pid").read_text())
    assert alive(pid) and os.getsid(pid) != os.getsid(0), "it has left our session"
    assert os.readlink(f"/proc/{pid}/cwd") == str(home)
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{pid}/fd/1") == os.readlink(f"/proc/{pid}/fd/2") == str(home / "log")
    assert (home / "log").stat().st_mode & 0o777 == 0o600
    join = outcome.out.split()[-1]
    node = detached("node", "--join", join, "--listen", f"127.0.0.1:{harness.free_port()}", "--json")
    assert node.status == 0, str(node)
    ready = json.loads(node.out)["ready"]
    assert ready["role"] == "node" and ready["pid"] == int(
        (place.folder / "node" / "daemon.pid").read_text())
    nodes = place.json("nodes", "--home", home)["nodes"]
    assert [entry["name"] for entry in nodes] == ["head", "node"]
    assert "node node joined" in (home / "log").read_text()
    assert place.troupe("stop", "--home", home).status == 0
    wait_gone(pid)
    assert not (home / "daemon.pid").exists()


def test_a_failure_is_the_parents(place, detached):
    port = harness.free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        outcome = detached("head", "--listen", f"127.0.0.1:{port}")
    assert outcome.status == 1 and outcome.out == "", str(outcome)
    assert f"127.0.0.1:{port + 1}" in outcome.err and "in use" in outcome.err
    again = detached("head", "--listen", f"127.0.0.1:{port}", "--json")
    assert again.status == 0, str(again)
    twice = detached("head", "--listen", f"127.0.0.1:{harness.free_port()}", "--json")
    assert twice.status == 1, str(twice)
    assert json.loads(twice.out)["error"]["code"] == "already_exists"


def test_a_daemon_that_dies_before_it_is_ready(place):
    """The parent says so, with what it ended by and where to look."""
    home = place.folder / "doomed"
    mute = socket.socket()
    mute.bind(("127.0.0.1", 0))
    mute.listen()
    head = place.start("head", "--head")
    token = head.join.partition("@")[0]
    parent = place.spawn("start", "--daemon", "--home", home, "--join",
                         f"{token}@127.0.0.1:{mute.getsockname()[1]}", "--listen",
                         f"127.0.0.1:{harness.free_port()}", stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    child = None
    while child is None:
        assert time.monotonic() < deadline
        listed = pathlib.Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        child = int(listed[0]) if listed and (home / "log").exists() else None
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    _, err = parent.communicate(timeout=10)
    mute.close()
    assert parent.returncode == 1
    assert b"signal 9" in err and str(home / "log").encode() in err, err


def test_hang_up_opens_the_log_anew(place, detached):
    """What rotates logs moves them away and sends SIGHUP: a daemon in the background stays."""
    outcome = detached("head", "--no-work", "--listen", f"127.0.0.1:{harness.free_port()}")
    assert outcome.status == 0, str(outcome)
    home = place.folder / "head"
    pid = int((home / "daemon.pid").read_text())
    for i in range(1, 4):
        (home / "log").rename(home / f"log.{i}")
        os.kill(pid, signal.SIGHUP)
        deadline = time.monotonic() + 5
        while not (home / "log").exists() or "opened anew" not in (home / "log").read_text():
            assert time.monotonic() < deadline and alive(pid)
            time.sleep(0.02)
        assert os.readlink(f"/proc/{pid}/fd/2") == str(home / "log")
        assert (home / "log").stat().st_mode & 0o777 == 0o600
    moved = (home / "log.3").read_text()
    assert place.troupe("nodes", "--home", home).status == 0
    assert place.troupe("stop", "--home", home).status == 0
    assert (home / "log.3").read_text() == moved


def test_a_log_that_grows_is_moved_aside(place, detached):
    outcome = detached("head", "--no-work", "--listen", f"127.0.0.1:{harness.free_port()}")
    assert outcome.status == 0, str(outcome)
    home = place.folder / "head"
    for _ in range(2):  # the older log is replaced
        with open(home / "log", "ab") as log:
            log.write(b"x" * (17 << 20))
        harness.wait_until("the log is not moved aside",
                           lambda: (home / "log").stat().st_size < 1000, 30)
    assert "it had grown" in (home / "log").read_text()
    assert sorted(path.name for path in home.glob("log*")) == ["log", "log.1"]
    assert (home / "log").stat().st_mode & 0o777 == 0o600
    assert place.troupe("stop", "--home", home).status == 0


def test_hang_up_ends_a_daemon_in_the_foreground(place):
    """As SIGTERM does: it says goodbye, and its files are gone."""
    head = place.start("head", "--head", "--no-work")
    node = place.start("node", "--join", head.join)
    node.process.send_signal(signal.SIGHUP)
    assert node.process.wait(8) == 0
    assert place.json("nodes", "--cluster", head.address)["nodes"][1]["state"] == "left"
    head.process.send_signal(signal.SIGHUP)
    assert head.process.wait(8) == 0
    assert not (head.home / "daemon.pid").exists()


def test_nohup_is_respected(place):
    head = place.start("head", "--head", "--no-work", inside=("nohup",))
    head.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert head.alive()
    assert place.troupe("nodes", "--cluster", head.address).status == 0


class Manager:
    """A service manager's socket, abstract or in the file system."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.name = name

    def messages(self, seconds):
        """Returns everything that comes within `seconds`."""
        until, got = time.monotonic() + seconds, []
        while (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                got.append(self.socket.recv(4096).decode())
            except TimeoutError:
                break
        return got

    def wait_for(self, word, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            message = self.socket.recv(4096).decode()
            if word in message.splitlines():
                return message
        raise AssertionError(f"{word} did not come")


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_is_told(place, abstract):
    name = f"@troupe-test-{os.getpid()}" if abstract else str(place.folder / "notify")
    manager = Manager(name)
    head = place.spawn("start", "--listen", f"127.0.0.1:{harness.free_port()}",
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                       env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "400000"})
    ready = manager.wait_for("READY=1")
    assert f"MAINPID={head.pid}" in ready
    assert head.stdout.readline().startswith(b"troupe start --join ")
    beats = manager.messages(1.1)
    assert 4 <= beats.count("WATCHDOG=1") <= 6, beats
    head.terminate()
    manager.wait_for("STOPPING=1")
    assert head.wait(10) == 0


def test_a_frozen_daemon_is_silent_to_the_watchdog(place):
    """What hangs must not look alive: nothing is said for it by a thread that does not."""
    manager = Manager(str(place.folder / "notify"))
    head = place.spawn("start", "--listen", f"127.0.0.1:{harness.free_port()}",
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                       env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"})
    manager.wait_for("WATCHDOG=1")
    head.send_signal(signal.SIGSTOP)
    manager.messages(0.2)
    assert manager.messages(1) == []
    head.send_signal(signal.SIGCONT)
    manager.wait_for("WATCHDOG=1", 5)


def test_the_unit_file():
    unit = (harness.ROOT / "tools" / "systemd" / "troupe.service").read_text()
    for line in ("Type=notify", "ExecStart=troupe start", "WatchdogSec=30"):
        assert line in unit.splitlines()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("gpu", [False, True])
def test_the_unit_gives_little_away(tmp_path, gpu):
    """What systemd makes of the unit, and of the unit with the drop-in for GPUs: under 3 of 10."""
    folder = harness.ROOT / "tools" / "systemd"
    shutil.copy(folder / "troupe.service", tmp_path)
    if gpu:
        (tmp_path / "troupe.service.d").mkdir()
        shutil.copy(folder / "gpu.conf", tmp_path / "troupe.service.d")
    said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=30",
                           str(tmp_path / "troupe.service")], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert said.returncode == 0, said.stdout[-3000:]
