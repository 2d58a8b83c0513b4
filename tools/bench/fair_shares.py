#!/usr/bin/env python3
"""Measures how two keys of weights 1 and 3, and a job behind them, share a server with memory for a few requests.

usage: fair_shares.py TROUPE MODEL.gguf [--each 8] [--tokens 300] [--seconds 30] [--fit 4] [--threads 2]

A head with HTTP gets enough memory for about `fit` requests at the same time. Each key has `each` clients
that ask one question after the other; a job generates from a file meanwhile. For `seconds` seconds, it counts
the tokens of each key and of the job, and the requests that gave way. Then the keys stop, the job ends, and
every answer is compared with that of one process that has all the memory it needs. Prints one JSON object.
"ratio" is the tokens of the key of weight 3 over those of the other. """
import argparse
import asyncio
import json
import os
import pathlib
import re
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)
from ratio_serve import Servers, wait_for  # noqa: E402

POSITIONS = 64  # of a block


async def ask(port, key, model, number, tokens, heard):
    """Returns the text of an answer; calls heard() at each token."""
    body = json.dumps({"model": model, "prompt": f"Story {number}. Once upon a time", "max_tokens": tokens,
                       "temperature": 0.9, "seed": number, "stream": True, "ignore_eos": True}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer "
                 + key.encode() + b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    text = ""
    while line := await reader.readline():
        if line.startswith(b"HTTP/1.1") and b" 200 " not in line:
            raise SystemExit(f"refused: {line} {await reader.read()}")
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if "error" in event:
                raise SystemExit(f"an answer failed: {event}")
            text += "".join(choice["text"] for choice in event["choices"])
            heard()
    writer.close()
    return text


class Load:
    def __init__(self, port, keys, options, model):
        self.counts, self.texts, self.over = [0] * len(keys), {}, False
        self.number, self.options, self.model, self.port = 0, options, model, port
        self.tasks = [asyncio.create_task(self.client(i, key)) for i, key in enumerate(keys)
                      for _ in range(options.each)]

    async def client(self, who, key):
        def heard():
            self.counts[who] += 1
        while not self.over:
            self.number += 1
            number = self.number
            self.texts[number] = await ask(self.port, key, self.model, number, self.options.tokens, heard)


def metric(port, key, name):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", answer.read().decode(), re.M)
    return sum(float(value) for value in found)


async def measure(port, keys, watcher, options, model, status):
    load = Load(port, keys, options, model)
    await asyncio.sleep(10)

    def now():
        return list(load.counts), status()["tokens"], status()["preemptions"]
    counts, tokens, gave_way = now()
    await asyncio.sleep(options.seconds)
    after, tokens_after, gave_way_after = now()
    blocks = metric(port, watcher, "troupe_kv_blocks_max")
    load.over = True
    await asyncio.gather(*load.tasks)
    spent = [b - a for a, b in zip(counts, after)]
    job = tokens_after - tokens - sum(spent)
    return load.texts, {"tokens": spent, "ratio": round(spent[1] / max(1, spent[0]), 3), "job_tokens": job,
                        "job_part": round(job / max(1, job + sum(spent)), 3), "gave_way": gave_way_after - gave_way,
                        "blocks": int(blocks)}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("troupe")
    parser.add_argument("model")
    for name, value in (("each", 8), ("tokens", 300), ("seconds", 30), ("fit", 4), ("threads", 2),
                        ("job-lines", 40)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--memory", default="")
    options = parser.parse_args()
    options.model = str(pathlib.Path(options.model).resolve())
    harness.TROUPE = options.troupe
    model = pathlib.Path(options.model).stem
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        servers = Servers(options, folder)
        try:
            keys_file = folder / "keys"
            def key(name, *flags):
                return servers.place.json("key", "new", "--api", name, "--api-key-file", keys_file, *flags)["key"]
            keys = [key("one", "--weight", 1), key("three", "--weight", 3)]
            watcher = key("watcher", "--api-role", "metrics")
            http = harness.free_port()
            flags = ["--http", f"127.0.0.1:{http}", "--http-models", options.model, "--http-api-key-file", keys_file]
            if options.memory:
                flags += ["--memory", options.memory]
            home = folder / "head"
            home.mkdir()
            cluster = harness.Cluster(home, 0, threads=[options.threads], head_flags=flags)
            servers.clusters.append(cluster)
            wait_for(f"http://127.0.0.1:{http}/ready", cluster.head.process, "the head")

            def status():
                return cluster.status()["deployments"][0]
            lines = [{"prompt": f"Tale {i}. There was", "seed": i} for i in range(options.job_lines)]
            (home / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            (home / "job.json").write_text(json.dumps({
                "kind": "generate", "model": options.model, "input": "prompts.jsonl", "output": "answers.jsonl",
                "raw": True, "max_tokens": options.tokens, "temperature": 0.9}))
            at = ("--cluster", cluster.head.address)
            job = cluster.place.json("submit", home / "job.json", *at)["id"]
            texts, result = asyncio.run(measure(http, keys, watcher, options, model, status))
            result["job_seconds_after"] = -time.monotonic()
            outcome = cluster.place.troupe("wait", job, *at, timeout=900)
            result["job_seconds_after"] = round(result["job_seconds_after"] + time.monotonic(), 1)
            if outcome.status:
                raise SystemExit(f"the job failed: {outcome}")
            cluster.close()
            servers.clusters.clear()
            alone, _ = servers.ours_alone()
            async def again():
                differ, gate = 0, asyncio.Semaphore(8)
                async def one(number, text):
                    async with gate:
                        return text != await ask(alone, "", model, number, options.tokens, lambda: None)
                differ = await asyncio.gather(*(one(number, text) for number, text in texts.items()))
                return sum(differ)
            result.update(answers=len(texts), differ=asyncio.run(again()))
        finally:
            servers.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
