#!/usr/bin/env python3
"""Tests whether the keys of a server learn anything of each other through the blocks that it shares.

usage: planted_codes.py TROUPE MODEL.gguf [--sessions 1000] [--keys 8] [--probes 1000] [--memory 183MiB]
                        [--together 4] [--threads 2] [--seed 1]

Each session belongs to a key and has a code that only its prompt names, behind a system prompt that all sessions
have in common; it asks for the code twice, in a conversation, while other sessions run and the memory is too small
for all of their blocks. "foreign" is the number of answers with another session's code, "own" of those with their
own. Then one key computes prompts, and another key asks for these and for as many that nobody computed, in turn, in
a random order; all have the same number of tokens. "auc" is the part of all pairs in which a known prompt's first
token came sooner than an unknown one's (0.5: the times say nothing), and "probe_cached_tokens" what `usage` says of
them. Prints one JSON object.
"""
import argparse
import http.client
import json
import pathlib
import random
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)
from fair_shares import metric  # noqa: E402
from ratio_serve import wait_for  # noqa: E402

SYSTEM = ("You keep the notes of a small office. Each visitor has told you a code, and you give it back to the same "
          "visitor when he asks for it. You are brief: you say the code, and nothing else. ") * 3
WORDS = ("river stone garden window market letter summer engine silver bridge people morning paper doctor "
         "field music winter table island kitchen").split()
PROBE_TOKENS = 200


class Head:
    """A head that serves HTTP for some keys, with little memory."""

    def __init__(self, folder, model, keys, memory, threads):
        folder = pathlib.Path(folder)
        self.place = harness.Place(folder)
        file = folder / "keys"
        self.keys = [self.place.json("key", "new", "--api", f"key{i}", "--api-key-file", file)["key"]
                     for i in range(keys)]
        self.watcher = self.place.json("key", "new", "--api", "watcher", "--api-key-file", file, "--api-role",
                                       "metrics")["key"]
        self.port = harness.free_port()
        flags = ["--http", f"127.0.0.1:{self.port}", "--http-models", model, "--http-api-key-file", file,
                 "--memory", memory]
        home = folder / "head"
        home.mkdir()
        self.cluster = harness.Cluster(home, 0, threads=[threads], head_flags=flags)
        wait_for(f"http://127.0.0.1:{self.port}/ready", self.cluster.head.process, "the head")
        self.model = pathlib.Path(model).stem

    def metric(self, name):
        return metric(self.port, self.watcher, name)

    def close(self):
        self.cluster.close()
        self.place.close()


class Asker:
    """A connection that stays open."""

    def __init__(self, head, key):
        self.connection = http.client.HTTPConnection("127.0.0.1", head.port, timeout=300)
        self.headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        self.model = head.model

    def open(self, path, body):
        self.connection.request("POST", path, json.dumps({"model": self.model, **body}), self.headers)
        answer = self.connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"refused: {answer.status} {answer.read()}")
        return answer

    def ask(self, path, body):
        return json.loads(self.open(path, body).read())

    def first_token(self, ids):
        """Returns (seconds to the first event, cached tokens) of a prompt of token ids."""
        began = time.perf_counter()
        answer = self.open("/v1/completions", {"prompt": ids, "max_tokens": 1, "stream": True, "ignore_eos": True,
                                               "temperature": 0, "stream_options": {"include_usage": True}})
        answer.readline()
        seconds = time.perf_counter() - began
        events = [json.loads(line[6:]) for line in answer.read().splitlines() if line.startswith(b"data: {")]
        usage = next(event["usage"] for event in events if event.get("usage"))
        return seconds, usage["prompt_tokens_details"]["cached_tokens"]


