#!/usr/bin/env python3
"""Records README's terminal pictures: real daemons and commands in pseudo-terminals, as they ran.

usage: record_picture.py TROUPE MODEL [SCENE...]

Types into shells of its own, in a temporary home, notes when each piece of output came, and writes
docs/SCENE.svg. No pause is shortened, no output left out. On a machine with other work,
`chrt -r 20 tools/dev/record_picture.py ...` keeps the daemons from waiting for it.
"""
import codecs
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time

import ports
from terminal_picture import picture

COLUMNS = 92
KEY_SECONDS = 0.03
READY = "\x1b]0;ready\x07"  # the prompt says so; a terminal takes it for its title
PATIENCE_SECONDS = 60
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Pane:
    """A shell in a pseudo-terminal of its own; records what it wrote, and when."""

    def __init__(self, title, rows, env, folder, began):
        self.title, self.rows, self.began = title, rows, began
        self.events, self.text = [], ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"], env)
        termios.tcsetwinsize(self.fd, (rows, COLUMNS))
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.wait_for(READY)

    def _read(self):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            try:
                part = os.read(self.fd, 4096)
            except OSError:  # the shell has ended
                return
            if not part:
                return
            text = decoder.decode(part)
            self.events.append([time.monotonic() - self.began, text])
            self.text += text

    def wait_for(self, what, after=0):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while what not in self.text[after:]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what!r} did not come in {self.title!r}: {self.text[-500:]!r}")
            time.sleep(0.005)

    def type(self, command):
        for key in command:
            os.write(self.fd, key.encode())
            time.sleep(KEY_SECONDS)

    def enter(self):
        """Types the rest of the command's line; returns where its output begins."""
        time.sleep(0.2)
        mark = len(self.text)
        os.write(self.fd, b"\n")
        return mark

    def do(self, command, pause=0.7):
        self.type(command)
        self.wait_for(READY, self.enter())
        time.sleep(pause)

    def close(self):
        os.kill(self.pid, signal.SIGHUP)
        os.waitpid(self.pid, 0)
        self.reader.join()
        os.close(self.fd)

    def recorded(self):
        return {"title": self.title, "columns": COLUMNS, "rows": self.rows, "events": self.events}


class Stage:
    """A home with the model in its store, an address, and the shells that play on it."""

    def __init__(self, troupe, model):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-picture-"))
        (self.folder / ".troupe").mkdir()
        where = subprocess.run([troupe, "pull", model], check=True, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()
        (self.folder / ".troupe" / "store").symlink_to(pathlib.Path(where).resolve().parent.parent)
        self.model = model
        self.port = ports.first_free(range(7740, 9700, 40), daemons=3)
        if self.port is None:
            sys.exit("no free ports between 7740 and 9700: end what listens there")
        self.cluster = f"127.0.0.1:{self.port}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TROUPE_")}
        self.env = {**kept, "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder),
                    "PATH": f"{pathlib.Path(troupe).resolve().parent}:{os.environ['PATH']}",
                    "PS1": r"\[" + READY.replace("\x1b", r"\e").replace("\x07", r"\a") +
                           r"\e[32m\]$\[\e[0m\] ",
                    "TERM": "xterm", "LANG": "C.UTF-8"}
        self.panes, self.began = [], time.monotonic()

    def pane(self, title, rows):
        self.panes.append(Pane(title, rows, self.env, self.folder, self.began))
        return self.panes[-1]

    def starts(self):
        """The three commands that start the daemons, as a person types them."""
        head = f"troupe start --daemon --home head --threads 1 --listen {self.cluster}"
        return [f"{head} --name head > join"] + [
            f"$(cat join) --daemon --home {name} --threads 1 --listen 127.0.0.1:{port} "
            f"--name {name}" for name, port in (("a", self.port + 10), ("b", self.port + 20))]

    def start_again(self):
        self.began = time.monotonic()
        for pane in self.panes:
            pane.began = self.began

    def close(self):
        for pane in self.panes:
            pane.close()
        for name in ("b", "a", "head"):
            if (self.folder / name / "daemon.pid").exists():
                subprocess.run(["troupe", "stop", "--home", name], cwd=self.folder, env=self.env,
                               check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)


def three_nodes(stage):
    """Starts three daemons, which answer."""
    shell = stage.pane("three daemons on one machine, a third of the layers each", 34)
    for command in stage.starts():
        shell.do(command)
    shell.do(f"export TROUPE_CLUSTER={stage.cluster}", 0.3)
    shell.do(f'troupe run {stage.model} "Why is the sky blue?" --layers 0-9,10-19,20-29 -n 80', 1.5)
    shell.do("troupe status", 0.1)
    return "Three daemons are started, and write one answer with a third of the layers each"


def killed_node(stage):
    """Kills one of three daemons in the middle of an answer, which goes on."""
    for command in stage.starts():
        subprocess.run(command, shell=True, cwd=stage.folder, env=stage.env, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stage.env["TROUPE_CLUSTER"] = stage.cluster
    ask = f'troupe run {stage.model} "Why do we dream?" --temperature 0.7 --seed 3'
    subprocess.run(f"{ask} --layers 0-9,10-19,20-29", shell=True, cwd=stage.folder, env=stage.env,
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answer = stage.pane("who asks", 17)
    other = stage.pane("another terminal: a node is killed", 16)
    stage.start_again()
    for pane in stage.panes:  # the first prompt is part of the picture
        pane.events[:] = [[0.0, pane.text]]
    other.do("troupe nodes", 0.3)
    other.type("kill -9 $(cat b/daemon.pid); sleep 1; troupe nodes")
    answer.type(f"{ask} 2> log | tee answer")
    mark = answer.enter()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(answer.text) < mark + 400 and time.monotonic() < deadline:
        time.sleep(0.005)
    seen = other.enter()
    struck = time.monotonic() - stage.began
    if READY in answer.text[mark:]:
        raise RuntimeError("the answer had ended before the node was killed")
    answer.wait_for(READY, mark)
    other.wait_for(READY, seen)
    after = [when for when, _ in answer.events if when > struck]
    print(f"{len(answer.text) - mark} characters; longest pause after the kill "
          f"{max(b - a for a, b in zip([struck, *after], after)):.2f} s")
    time.sleep(1)
    other.do(f"{ask} --cluster none 2> log | cmp - answer && echo the same bytes", 0.1)
    if not any("the same bytes\r" in text for _, text in other.events):
        raise RuntimeError(f"the answers differ, or the proof did not run: {other.text[-500:]!r}")
    return "A node is killed in the middle of an answer, which goes on with the same bytes"


SCENES = {"three-nodes": three_nodes, "killed-node": killed_node}


def main():
    if len(sys.argv) < 3 or not set(sys.argv[3:]) <= set(SCENES):
        sys.exit(f"{__doc__}\nscenes: {', '.join(SCENES)}")
    for name in sys.argv[3:] or SCENES:
        stage = Stage(sys.argv[1], sys.argv[2])
        try:
            label = SCENES[name](stage)
            panes = [pane.recorded() for pane in stage.panes]
        finally:
            stage.close()
        path = ROOT / "docs" / f"{name}.svg"
        path.write_text(picture(panes, label))
        seconds = max(pane["events"][-1][0] for pane in panes)
        print(f"{path}: {path.stat().st_size} bytes, {seconds:.1f} s")


if __name__ == "__main__":
    main()
