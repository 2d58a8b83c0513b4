"""Real daemons on loopback for the end-to-end tests: started, asked and ended by their own ids.

TROUPE_BIN is the program; TROUPE_TEST_MODEL the path of SmolLM2-135M-Instruct.Q4_1.gguf.
"""
import json
import os
import pathlib
import random
import select
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "dev"))
import ports  # noqa: E402  (after the path is set)

TROUPE = os.environ.get("TROUPE_BIN", str(ROOT / "build" / "release" / "troupe"))
BUILD = pathlib.Path(os.environ.get("TROUPE_BUILD_DIR", ROOT / "build" / "release"))
MODEL = os.environ.get("TROUPE_TEST_MODEL", "")
GPL = "/usr/share/common-licenses/GPL-3"
LAYERS = 30
CHANNELS = 576
READY_SECONDS = 60
ANSWER_SECONDS = 300


def free_port():
    """The first of three free ports in a row."""
    port = ports.first_free(random.randrange(20000, 30000, 4) for _ in range(1000))
    if port is None:
        raise RuntimeError("no three free ports in a row between 20000 and 30000")
    return port


def has_bytes(file, seconds):
    """Waits until the file can be read, or has ended. (Unlike select, poll takes any descriptor.)"""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


class Outcome:
    """How one command ended."""

    def __init__(self, words, done, seconds):
        self.words, self.seconds = words, seconds
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __str__(self):
        return (f"`troupe {' '.join(map(str, self.words))[:300]}` ended with {self.status} after "
                f"{self.seconds:.1f} s\nstdout: {self.out[-1000:]}\nstderr: {self.err[-3000:]}")


def wait_until(what, condition, timeout=30):
    """Returns once condition() holds; fails with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


class Place:
    """A machine as far as troupe can see: a folder for homes, its own run-time folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        # A test may run below a service of systemd, which is not the parent of its daemons.
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith("TROUPE_") and k not in ("INVOCATION_ID", "NOTIFY_SOCKET")}
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700, exist_ok=True)
        self.env["XDG_RUNTIME_DIR"] = str(runtime)
        self.env["HOME"] = str(self.folder)
        self.env["TROUPE_HOME"] = str(self.folder / "client")
        self.processes = []
        self.inside = ()  # words before every command: the namespace that clients run in

    def troupe(self, *words, env=None, timeout=ANSWER_SECONDS, **more):
        """Runs the program to its end. `input` (text) is its stdin, nothing otherwise."""
        if "input" not in more:
            more["stdin"] = subprocess.DEVNULL
        began = time.monotonic()
        done = subprocess.run([*self.inside, TROUPE, *map(str, words)], env={**self.env, **(env or {})}, text=True,
                              encoding="utf-8", errors="replace", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, check=False, **more)
        return Outcome(words, done, time.monotonic() - began)

    def json(self, *words, **more):
        """The one object that a command which succeeds prints with --json."""
        outcome = self.troupe(*words, "--json", **more)
        assert outcome.status == 0, str(outcome)
        lines = outcome.out.splitlines()
        assert len(lines) == 1, f"one object was expected on stdout: {outcome}"
        return json.loads(lines[0])

    def nodes(self, head):
        """By name, the nodes of a head's cluster as `troupe nodes` tells them."""
        return {node["name"]: node for node in self.json("nodes", "--cluster", head.address)["nodes"]}

    def spawn(self, *words, env=None, inside=None, **more):
        """Starts the program and returns its Popen; close() ends it."""
        more.setdefault("stdin", subprocess.DEVNULL)
        command = [*(self.inside if inside is None else inside), TROUPE, *map(str, words)]
        process = subprocess.Popen(command, env={**self.env, **(env or {})}, **more)
        self.processes.append(process)
        return process

    def start(self, name, *words, port=None, env=None, threads=1, host="127.0.0.1", inside=None,
              flags=()):
        return Daemon(self, name, port or free_port(), (*words, *flags), env, threads, host, inside)

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Daemon:
    """One `troupe start`, ready when the constructor returns."""

    def __init__(self, place, name, port, flags, env, threads, host, inside):
        self.name, self.port, self.place = name, port, place
        self.address = f"{host}:{port}"
        self.home = place.folder / name
        self.log = place.folder / (name + ".log")
        with open(self.log, "ab") as log:
            self.process = place.spawn(
                "start", "--json", "--home", self.home, "--name", name, "--threads", threads,
                "--listen", self.address, *flags, env=env, inside=inside, stdout=subprocess.PIPE, stderr=log)
        line = self.process.stdout.readline() if has_bytes(self.process.stdout, READY_SECONDS) else b""
        if not line:
            self.process.kill()
            raise AssertionError(f"daemon {name} was not ready: {self.said()[-2000:]}")
        self.ready = json.loads(line)["ready"]
        self.join = self.ready["join"]
        # `process` is the daemon's parent: it passes on the signals that end a daemon, and ends when the daemon does.
        self.pid = self.ready["pid"]

    def said(self):
        return self.log.read_text(errors="replace")

    def alive(self):
        return self.process.poll() is None

    def memory_bytes(self, field="VmRSS"):
        """What /proc says of the process's memory."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith(field + ":")]
        return int(line.split()[1]) * 1024

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        if self.alive():
            self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, patience=8):
        self.process.terminate()
        return self.process.wait(patience)


class Cluster:
    """A head and its nodes; `envs` gives each daemon its environment, the head first. On a
    `network` (namespaces.py) each has a machine of its own, and clients run on the head's."""

    def __init__(self, folder, nodes, envs=(), threads=(), head_flags=(), network=None):
        self.place = Place(folder)
        self.network = network
        if network:
            self.place.inside = network.inside(0)
        env = list(envs) + [None] * (nodes + 1 - len(envs))
        count = list(threads) + [1] * (nodes + 1 - len(threads))
        try:
            self.head = self.place.start("head", "--head", *head_flags, env=env[0],
                                         threads=count[0], **self.machine(0))
            self.nodes = [self.place.start(f"node-{i}", "--join", self.head.join, env=env[i],
                                           threads=count[i], **self.machine(i))
                          for i in range(1, nodes + 1)]
        except BaseException:
            self.place.close()
            raise

    def machine(self, i):
        """Where daemon i runs, as arguments of Place.start; the head is 0."""
        if not self.network:
            return {}
        return {"host": self.network.host(i), "inside": self.network.inside(i)}

    def run(self, *words, **more):
        return self.place.json("run", MODEL, *words, "--cluster", self.head.address, **more)

    def status(self):
        return self.place.json("status", "--cluster", self.head.address)

    def daemons(self):
        return [self.head, *self.nodes]

    def close(self):
        self.place.close()


def ids_flag(ids):
    return ("--prompt-ids", ",".join(map(str, ids)))