def planted(head, sessions, together, seed):
    """Runs the sessions; returns what their answers hold."""
    drawn = random.Random(seed)
    codes = [f"{drawn.choice('BCDFGHJKLM')}{drawn.randrange(10 ** 5, 10 ** 6)}" for _ in range(sessions)]
    while len(set(codes)) < sessions:
        codes = [f"{drawn.choice('BCDFGHJKLM')}{drawn.randrange(10 ** 5, 10 ** 6)}" for _ in range(sessions)]
    stories = [" ".join(drawn.choice(WORDS) for _ in range(90)) for _ in range(sessions)]
    answers, cached, gate = {}, [0] * sessions, threading.Lock()
    turns = [(turn, session) for session in range(sessions) for turn in (0, 1)]
    # A session's second turn comes some sessions after its first.
    turns.sort(key=lambda one: one[1] + one[0] * 3 * together)
    left = iter(turns)

    def conversation(session):
        return [{"role": "system", "content": SYSTEM},
                {"role": "user",
                 "content": f"{stories[session]}. My code is {codes[session]}. Repeat it: {codes[session]}."},
                {"role": "assistant", "content": f"Your code is {codes[session]}."},
                {"role": "user", "content": "What is my code?"}]

    def client():
        while True:
            with gate:
                turn = next(left, None)
            if turn is None:
                return
            number, session = turn
            messages = conversation(session)
            if number == 1:
                with gate:
                    before = answers.get((0, session), "")
                messages += [{"role": "assistant", "content": before}, {"role": "user", "content": "And once more?"}]
            asker = Asker(head, head.keys[session % len(head.keys)])
            said = asker.ask("/v1/chat/completions", {"messages": messages, "max_tokens": 12, "temperature": 0})
            asker.connection.close()
            with gate:
                answers[number, session] = said["choices"][0]["message"]["content"]
                cached[session] += said["usage"]["prompt_tokens_details"]["cached_tokens"]
    threads = [threading.Thread(target=client) for _ in range(together)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(answers) != 2 * sessions:
        raise SystemExit(f"{2 * sessions - len(answers)} answers are missing")
    owner = {code: session for session, code in enumerate(codes)}
    own = foreign = 0
    for (_, session), text in answers.items():
        named = {owner[code] for code in owner if code in text}
        own += session in named
        foreign += bool(named - {session})
    return {"sessions": sessions, "answers": len(answers), "own": own, "foreign": foreign,
            "cached_tokens": sum(cached), "blocks_max": int(head.metric("troupe_kv_blocks_max")),
            "tokens_looked_up": int(head.metric("troupe_prefix_queried_tokens_total"))}


def auc(known, unknown):
    """Returns the part of all pairs in which the known one is smaller; equal ones count half."""
    ranked = sorted([(value, 0) for value in known] + [(value, 1) for value in unknown])
    wins = at = seen = 0.0
    while at < len(ranked):
        same = [kind for value, kind in ranked if value == ranked[int(at)][0]]
        wins += same.count(1) * (seen + same.count(0) / 2)
        seen += same.count(0)
        at += len(same)
    return wins / (len(known) * len(unknown))


def probe(head, count, seed):
    """Another key asks for prompts that the first one computed, and for others."""
    drawn = random.Random(seed + 1)
    first, second = Asker(head, head.keys[0]), Asker(head, head.keys[1])
    times, cached = {True: [], False: []}, 0

    def prompt():
        return [drawn.randrange(100, 40000) for _ in range(PROBE_TOKENS)]
    second.first_token(prompt())
    first.first_token(prompt())
    for _ in range(count):
        known, unknown = prompt(), prompt()
        first.first_token(known)
        order = [(True, known), (False, unknown)]
        drawn.shuffle(order)
        # Both follow a request of another key, so that neither is the one after an idle moment.
        for number, (is_known, ids) in enumerate(order):
            if number == 1:
                first.first_token(prompt())
            seconds, tokens = second.first_token(ids)
            times[is_known].append(seconds)
            cached += tokens
    return {"probes": count, "auc": round(auc(times[True], times[False]), 4), "probe_cached_tokens": cached,
            "known_ms": round(sorted(times[True])[count // 2] * 1e3, 3),
            "unknown_ms": round(sorted(times[False])[count // 2] * 1e3, 3)}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("troupe")
    parser.add_argument("model")
    for name, value in (("sessions", 1000), ("keys", 8), ("probes", 1000), ("together", 4), ("threads", 2),
                        ("seed", 1)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--memory", default="183MiB")
    options = parser.parse_args()
    harness.TROUPE = options.troupe
    with tempfile.TemporaryDirectory() as folder:
        head = Head(folder, str(pathlib.Path(options.model).resolve()), options.keys, options.memory, options.threads)
        try:
            result = planted(head, options.sessions, options.together, options.seed) if options.sessions else {}
            result.update(probe(head, options.probes, options.seed) if options.probes else {})
        finally:
            head.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
