"""Answers under way, read as they come: what came, when, and how it compares with one process."""
import json
import subprocess
import threading
import time

import harness

# The requests are greedy, seeded, with penalties, and with a stop string that is held back again and again;
# they are raw text, so that most go on to the end of their tokens.
SPECS = (
    ("Once upon a time", ()),
    ("The history of Rome begins", ("--temperature", "0.9", "--seed", "3")),
    ("A list of animals: dog, cat,", ("--repeat-penalty", "1.2", "--frequency-penalty", "0.3")),
    ("Dear Sir or Madam,", ("--temperature", "1.1", "--top-p", "0.9", "--seed", "8",
                            "--presence-penalty", "0.6")),
    ("def main():", ("--stop", "the end of all", "--stop", "\n\n\n\n")),
    ("The ship sailed to", ("--temperature", "1.2", "--top-k", "40", "--seed", "21")),
    ("In the beginning", ("--temperature", "0.8", "--seed", "5", "--repeat-penalty", "1.1",
                          "--frequency-penalty", "0.2")),
    ("My favourite colour is", ("--min-p", "0.05", "--temperature", "1.0", "--seed", "13")),
)


def words_of(spec, tokens, model=None):
    prompt, flags = spec
    return ("run", model or harness.MODEL, prompt, "--raw", "-n", tokens, *flags)


class Stream:
    """One `troupe run` that writes its text as it comes; `times` are the arrivals of its bytes, and
    `lengths` how many had come by then."""

    def __init__(self, place, spec, tokens, flags, model=None):
        self.spec, self.text, self.times, self.lengths = spec, b"", [], []
        self.process = place.spawn(*words_of(spec, tokens, model), *flags, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        while part := self.process.stdout.read1(4096):
            self.times.append(time.monotonic())
            self.text += part
            self.lengths.append(len(self.text))

    def end(self, timeout=60):
        self.reader.join(timeout)
        assert not self.reader.is_alive(), f"{self.spec} has not ended; so far: {self.text[-200:]}"
        self.err = self.process.stderr.read().decode(errors="replace")
        self.status = self.process.wait(10)
        self.process.stdout.close()  # a run of an hour has thousands of streams
        self.process.stderr.close()
        return self

    def longest_gap(self):
        return max((b - a for a, b in zip(self.times, self.times[1:])), default=0.0)


class Batch:
    """Eight answers at once: some stream text, the others come as an object with token ids."""

    def __init__(self, cluster, tokens, *flags, objects=3, model=None):
        flags = ("--cluster", cluster.head.address, *flags)
        self.tokens = tokens
        self.streams = [Stream(cluster.place, spec, tokens, flags, model) for spec in SPECS[objects:]]
        self.objects = [
            (spec, cluster.place.spawn(*words_of(spec, tokens, model), "--json", "--logprobs", 2, *flags,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE))
            for spec in SPECS[:objects]]

    def wait_for_text(self, count, timeout=60):
        """Until `count` bytes have come in all."""
        deadline = time.monotonic() + timeout
        while sum(len(stream.text) for stream in self.streams) < count:
            assert time.monotonic() < deadline and self.open() > 0, [
                (stream.text, stream.process.poll()) for stream in self.streams]
            time.sleep(0.005)

    def open(self):
        return sum(stream.process.poll() is None for stream in self.streams)

    def end(self):
        """Returns (spec, text bytes, object or None) for each; all must have ended well."""
        results = []
        for stream in self.streams:
            stream.end()
            assert stream.status == 0, (stream.spec, stream.err)
            results.append((stream.spec, stream.text, None))
        for spec, process in self.objects:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, (spec, err.decode())
            answer = json.loads(out)
            results.append((spec, answer["text"].encode(), answer))
        return results


class Expected:
    """What one process answers, each asked once."""

    def __init__(self, alone):
        self.alone, self.made = alone, {}

    def answer(self, spec, tokens):
        if (spec, tokens) not in self.made:
            self.made[spec, tokens] = self.alone.json(*words_of(spec, tokens), "--logprobs", 2)
        return self.made[spec, tokens]

    def differing_bytes(self, spec, tokens, text):
        want = self.answer(spec, tokens)["text"].encode()
        text = text[:-1] if text == want + b"\n" else text  # the terminal's newline
        return sum(a != b for a, b in zip(want, text)) + abs(len(want) - len(text))

    def check(self, batch):
        for spec, text, answer in batch.end():
            assert self.differing_bytes(spec, batch.tokens, text) == 0, (spec, text)
            if answer is not None:
                want = self.answer(spec, batch.tokens)
                for field in ("token_ids", "prompt_token_ids", "finish_reason", "logprobs"):
                    assert answer[field] == want[field], (spec, field)
