#!/usr/bin/env python3
"""Measures streams while long prompts come one after the other: how long the streams stand still, and which requests wait.

usage: long_prompts.py TROUPE MODEL.gguf [--llama-server FILE] [--streams 15] [--prompt 8000] [--short 40]
         [--prompts 4] [--threads 2] [--context 8192] [--rest 10]

For each server, alone on the machine: (1) the first token of a long prompt and of a short one, with nothing
beside them; (2) `streams` answers without prompts beside them, for `rest` seconds: the median time between
two tokens of one of them; (3) the same streams while `prompts` long prompts come, each when the one before it
has had its first token, and a short request every second: the 99th percentile between two tokens, and first
tokens of both. A stream that ends is followed by another. No prompt is seen twice; prompts are ids, and
answers go on past their end. Prints one JSON object.
"""
import argparse
import asyncio
import json
import os
import pathlib
import random
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)
from ratio_serve import Servers, wait_for  # noqa: E402

RANDOM = random.Random(11)
STREAM_TOKENS = 400


def ids(count):
    return [RANDOM.randrange(1000, 40000) for _ in range(count)]


async def ask(port, model, prompt, tokens, heard):
    """Calls heard(seconds) at each event of the answer that has a token."""
    body = json.dumps({"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True,
                       "ignore_eos": True}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
                 b"application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    events = 0
    while line := await reader.readline():
        if line.startswith(b"HTTP/1.1") and b" 200 " not in line:
            raise SystemExit(f"refused: {line} {await reader.read()}")
        if line.startswith(b"data: {"):
            events += 1
            heard(time.monotonic())
    writer.close()
    if events < min(tokens, 1):
        raise SystemExit("an answer had no token")


async def first_token(port, model, count):
    times, began = [], time.monotonic()
    await ask(port, model, ids(count), 1, times.append)
    return times[0] - began


class Streams:
    def __init__(self, port, model, count, short):
        self.gaps, self.over = [], False
        self.tasks = [asyncio.create_task(self.run(port, model, short, i)) for i in range(count)]

    async def run(self, port, model, short, number):
        tokens = STREAM_TOKENS - 20 * number  # so that they do not all end at once
        while not self.over:
            last = None

            def heard(now):
                nonlocal last
                if last is not None:
                    self.gaps.append(now - last)
                last = now
            await ask(port, model, ids(short), tokens, heard)
            tokens = STREAM_TOKENS

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def measure(port, model, options):
    await first_token(port, model, options.short)
    alone = [await first_token(port, model, options.prompt) for _ in range(2)]
    print(f"a prompt alone: {alone}", file=sys.stderr)
    idle = [await first_token(port, model, options.short) for _ in range(5)]
    streams = Streams(port, model, options.streams, options.short)
    await asyncio.sleep(5)
    streams.gaps.clear()
    await asyncio.sleep(options.rest)
    quiet = sorted(streams.gaps)
    streams.gaps.clear()
    meanwhile, over = [], False

    async def short_ones():
        while not over:
            meanwhile.append(await first_token(port, model, options.short))
            await asyncio.sleep(1)
    beside = asyncio.create_task(short_ones())
    long = []
    for _ in range(options.prompts):
        long.append(await first_token(port, model, options.prompt))
        print(f"beside the streams: {long[-1]:.2f} s", file=sys.stderr)
    busy = sorted(streams.gaps)
    over = True
    beside.cancel()
    await streams.end()
    p50, p99 = quiet[len(quiet) // 2], busy[int(len(busy) * 0.99)]
    return {
        "p50_ms": round(p50 * 1e3, 2), "p99_without_ms": round(quiet[int(len(quiet) * 0.99)] * 1e3, 1),
        "p50_with_ms": round(busy[len(busy) // 2] * 1e3, 2), "p99_with_ms": round(p99 * 1e3, 1),
        "longest_ms": round(busy[-1] * 1e3), "p99_over_p50": round(p99 / p50, 2),
        "prompt_alone_s": round(min(alone), 2), "prompt_s": round(statistics.median(long), 2),
        "prompt_over_alone": round(statistics.median(long) / min(alone), 2),
        "short_idle_ms": round(statistics.median(idle) * 1e3), "short_ms": round(statistics.median(meanwhile) * 1e3),
        "short_most_ms": round(max(meanwhile) * 1e3)}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("troupe")
    parser.add_argument("model")
    parser.add_argument("--llama-server", default="")
    for name, value in (("streams", 15), ("prompt", 8000), ("short", 40), ("prompts", 4), ("threads", 2),
                        ("context", 8192), ("rest", 10)):
        parser.add_argument("--" + name, type=int, default=value)
    options = parser.parse_args()
    harness.TROUPE = options.troupe
    name = pathlib.Path(options.model).stem
    seen = {}
    for who in ("ours", "theirs")[:2 if options.llama_server else 1]:
        with tempfile.TemporaryDirectory() as folder:
            servers = Servers(options, pathlib.Path(folder))
            try:
                port = harness.free_port()
                if who == "ours":
                    command = [options.troupe, "serve", options.model, "--port", port, "-t", options.threads,
                               "--no-access-log", "--cluster", "none"]
                    url = "/ready"
                else:
                    whole = options.context * 2 + (options.streams + 1) * (STREAM_TOKENS + 2 * options.short)
                    command = [options.llama_server, "-m", options.model, "--port", port, "-t", options.threads,
                               "-np", options.streams + 2, "-c", whole, "--cache-ram", 0, "--kv-unified",
                               "--no-cache-prompt"]
                    url = "/health"
                process = servers.spawn(who, command, {"PATH": os.environ["PATH"]})
                wait_for(f"http://127.0.0.1:{port}{url}", process, who)
                seen[who] = asyncio.run(measure(port, name, options))
            finally:
                servers.close()
    print(json.dumps({"model": name, "prompt": options.prompt, "streams": options.streams, **seen}))


if __name__ == "__main__":
    main()
