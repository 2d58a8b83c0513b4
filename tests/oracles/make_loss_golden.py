"""Writes tests/data/golden/losses.json: values and gradients of PyTorch's losses.

    python make_loss_golden.py      (needs torch)

Every row of a batch has the same logits, `bias`, so that a classifier whose matrix is zero has them,
and the gradient is that of its bias.
"""
import json
import math
import pathlib

import torch

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden"
CLASSES, ROWS = 37, 11


def cross_entropy(bias, targets, weights, smoothing):
    logits = torch.tensor(bias, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(
        logits.expand(len(targets), -1), torch.tensor(targets), label_smoothing=smoothing,
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float64))
    loss.backward()
    return {"loss": loss.item(), "gradient": logits.grad.tolist()}


def squares(bias, values):
    output = torch.tensor([bias], dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.mse_loss(output.expand(len(values)),
                                        torch.tensor(values, dtype=torch.float64))
    loss.backward()
    return {"bias": bias, "values": values, "loss": loss.item(), "gradient": output.grad.tolist()}


def main():
    bias = [round(3 * math.sin(1.7 * i), 4) for i in range(CLASSES)]
    targets = [(i * i + 3) % CLASSES for i in range(ROWS)]
    weights = [round(0.25 + (i * 5 % 7) / 4, 4) for i in range(CLASSES)]
    cases = [{"smoothing": smoothing, "weighted": weighted,
              **cross_entropy(bias, targets, weights if weighted else None, smoothing)}
             for smoothing in (0.0, 0.1, 0.5) for weighted in (False, True)]
    (GOLDEN / "losses.json").write_text(json.dumps(
        {"bias": bias, "targets": targets, "weights": weights, "cases": cases,
         "squares": squares(0.75, [0.5, -2.25, 3.0, 0.75, 10.5])}) + "\n")


if __name__ == "__main__":
    main()
