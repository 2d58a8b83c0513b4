#!/usr/bin/env python3
"""Compares `troupe serve` with llama-server: the same chats in turn, while both servers are up.

usage: ratio_serve.py TROUPE LLAMA_SERVER SERVE_LOAD MODEL.gguf [--clients 16] [--requests 64]
         [--words 100] [--tokens 64] [--threads 2] [--rounds 5] [--rpc PEER_PYTHON] [--slow-fsync MS]
         [--system FILE] [--peer-cache]

LLAMA_SERVER is llama.cpp's server, built for the instruction set that TROUPE_ISA names; SERVE_LOAD is the
load generator (target serve_load). Each server has a slot for each client and room for all of them. With
--rpc, the layers lie on two workers of one thread each: ours a head with HTTP and a node, theirs two RPC
workers started by PEER_PYTHON (peer_llamacpp.py says how). With --slow-fsync, a third server is a head of
ours whose fsync and fdatasync take MS milliseconds longer, compared with the same head without. No prompt
is seen twice. --system FILE puts a system prompt before each chat, which ours shares between all keys;
--peer-cache lets llama-server keep prompts in its slots. Prints one JSON object: medians of both, the median
of the rounds' ratios (tokens/s: ours over theirs; first token: ours over theirs), and what ours spent
in its HTTP thread and its gateway for a token.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)

PEER = str(pathlib.Path(__file__).with_name("peer_llamacpp.py"))
SLOW_FSYNC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int late(const char* name, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  usleep(MS * 1000);
  return real(fd);
}
int fsync(int fd) { return late("fsync", fd); }
int fdatasync(int fd) { return late("fdatasync", fd); }
"""


