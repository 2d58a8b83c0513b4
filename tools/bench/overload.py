#!/usr/bin/env python3
"""Shows what a server does with ten times the requests that it can answer.

First 16 clients ask one question after the other (a closed loop): this is the capacity. Then requests come
at ten times that rate, whether or not earlier ones were answered (an open loop), and beside them one client
waits as long as each refusal's Retry-After says before it asks again. The load comes from a process of its
own, on the same machine: it takes CPU time from the server. Prompts are never the same.

Prints one JSON object: complete answers/s of both loops and their ratio; the statuses; how long refusals
took (p99); memory (RssAnon + VmSwap) above that of the full server; and how long the obedient client
waited, over the Retry-After that it got first.

  TROUPE_TEST_MODEL=$(troupe pull smollm2-135m) tools/bench/overload.py --seconds 20
"""
import argparse
import asyncio
import itertools
import json
import multiprocessing
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "e2e"))
import harness  # noqa: E402  (after the path is set)
import http_server  # noqa: E402

CLIENTS = 16
ANSWERS = 240  # ServeLimits::answers
TIMES = 10
TOKENS = 16
NUMBERS = itertools.count()


def memory_bytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines()
               if line.startswith(("RssAnon:", "VmSwap:")))


def request_bytes(text, tokens):
    body = json.dumps({"model": "smol", "messages": [{"role": "user", "content": text}],
                       "max_tokens": tokens, "temperature": 0, "ignore_eos": True}).encode()
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)) + body


async def ask(port, text, tokens):
    """Returns (status, seconds, Retry-After in seconds or None); the status is 0 if there was no answer."""
    began = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0, time.monotonic() - began, None
    try:
        writer.write(request_bytes(text, tokens))
        answer = await reader.read(-1)
    except OSError:
        answer = b""
    finally:
        writer.close()
    seconds = time.monotonic() - began
    head = answer.split(b"\r\n\r\n", 1)[0].decode(errors="replace")
    if not head.startswith("HTTP/1.1 "):
        return 0, seconds, None
    retry = [line.split(":", 1)[1] for line in head.split("\r\n")
             if line.lower().startswith("retry-after-ms:")]
    return int(head[9:12]), seconds, float(retry[0]) / 1000 if retry else None


def words():
    number = next(NUMBERS)
    return f"Question {number}: " + " ".join(f"{number * 7919 % (i + 11)}" for i in range(20))


async def closed_loop(port, seconds, tokens):
    over, done = time.monotonic() + seconds, 0

    async def client():
        nonlocal done
        while time.monotonic() < over:
            status, _, _ = await ask(port, words(), tokens)
            done += status == 200 and time.monotonic() < over

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done / seconds


async def open_loop(port, fill, seconds, tokens, rate):
    """Returns the answers of `seconds` seconds, after the first `fill` seconds in which the server fills up."""
    began, tasks, answers = time.monotonic(), set(), []
    result = {}

    async def one():
        status, took, retry = await ask(port, words(), tokens)
        answers.append((time.monotonic() - began, status, took, retry))

    async def obedient():
        await asyncio.sleep(fill + seconds / 4)
        asked, first, tries = time.monotonic(), None, 0
        text = words()
        while True:
            status, _, retry = await ask(port, text, tokens)
            tries += 1
            if status == 200:
                break
            first = first or retry
            if time.monotonic() - asked > 10 * seconds:
                break
            await asyncio.sleep(retry or 1)
        result.update(waited_s=round(time.monotonic() - asked, 2), first_retry_after_s=first,
                      tries=tries, status=status)

    beside = asyncio.create_task(obedient())
    number = 0
    while (now := time.monotonic() - began) < fill + seconds or not beside.done():
        while number < now * rate:
            number += 1
            task = asyncio.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.sleep(0.002)
    within = [answer for answer in answers if fill <= answer[0] < fill + seconds]
    if tasks:
        await asyncio.wait(tasks, timeout=120)
    return within, number / (time.monotonic() - began), result


def load(kind, arguments, pipe):
    pipe.send(asyncio.run(kind(*arguments)))


def in_process(kind, arguments, meanwhile=lambda: None):
    """Runs a loop in a process of its own, and calls `meanwhile` ten times a second."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=load, args=(kind, arguments, theirs))
    process.start()
    while not ours.poll(0.1):
        meanwhile()
        if not process.is_alive() and not ours.poll():
            raise RuntimeError("the load has failed")
    result = ours.recv()
    process.join()
    return result


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))] if values else None


def measure(server, options):
    pid = server.process.pid
    in_process(closed_loop, (server.port, 3, options.tokens))  # warm
    capacity = in_process(closed_loop, (server.port, options.seconds, options.tokens))
    # A full server has as many answers under way as it takes, which end after about this time.
    fill = 1.3 * ANSWERS / capacity
    full = []
    in_process(open_loop, (server.port, fill, 1, options.tokens, 3 * capacity),
               lambda: full.append(memory_bytes(pid)))
    most = []
    answers, rate, obedient = in_process(
        open_loop, (server.port, fill, options.seconds, options.tokens, TIMES * capacity),
        lambda: most.append(memory_bytes(pid)))
    statuses = {}
    for _, status, _, _ in answers:
        statuses[status] = statuses.get(status, 0) + 1
    refusals = [took for _, status, took, _ in answers if status in (429, 503)]
    complete = statuses.get(200, 0) / options.seconds
    return {
        "closed_loop_answers_s": round(capacity, 2), "offered_s": round(rate, 1),
        "open_loop_answers_s": round(complete, 2),
        "ratio": round(complete / capacity, 3) if capacity else None,
        "statuses": statuses, "refusals_p50_ms": refusals and round(1e3 * percentile(refusals, 0.5), 1),
        "refusals_p99_ms": refusals and round(1e3 * percentile(refusals, 0.99), 1),
        "memory_above_full_mib": round((max(most) - max(full)) / 2**20, 1), "obedient": obedient,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    options = parser.parse_args()
    if not harness.MODEL:
        parser.error("TROUPE_TEST_MODEL is not set")
    with tempfile.TemporaryDirectory(prefix="troupe-overload-") as folder:
        place = harness.Place(folder)
        place.env["TROUPE_CLUSTER"] = "none"
        try:
            print(json.dumps(measure(http_server.Server(place, "--no-access-log"), options)))
        finally:
            place.close()


if __name__ == "__main__":
    main()
