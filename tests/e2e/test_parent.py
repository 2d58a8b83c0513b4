"""The process above a daemon: it starts again what aborted, nothing else, and passes signals on."""
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

import harness
from streams import Batch, Expected
from test_background import alive, wait_gone
from test_jobs import write_job

CRASHES = [signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS]
THIRDS = "0-9,10-19,20-29"


def pid_of(home):
    try:
        return int((home / "daemon.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


def wait_for_another(home, before, seconds=20):
    """The process id of the daemon that took the place of `before`."""
    harness.wait_until("no daemon was started again", lambda: pid_of(home) not in (None, before), seconds)
    return pid_of(home)


def child_of(pid):
    return [int(word) for word in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def crash(daemon, number):
    """Ends a daemon by this signal. Seconds until another process was there; the harness knows it."""
    before, began = daemon.pid, time.monotonic()
    daemon.signal(number)
    while child_of(daemon.process.pid) in ([], [before]):
        assert daemon.alive(), daemon.said()[-2000:]
        assert time.monotonic() - began < 10
        time.sleep(0.01)
    seconds = time.monotonic() - began
    daemon.pid = wait_for_another(daemon.home, before)
    return seconds


def is_ready(place, head, name):
    node = place.nodes(head).get(name)  # a head that has just begun may not know the node yet
    return node is not None and node["state"] == "ready"


@pytest.mark.no_model
def test_a_daemon_that_aborts_is_started_again(place):
    head = place.start("head", "--head", "--no-work")
    node = place.start("node", "--join", head.join)
    for number in CRASHES:
        assert crash(head, number) < 1
        harness.wait_until("the node is not back", lambda: is_ready(place, head, "node"))
        assert json.loads((head.home / "daemon.json").read_text())["pid"] == head.pid
    assert crash(node, signal.SIGABRT) < 1
    harness.wait_until("the node is not back", lambda: is_ready(place, head, "node"))
    # The token that lets nodes in was printed once, and is still valid.
    assert head.said().count("is ready again") == 3
    assert "was ended by SIGABRT: starting it again" in head.said()
    place.start("late", "--join", head.join)
    assert place.troupe("stop", "--home", head.home).status == 0
    assert head.process.wait(5) == 0
    assert head.process.stdout.read() == b""


@pytest.mark.no_model
def test_a_daemon_that_aborts_again_and_again_is_given_up(place):
    head = place.start("head", "--head", "--no-work")
    for _ in range(4):
        crash(head, signal.SIGABRT)
    head.signal(signal.SIGABRT)
    assert head.process.wait(10) == -signal.SIGABRT
    assert "for the 5th time within a minute: giving up" in head.said()


@pytest.mark.no_model
def test_what_must_not_come_back(place):
    """SIGKILL, a stop, and a failure before the daemon was ready."""
    head = place.start("head", "--head", "--no-work")
    head.signal(signal.SIGKILL)
    assert head.process.wait(5) == -signal.SIGKILL
    assert "again" not in head.said()
    head = place.start("head", "--head", "--no-work", port=head.port)
    head.process.terminate()
    assert head.process.wait(5) == 0 and not alive(head.pid)
    taken = place.start("other", "--head", "--no-work")
    outcome = place.troupe("start", "--head", "--home", place.folder / "third", "--listen", taken.address)
    assert outcome.status == 1 and "in use" in outcome.err and "again" not in outcome.err, str(outcome)
    assert place.troupe("start", "--head", "--join", "x@y:1").status == 2


@pytest.mark.no_model
def test_signals_reach_the_daemon_once(place):
    """Ctrl-C reaches the whole foreground group, and three of them end a daemon at once."""
    head = place.spawn("start", "--json", "--listen", f"127.0.0.1:{harness.free_port()}", "--home",
                       place.folder / "head", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       start_new_session=True)
    pid = json.loads(head.stdout.readline())["ready"]["pid"]
    assert child_of(head.pid) == [pid]
    head.send_signal(signal.SIGTSTP)
    state = pathlib.Path(f"/proc/{pid}/stat")
    harness.wait_until("Ctrl-Z did not stop the daemon",
                       lambda: state.read_text().rpartition(")")[2].split()[0] == "T", 5)
    head.send_signal(signal.SIGCONT)
    harness.wait_until("fg did not continue the daemon",
                       lambda: state.read_text().rpartition(")")[2].split()[0] != "T", 5)
    os.killpg(head.pid, signal.SIGINT)
    _, err = head.communicate(timeout=10)
    assert head.returncode == 0, err
    wait_gone(pid, 2)


@pytest.mark.no_model
def test_a_daemon_dies_with_its_parent(place):
    head = place.start("head", "--head", "--no-work")
    head.process.kill()
    wait_gone(head.pid, 5)


@pytest.mark.no_model
def test_in_the_background(place):
    """The log goes on in the same file, and nobody waits at the terminal for the second one."""
    home = place.folder / "head"
    outcome = place.troupe("start", "--daemon", "--no-work", "--home", home, "--listen",
                           f"127.0.0.1:{harness.free_port()}", timeout=60)
    assert outcome.status == 0, str(outcome)
    first = pid_of(home)
    try:
        (home / "log").rename(home / "log.old")
        os.kill(first, signal.SIGHUP)
        harness.wait_until("no new log", lambda: (home / "log").exists())
        os.kill(first, signal.SIGABRT)
        second = wait_for_another(home, first)
        harness.wait_until("it is not ready", lambda: "is ready again" in (home / "log").read_text())
        log = (home / "log").read_text()
        assert "was ended by SIGABRT: starting it again" in log and "trp-" not in log
        assert os.readlink(f"/proc/{second}/fd/2") == str(home / "log")
    finally:
        stopped = place.troupe("stop", "--home", home)
    assert stopped.status == 0, str(stopped)
    wait_gone(second)


@pytest.mark.no_model
@pytest.mark.parametrize("env", [{"INVOCATION_ID": "5f"}, {"INVOCATION_ID": "5f", "SYSTEMD_EXEC_PID": "1"}])
def test_systemd_is_the_only_parent(place, env):
    """INVOCATION_ID is inherited by shells, SYSTEMD_EXEC_PID says for which process it was."""
    head = place.start("head", "--head", "--no-work", env=env)
    assert (head.pid == head.process.pid) == (len(env) == 1)


def test_answers_and_jobs_go_on(tmp_path, alone):
    """SIGABRT of the head, then of a node, under eight answers and a job: no byte differs."""
    cluster = harness.Cluster(tmp_path, 2)
    try:
        cluster.run("hi", "-n", 1, "--layers", THIRDS)
        at = ("--cluster", cluster.head.address)
        lines = [{"prompt": f"Number {i}:", "id": i} for i in range(16)]
        job = write_job(tmp_path / "job", lines, layers=THIRDS, max_tokens=24)
        expected = Expected(alone)
        batch = Batch(cluster, 120, "--layers", THIRDS)
        assert cluster.place.troupe("submit", job, "--id", "j", *at).status == 0
        batch.wait_for_text(200)
        seconds = [crash(cluster.head, signal.SIGABRT)]
        harness.wait_until("a node is not back", lambda: all(
            node["state"] == "ready" for node in cluster.place.nodes(cluster.head).values()))
        written = sum(len(stream.text) for stream in batch.streams)
        batch.wait_for_text(written + 100)
        seconds.append(crash(cluster.nodes[0], signal.SIGABRT))
        expected.check(batch)
        assert max(seconds) < 1, seconds
        waited = cluster.place.troupe("wait", "j", *at)
        assert waited.status == 0, str(waited)
        for line, answer in zip(lines, map(json.loads, waited.out.splitlines()), strict=True):
            want = alone.json("run", harness.MODEL, line["prompt"], "--raw", "-n", 24)
            assert answer["text"] == want["text"] and answer["id"] == line["id"]
    finally:
        cluster.close()
