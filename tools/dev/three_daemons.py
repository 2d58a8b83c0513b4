#!/usr/bin/env python3
"""Three daemons on this machine share the layers of a model and answer two prompts.

usage: three_daemons.py TROUPE MODEL

The end of quickstart.sh: starts a head and two nodes with homes of their own in a temporary folder,
asks, shows which node ran which layers and what went over the network, and ends the daemons by their own
process ids, whatever happened.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import ports

READY_SECONDS = 60
ANSWER_SECONDS = 180
HIDDEN_CHANNELS = 576  # of SmolLM2-135M; a hidden state is one f32 a channel


class Failed(Exception):
    """Prints a sentence for the user."""


def free_base_port():
    base = ports.first_free(range(7700, 9700, 40), daemons=3)
    if base is None:
        raise Failed("no free ports between 7700 and 9700: end what listens there and run this again")
    return base


class Demo:
    def __init__(self, troupe, model):
        self.troupe, self.model = troupe, model
        self.folder = tempfile.mkdtemp(prefix="troupe-quickstart-")
        self.daemons = []

    def start(self, name, port, *flags):
        """Starts a daemon and returns what it prints when it is ready."""
        home = os.path.join(self.folder, name)
        log_path = os.path.join(self.folder, name + ".log")
        command = [self.troupe, "start", "--json", "--home", home, "--name", name, "--threads", "1",
                   "--listen", f"127.0.0.1:{port}", *flags]
        with open(log_path, "wb") as log:
            daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=log, text=True)
        self.daemons.append(daemon)
        signal.alarm(READY_SECONDS)
        line = daemon.stdout.readline()
        signal.alarm(0)
        if not line:
            with open(log_path, errors="replace") as log:
                raise Failed(f"daemon {name} did not start:\n{log.read()[-2000:]}")
        return json.loads(line)["ready"]

    def run_json(self, *words):
        done = subprocess.run([self.troupe, *words, "--json"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=ANSWER_SECONDS)
        if done.returncode != 0:
            raise Failed(f"`troupe {' '.join(words)}` failed:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def ask(self, cluster, *words):
        print(f"\n$ troupe run {' '.join(repr(w) if ' ' in w else w for w in words)}", flush=True)
        answer = self.run_json("run", *words, "--cluster", cluster)
        print(answer["text"].strip())
        stages = ", ".join(f"layers {n['layers']} on {n['name']}" for n in answer["nodes"])
        print(f"  [{stages}]\n  [{len(answer['prompt_token_ids'])} tokens read at "
              f"{answer['prompt_tok_s']:.1f} tokens/s, {len(answer['token_ids'])} written at "
              f"{answer['decode_tok_s']:.1f} tokens/s, {answer['finish_reason']}]", flush=True)
        return answer

    def show_status(self, cluster):
        time.sleep(1)  # counters come with the heartbeats, five a second
        status = self.run_json("status", "--cluster", cluster)
        total = sum(node["weights_bytes"] for node in status["nodes"])
        print("\n$ troupe status --json   (in short)")
        for node in status["nodes"]:
            share = 100 * node["weights_bytes"] / total if total else 0
            print(f"  {node['name']:<8} layers {node['layers']:<6} "
                  f"{node['weights_bytes']:>11} bytes of weights ({share:.0f} % of the model)")
            if share > 90:
                raise Failed(f"{node['name']} holds the whole model: the layers were not shared")
        for node in status["nodes"]:
            positions, sent = node.get("positions_out", 0), node.get("hidden_bytes_out", 0)
            if positions:
                print(f"  {node['name']:<8} sent on {positions} positions as {sent} bytes of hidden "
                      f"state = {positions} x {HIDDEN_CHANNELS} x 4")
                if sent != positions * HIDDEN_CHANNELS * 4:
                    raise Failed(f"{node['name']} sent {sent} bytes, which is not "
                                 f"{positions} x {HIDDEN_CHANNELS} x 4")

    def predict(self, cluster, *split):
        """Shows what `plan` predicts before a layer has been loaded."""
        chosen = self.run_json("plan", self.model, "--cluster", cluster)
        own = ", ".join(f"{stage['layers']} on {stage['node']}" for stage in chosen["stages"])
        print(f"\n$ troupe plan {self.model}   (in short)\n  by what was measured just now: layers {own}")
        return self.run_json("plan", self.model, *split, "--cluster", cluster)["prediction"]

    def compare(self, cluster, predicted, *split):
        """Shows the prediction beside the measurement."""
        print("\n$ troupe bench   (a third of the layers each, beside what `troupe plan` predicted)")
        try:
            measured = self.run_json("bench", self.model, "--decode", "32", "--repeats", "1",
                                     "--batch", "8", *split, "--cluster", cluster)
        except subprocess.TimeoutExpired:
            print("  this machine is too busy to measure it")
            return
        rows = (("prompt of 512 tokens", "prompt_tok_s", measured["prompt_tok_s_median"]),
                ("one stream", "decode_tok_s", measured["decode_tok_s_median"]),
                ("eight streams", "streams_tok_s", measured["batch"][0]["decode_tok_s"]))
        for name, key, rate in rows:
            said = f"{predicted[key]:7.0f}" if predicted else "nothing"
            print(f"  {name:<21} {said} tokens/s predicted, {rate:7.0f} measured", flush=True)

    def run(self):
        base = free_base_port()
        print(f"== three daemons on 127.0.0.1, ports {base}, {base + 10} and {base + 20}", flush=True)
        join = self.start("head", base, "--head")["join"]
        for i in (1, 2):
            self.start(f"node-{i}", base + 10 * i, "--join", join)
        cluster = f"127.0.0.1:{base}"
        thirds = ("--layers", "0-9,10-19,20-29")
        predicted = self.predict(cluster, *thirds)
        self.ask(cluster, self.model, "--raw", "The capital of France is", "-n", "30", *thirds)
        self.ask(cluster, self.model, "Why is the sky blue? Answer in one sentence.", "-n", "60",
                 *thirds)
        self.show_status(cluster)
        self.compare(cluster, predicted, *thirds)

    def close(self):
        for daemon in self.daemons:
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def give_up(number, _frame):
    raise Failed("a daemon was not ready in time" if number == signal.SIGALRM else "interrupted")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, give_up)
    demo = Demo(sys.argv[1], sys.argv[2])
    try:
        demo.run()
    except (Failed, subprocess.TimeoutExpired, OSError) as error:
        print(f"\nquickstart: {error}", file=sys.stderr)
        return 1
    finally:
        demo.close()
    print("\n== the daemons are stopped. What to do next:")
    program = os.path.relpath(sys.argv[1])
    print(f"  {program} run {sys.argv[2]}          a chat, in one process")
    print(f"  {program} start                    a head; it prints how another machine joins")
    print(f"  {program} --help                   all commands; README.md tells more")
    return 0


if __name__ == "__main__":
    sys.exit(main())