def wait_for(url, process, what, seconds=120):
    """Waits until the server answers with 200."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{what} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    raise SystemExit(f"{what} was not ready after {seconds} s")


class Servers:
    """Everything that was started; close() ends it."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.processes, self.clusters = [], []
        self.place = harness.Place(folder)
        if "TROUPE_ISA" in os.environ:
            self.place.env["TROUPE_ISA"] = os.environ["TROUPE_ISA"]

    def spawn(self, name, command, env=None):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, env={**self.place.env, **(env or {})})
        self.processes.append(process)
        return process

    def ours_alone(self):
        port = harness.free_port()
        shared = ["--shared-prompt", self.options.system] if getattr(self.options, "system", "") else []
        process = self.spawn("ours", [self.options.troupe, "serve", self.options.model, "--port", port, "-t", self.options.threads, "--no-access-log",
                                      "--cluster", "none", *shared])
        wait_for(f"http://127.0.0.1:{port}/ready", process, "troupe serve")
        return port, process.pid

    def head(self, name, threads, env=None, nodes=0):
        """A head with HTTP and its nodes, of `threads` each."""
        folder = self.folder / name
        folder.mkdir()
        http = harness.free_port()
        isa = {key: os.environ[key] for key in ("TROUPE_ISA",) if key in os.environ}
        flags = ["--http", f"127.0.0.1:{http}", "--http-models", self.options.model]
        cluster = harness.Cluster(folder, nodes, envs=[{**isa, **(env or {})}, isa],
                                  threads=[threads] * (nodes + 1), head_flags=flags)
        self.clusters.append(cluster)
        wait_for(f"http://127.0.0.1:{http}/ready", cluster.head.process, "the head")
        return http, cluster.head.pid

    def theirs(self):
        options = self.options
        port = harness.free_port()
        context = options.clients * (options.words * 3 + options.tokens + 256 + options.context)
        flags = ["-m", options.model, "--port", port, "-t", options.threads, "-np", options.clients, "-c",
                 context, "--cache-ram", 0, "--kv-unified"]
        if not options.peer_cache:
            flags += ["--no-cache-prompt"]
        if options.rpc:
            ports = [harness.free_port() for _ in range(2)]
            for number, worker in enumerate(ports):
                self.spawn(f"rpc{number}", [options.rpc, PEER, "rpc-worker", worker, "--threads", 1],
                           {"PATH": os.environ["PATH"]})
            time.sleep(3)
            flags += ["--rpc", ",".join(f"127.0.0.1:{worker}" for worker in ports), "-ngl", 99, "-t", 1]
        process = self.spawn("theirs", [options.llama_server, *flags])
        wait_for(f"http://127.0.0.1:{port}/health", process, "llama-server")
        self.peer_flags = " ".join(str(word) for word in flags[2:])
        return port

    def close(self):
        for cluster in self.clusters:
            cluster.close()
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def load(options, port, seed):
    done = subprocess.run([options.serve_load, "127.0.0.1", str(port), pathlib.Path(options.model).stem,
                           "--clients", str(options.clients),
                           "--requests", str(options.requests), "--tokens", str(options.tokens), "--words",
                           str(options.words), "--seed", str(seed),
                           *(["--system", options.system] if options.system else [])],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the load failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def thread_seconds(pid):
    """Returns the CPU seconds of each thread of a process, by its name."""
    spent = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        spent[name] = spent.get(name, 0) + int((task / "schedstat").read_text().split()[0]) / 1e9
    return spent


def compare(options, servers, ports, pid):
    """Runs rounds of both in turn; returns their figures, and the CPU time of our threads for a token."""
    seen = {name: [] for name in ports}
    spent = {}
    for name, port in ports.items():  # both are warm
        load(argparse.Namespace(**{**vars(options), "requests": options.clients}), port, 7)
    for number in range(options.rounds):
        order = list(ports) if number % 2 == 0 else list(ports)[::-1]
        for name in order:
            before = thread_seconds(pid) if name == "ours" else None
            seen[name].append(load(options, ports[name], 100 + number))
            if before is not None:
                for thread, seconds in thread_seconds(pid).items():
                    spent[thread] = spent.get(thread, 0) + seconds - before.get(thread, 0)
    tokens = sum(one["tokens"] for one in seen["ours"])
    return seen, {thread: round(seconds / tokens * 1e6, 1) for thread, seconds in spent.items()}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    for name in ("troupe", "llama_server", "serve_load", "model"):
        parser.add_argument(name)
    for name, value in (("clients", 16), ("requests", 64), ("words", 100), ("tokens", 64), ("threads", 2),
                        ("rounds", 5), ("slow-fsync", 0)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--rpc", default="")
    parser.add_argument("--system", default="")
    parser.add_argument("--peer-cache", action="store_true")
    options = parser.parse_args()
    options.model = str(pathlib.Path(options.model).resolve())
    options.context = len(pathlib.Path(options.system).read_text()) // 2 if options.system else 0
    harness.TROUPE = options.troupe
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        servers = Servers(options, folder)
        try:
            if options.slow_fsync:
                source, shim = folder / "late.c", folder / "late.so"
                source.write_text(SLOW_FSYNC)
                subprocess.run(["cc", "-shared", "-fPIC", f"-DMS={options.slow_fsync}", "-o", shim, source,
                                "-ldl"], check=True)
                ours, pid = servers.head("late", options.threads, {"LD_PRELOAD": str(shim)})
                ports = {"ours": ours, "theirs": servers.head("quick", options.threads)[0]}
                servers.peer_flags = "the same head without the delay"
            else:
                ours, pid = servers.head("head", 1, nodes=1) if options.rpc else servers.ours_alone()
                ports = {"ours": ours, "theirs": servers.theirs()}
            seen, spent = compare(options, servers, ports, pid)
        finally:
            servers.close()
    pairs = list(zip(seen["ours"], seen["theirs"]))
    print(json.dumps({
        "model": pathlib.Path(options.model).name, "clients": options.clients, "peer": servers.peer_flags,
        "tok_s": {name: round(statistics.median(one["tok_s"] for one in runs), 1) for name, runs in seen.items()},
        "tok_s_ratio": round(statistics.median(a["tok_s"] / b["tok_s"] for a, b in pairs), 3),
        "tok_s_ratios": [round(a["tok_s"] / b["tok_s"], 2) for a, b in pairs],
        "first_s": {name: statistics.median(one["first_s"]["p50"] for one in runs) for name, runs in seen.items()},
        "first_ratio": round(statistics.median(a["first_s"]["p50"] / b["first_s"]["p50"] for a, b in pairs), 3),
        "thread_us_per_token": dict(sorted(spent.items(), key=lambda item: -item[1])[:12])}))


if __name__ == "__main__":
    main()
