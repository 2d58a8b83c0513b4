#!/usr/bin/env python3
"""Compares the tokens per second of one stream with and without speculation, on several kinds of text.

usage: speculation.py TROUPE MODEL [--rounds 5] [--tokens 128] [--threads N] [--kind KIND ...]

"code" repeats a class, and "rag" answers with a passage of its prompt, so both repeat earlier text; "story"
and "drawn" (temperature 1) do not. Each round runs every kind with speculation and without it, one after the
other; the texts must be equal. Prints one JSON object:
  {"model","tokens","threads","kinds":{KIND:{"with","without","ratio","worst"}}}
with the medians of tokens/s, the median of the rounds' ratios (with over without), and the smallest ratio.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

CODE = '''class Account:
    def __init__(self, owner, balance):
        self.owner = owner
        self.balance = balance

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("the amount must be positive")
        self.balance += amount

    def withdraw(self, amount):
        if amount > self.balance:
            raise ValueError("the balance is too small")
        self.balance -= amount
'''
PASSAGE = ("The lighthouse of Kermorvan was built in 1849 on the westernmost point of the mainland. "
           "Its square tower stands twenty metres high and is joined to the shore by a granite "
           "bridge. The keepers left in 1994, when the lamp was made to work by itself. Today the "
           "tower is open to visitors in July and August, and its light is seen over twenty-two "
           "nautical miles.")
KINDS = {
    "code": ["--raw", f"{CODE}\n\n# The same class once more:\n{CODE}\n\n# The same class once "
             "more:\nclass Account:"],
    "rag": ["--raw", f"Passage: {PASSAGE}\n\nThe passage, word for word:\n{PASSAGE}\n\nOnce more, "
            "word for word:\nThe lighthouse of"],
    "story": ["Tell me a story about a fisherman who finds a letter."],
    "drawn": ["Tell me a story about a fisherman who finds a letter.", "--temperature", "1",
              "--seed", "7"],
}


def run(options, kind, *flags):
    command = [options.troupe, "run", options.model, *KINDS[kind], "-n", str(options.tokens), "-t",
               str(options.threads), "--json", *flags]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("troupe")
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kind", action="append", choices=sorted(KINDS))
    options = parser.parse_args()
    os.environ["TROUPE_CLUSTER"] = "none"
    rates = {kind: [] for kind in options.kind or KINDS}
    for number in range(options.rounds):
        for kind, pairs in rates.items():
            flags = [[], ["--no-speculation"]]
            results = [run(options, kind, *one) for one in (flags if number % 2 == 0 else flags[::-1])]
            if results[0]["token_ids"] != results[1]["token_ids"]:
                sys.exit(f"the texts of {kind} differ: {json.dumps(results)}")
            pair = [one["decode_tok_s"] for one in results]
            pairs.append(pair if number % 2 == 0 else pair[::-1])
    print(json.dumps({
        "model": options.model, "tokens": options.tokens, "threads": options.threads,
        "kinds": {kind: {
            "with": round(statistics.median(pair[0] for pair in pairs), 1),
            "without": round(statistics.median(pair[1] for pair in pairs), 1),
            "ratio": round(statistics.median(pair[0] / pair[1] for pair in pairs), 3),
            "worst": round(min(pair[0] / pair[1] for pair in pairs), 3),
        } for kind, pairs in rates.items()}}))


if __name__ == "__main__":
    main()
