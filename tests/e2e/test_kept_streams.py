"""Streams of the HTTP server go on after its process was killed and started again: a client takes its
stream up where it was, and gets the bytes of the unbroken answer.

TROUPE_HEAD_KILLS is the number of kills of the head (2, so that CI is done in seconds).
"""
import http.client
import itertools
import json
import os
import struct
import threading
import time

import pytest

import harness
import http_server

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
KILLS = int(os.environ.get("TROUPE_HEAD_KILLS", "2"))
TOKENS = 100


def chat(text, **more):
    return CHAT, {"messages": [{"role": "user", "content": text}], "max_tokens": TOKENS, **more}


ASKS = (
    chat("Tell a long story of a river.", temperature=0),
    chat("Name many animals.", temperature=0.9, seed=7, top_p=0.95),
    chat("Describe a town.", temperature=1.1, seed=8, n=2, max_tokens=TOKENS // 2),
    chat("What is a stone?", temperature=0.8, seed=9, logprobs=True, top_logprobs=3),
    chat("Explain the sea.", temperature=0.7, seed=10, stop=["the end of all", "\n\n\n\n"],
         repetition_penalty=1.1, frequency_penalty=0.2),
    (COMPLETIONS, {"prompt": ["Once upon a time", "The king of France"], "max_tokens": TOKENS // 2,
                   "temperature": 0.8, "seed": 11, "echo": True}),
)


class Follower:
    """A client that reads a stream, and takes it up whenever its connection breaks."""

    def __init__(self, port, path, body, headers=None):
        self.port, self.path, self.headers = port, path, headers or {}
        self.body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        self.events, self.last_id, self.done, self.wrong = [], None, False, None
        self.taken_up = self.fresh = 0  # fresh: events of this connection
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _connect(self, connection):
        if self.last_id is None:
            connection.request("POST", self.path, json.dumps(self.body),
                               {"Content-Type": "application/json", **self.headers})
        elif self.taken_up % 2:
            connection.request("POST", self.path, json.dumps(self.body), {
                "Content-Type": "application/json", "Last-Event-ID": self.last_id, **self.headers})
        else:
            name, position = self.last_id.rsplit(":", 1)
            connection.request("GET", f"/v1/streams/{name}?from={position}", headers=self.headers)
        return connection.getresponse()

    def _read(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            response = self._connect(connection)
            if response.status == 503:  # it is loading
                return
            if response.status != 200:
                self.wrong = f"{response.status} {response.read()[:300]!r} for {self.last_id}"
                return
            identity = None
            while line := response.readline():
                line = line.decode().rstrip("\n")
                if line.startswith("id: "):
                    identity = line[4:]
                elif line == "data: [DONE]":
                    self.done = True
                elif line.startswith("data: "):
                    data = json.loads(line[6:])
                    if "error" in data:
                        return  # the head is away
                    self.events.append(data)
                    self.last_id, self.fresh = identity, self.fresh + 1
        finally:
            connection.close()

    def _follow(self):
        deadline = time.monotonic() + 300
        while not self.done and not self.wrong:
            if time.monotonic() > deadline:
                self.wrong = "too late"
                return
            try:
                self._read()
            except (OSError, http.client.HTTPException):
                pass
            if not self.done and not self.wrong:
                self.fresh = 0
                self.taken_up += 1
                time.sleep(0.1)

    def answer(self):
        """What the events say together, in the form of an answer that was not streamed."""
        choices, usage = {}, None
        for event in self.events:
            usage = event["usage"] or usage
            for part in event["choices"]:
                one = choices.setdefault(part["index"], {"text": "", "logprobs": [], "finish": None})
                one["text"] += part.get("text") or part.get("delta", {}).get("content") or ""
                one["logprobs"] += (part.get("logprobs") or {}).get("content") or []
                one["finish"] = part["finish_reason"] or one["finish"]
        counts = {name: usage[name] for name in ("prompt_tokens", "completion_tokens")}
        return [choices[i] for i in sorted(choices)], counts


def unbroken(port, path, body, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", path, json.dumps(body),
                       {"Content-Type": "application/json", **(headers or {})})
    response = connection.getresponse()
    text = response.read()
    assert response.status == 200, text
    answer = json.loads(text)
    choices = [{"text": one["text"] if "text" in one else one["message"]["content"],
                "logprobs": (one.get("logprobs") or {}).get("content") or [],
                "finish": one["finish_reason"]} for one in answer["choices"]]
    return choices, {name: answer["usage"][name] for name in ("prompt_tokens", "completion_tokens")}


def differing_bytes(want, got):
    total = 0
    for a, b in zip(want, got):
        a, b = a["text"].encode(), b["text"].encode()
        total += sum(x != y for x, y in zip(a, b)) + abs(len(a) - len(b))
    return total + (0 if len(want) == len(got) else 1_000_000)


def check(followers, wanted):
    for ask, follower in followers:
        follower.thread.join(300)
        assert follower.done and not follower.wrong, (ask, follower.wrong, len(follower.events))
        choices, usage = follower.answer()
        want, counts = wanted[ask]
        assert differing_bytes(want, choices) == 0, (ASKS[ask], want, choices)
        assert choices == want and usage == counts, ASKS[ask]
        ids = {event["id"] for event in follower.events}
        assert len(ids) == 1 and len({event["created"] for event in follower.events}) == 1


def start_head(place, port, http_port, *flags):
    return place.start("head", "--head", "--http", f"127.0.0.1:{http_port}", "--http-models",
                       harness.MODEL, port=port, flags=flags)


def with_model(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/v1/models")
    model = json.loads(connection.getresponse().read())["data"][0]["id"]
    return [(path, {**body, "model": model}) for path, body in ASKS]


def test_the_head_is_killed_under_streams(place):
    """Line by line the same, however often the head is killed; no stream is lost."""
    head_port, port = harness.free_port(), harness.free_port()
    head = start_head(place, head_port, port)
    asks = with_model(port)
    wanted = [unbroken(port, *ask) for ask in asks]
    numbers = itertools.cycle(range(len(asks)))
    ended, taken_up, kills = [], 0, 0
    open_ones = []
    while kills < KILLS:
        while len(open_ones) < 4:
            ask = next(numbers)
            open_ones.append((ask, Follower(port, *asks[ask])))
        harness.wait_until("a stream says nothing", lambda: all(
            one.fresh > 1 or one.done or one.wrong for _, one in open_ones), 120)
        still = [(ask, one) for ask, one in open_ones if not one.done]
        ended += [(ask, one) for ask, one in open_ones if one.done]
        open_ones = still
        if not still:
            continue
        head.kill()
        kills += 1
        taken_up += len(still)
        head = start_head(place, head_port, port)
    check(ended + open_ones, wanted)
    print(json.dumps({"kills": kills, "streams": len(ended) + len(open_ones),
                      "taken_up": taken_up, "differing_bytes": 0}))
    assert taken_up >= kills


def test_a_server_in_front_is_killed(place):
    """`troupe serve` before a cluster: its streams are its own, on the disk of its own home."""
    head = place.start("head", "--head")
    port = harness.free_port()
    words = ("--cluster", head.address, "--home", place.folder / "server")
    server = http_server.Server(place, *words, port=port)
    path, body = CHAT, {**ASKS[1][1], "model": "smol"}
    want = unbroken(port, path, body)
    follower = Follower(port, path, body)
    harness.wait_until("the stream says nothing", lambda: follower.fresh > 3)
    server.process.kill()
    server.process.wait()
    time.sleep(0.3)
    http_server.Server(place, *words, port=port)
    follower.thread.join(120)
    assert follower.done and follower.taken_up > 0, follower.wrong
    assert follower.answer() == want


def is_anywhere(folder, needles):
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 32 << 20:
            content = path.read_bytes()
            if any(needle in content for needle in needles):
                return path
    return None


@pytest.mark.parametrize("flags, may_be", [(("--keep-streams", "2s"), True), (("--no-resume",), False)])
def test_a_planted_word_is_nowhere(place, flags, may_be):
    """Neither the word nor its ids are in the home, the logs or the journals once the records of the
    streams have ended; without resuming they never are."""
    place.env["TROUPE_CLUSTER"] = "none"
    home = place.folder / "server"
    server = http_server.Server(place, "--home", home, *flags, env={"TROUPE_LOG": "debug"})
    word = "xyzzyplantedquux"
    ids = server.json("POST", "/tokenize", {"model": "smol", "prompt": f" {word} {word}"})["tokens"]
    needles = [word.encode(), struct.pack(f"<{len(ids) - 2}i", *ids[2:])]
    body = {"model": "smol", "max_tokens": 8, "temperature": 0, "stream": True,
            "messages": [{"role": "user", "content": f"Say {word} {word}"}]}
    seen = None
    for _ in range(2):
        assert server.ask("POST", CHAT, body)[0] == 200
        seen = seen or is_anywhere(place.folder, needles)
    broken = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    broken.request("POST", CHAT, json.dumps({**body, "max_tokens": 200}),
                   {"Content-Type": "application/json"})
    broken.getresponse().readline()
    broken.close()
    seen = seen or is_anywhere(place.folder, needles)
    assert (seen is not None) == may_be, seen
    if may_be:
        harness.wait_until("a record stays", lambda: is_anywhere(place.folder, needles) is None, 20)
    assert server.stop() == 0
    assert is_anywhere(place.folder, needles) is None


@pytest.mark.no_model
def test_times_that_are_none(place):
    for flags, why in ((("--keep-streams", "soon"), "--keep-streams takes"),
                       (("--keep-streams", "2d"), "one day"),
                       (("--keep-streams", "1m", "--no-resume"), "--no-resume")):
        outcome = place.troupe("serve", "any-model", *flags)
        assert outcome.status == 2, str(outcome)
        assert why in outcome.err
    outcome = place.troupe("start", "--head", "--http", "127.0.0.1:1", "--http-models", "x",
                           "--http-keep-streams", "3d")
    assert outcome.status == 2 and "one day" in outcome.err, str(outcome)
