"""Writes tests/data/golden/contrastive.json: InfoNCE and its gradient as PyTorch has them.

    python make_contrastive_golden.py      (needs torch)

Rows are the means of texts before they are normed: anchor, positive, hard negatives, anchor, ...
The loss is that of sentence-transformers' MultipleNegativesRankingLoss with cosines: cross-entropy
of each anchor over the positives of all rows, then the negatives of all rows.
"""
import json
import math
import pathlib

import torch

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden"
CHANNELS, ANCHORS = 19, 6


def case(negatives, temperature):
    group = 2 + negatives
    pooled = [[round(2 * math.sin(1.3 * (i * CHANNELS + c) + 0.01 * c * c * i), 4)
               for c in range(CHANNELS)] for i in range(ANCHORS * group)]
    rows = torch.tensor(pooled, dtype=torch.float64, requires_grad=True)
    units = torch.nn.functional.normalize(rows, dim=1)
    anchors, positives = units[0::group], units[1::group]
    hard = [units[i * group + 2 + n] for i in range(ANCHORS) for n in range(negatives)]
    others = torch.cat([positives, torch.stack(hard)]) if hard else positives
    scores = anchors @ others.T / temperature
    loss = torch.nn.functional.cross_entropy(scores, torch.arange(ANCHORS))
    loss.backward()
    return {"negatives": negatives, "temperature": temperature, "pooled": pooled,
            "loss": loss.item(), "gradient": rows.grad.tolist(),
            "hits": int((scores.argmax(1) == torch.arange(ANCHORS)).sum())}


def main():
    (GOLDEN / "contrastive.json").write_text(json.dumps(
        {"channels": CHANNELS, "torch": torch.__version__.split("+")[0],
         "cases": [case(n, t) for n in (0, 1, 2) for t in (0.05, 0.5, 1.0)]}) + "\n")


if __name__ == "__main__":
    main()
