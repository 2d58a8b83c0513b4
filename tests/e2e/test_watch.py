"""`troupe status --watch`: in place on a terminal, block after block elsewhere."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

import harness
from terminal import Terminal

pytestmark = pytest.mark.no_model


def test_in_a_terminal(place):
    head = place.start("head", "--head")
    terminal = Terminal(place, "status", "--watch", "--interval", "0.2", "--cluster", head.address)
    first = terminal.read_until(r"no model is loaded")
    assert "\x1b[?25l\x1b[2J" in first, "the screen is cleared once"
    assert re.search(r"NODE +STATE +LAYERS +WEIGHTS +KV +POSITIONS/S", first)
    assert re.search(r"head +ready", first)
    second = terminal.read_until(r"no model is loaded")
    assert "\x1b[H" in second and "\x1b[2J" not in second, "then it is drawn in place"
    place.start("late", "--join", head.join)
    terminal.read_until(r"late +ready", 10)
    terminal.write("\x03")
    terminal.read_until(r"\x1b\[\?25h")
    assert terminal.end() == 0


def test_a_narrow_terminal(place):
    """Lines are cut, never wrapped: a frame has as many lines as it says."""
    import fcntl
    import struct
    import termios
    head = place.start("head", "--head")
    terminal = Terminal(place, "status", "--watch", "--interval", "0.2", "--cluster", head.address)
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 30, 0, 0))
    terminal.read_until(r"\x1b\[J")
    time.sleep(0.5)
    terminal.read_until(r"\x1b\[H")
    frame = terminal.read_until(r"\x1b\[J")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame)
    lines = [line.rstrip("\r") for line in plain.split("\n")]
    assert len(lines) <= 5 and max(map(len, lines)) <= 30, lines
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end() == 0


def watch(place, head, *flags):
    return place.spawn("status", "--watch", "--interval", "0.3", "--cluster", head.address, *flags,
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_blocks_elsewhere(place):
    head = place.start("head", "--head")
    shown = watch(place, head)
    time.sleep(1.5)
    shown.send_signal(signal.SIGINT)
    out, _ = shown.communicate(timeout=10)
    assert shown.returncode == 0
    assert "\x1b" not in out
    assert 3 <= out.count("NODE ") <= 7
    assert out.count("\n\n") >= 3


def test_objects(place):
    head = place.start("head", "--head")
    shown = watch(place, head, "--json")
    lines = [json.loads(shown.stdout.readline()) for _ in range(3)]
    shown.terminate()
    assert shown.wait(10) == 0
    assert [line["role"] for line in lines] == ["head"] * 3


def test_a_head_that_goes_and_comes_back(place):
    head = place.start("head", "--head")
    shown = watch(place, head)
    shown.stdout.readline()
    head.kill()
    time.sleep(2)
    place.start("head", "--head", port=head.port)
    time.sleep(2.5)
    shown.terminate()
    out, _ = shown.communicate(timeout=10)
    trouble = out.index("trying again")
    assert "head  " in out[trouble:], out[-1500:]


def test_nobody_to_watch(place):
    outcome = place.troupe("status", "--watch", "--cluster", "127.0.0.1:9", timeout=20)
    assert outcome.status == 1 and "127.0.0.1:9" in outcome.err
    assert place.troupe("status", "--watch", "--interval", "0").status == 2
