"""Writes tests/data/golden/training.json: what PyTorch's optimizers, transformers' schedules and the
loss of direct preference optimization give.

    python make_training_goldens.py      (needs torch, transformers, peft, safetensors)
"""
import json
import math
import pathlib

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, get_scheduler

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden"
STEPS = 20


def sines(count, size, phase):
    return torch.tensor([size * math.sin(1.7 * i + phase) for i in range(count)])


def optimizers():
    """37 weights, whose gradient at step t is sines(37, 3, t) / 7."""
    out = {}
    for name, make in {
            "adamw": lambda p: torch.optim.AdamW([p], lr=1e-2, betas=(0.9, 0.95), eps=1e-8,
                                                 weight_decay=0.1),
            "sgd": lambda p: torch.optim.SGD([p], lr=1e-2, momentum=0.9, weight_decay=0.1),
            "plain_sgd": lambda p: torch.optim.SGD([p], lr=1e-2)}.items():
        weights = torch.nn.Parameter(sines(37, 1.0, 0.1).float())
        optimizer = make(weights)
        for step in range(1, STEPS + 1):
            weights.grad = (sines(37, 3.0, step) / 7).float()
            optimizer.step()
        out[name] = weights.tolist()
    return out


def schedules():
    """The rates of 30 steps, of which 5 warm up."""
    out = {}
    for name, theirs in {"constant": "constant_with_warmup", "linear": "linear",
                         "cosine": "cosine"}.items():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
        schedule = get_scheduler(theirs, optimizer, num_warmup_steps=5, num_training_steps=30)
        rates = []
        for _ in range(30):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        out[name] = rates
    return out


def log_likelihood(model, ids, prompt):
    """The sum over the tokens after the prompt."""
    logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
    chosen = torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return chosen[prompt - 1:].sum()


def preference():
    """Direct preference optimization (Rafailov et al. 2023, equation 7) of the tiny llama with the
    recorded adapter, which is switched off for the reference."""
    torch.set_num_threads(1)
    pairs = [{"prompt": 3, "chosen": [5, 17, 40, 9, 88, 2], "rejected": [5, 17, 40, 61, 2]},
             {"prompt": 2, "chosen": [7, 7, 30, 31, 2], "rejected": [7, 7, 99, 12, 54, 2]},
             {"prompt": 4, "chosen": [1, 2, 3, 4, 50], "rejected": [1, 2, 3, 4, 51, 52, 53]}]
    base = AutoModelForCausalLM.from_pretrained(GOLDEN / "tiny" / "llama")
    model = PeftModel.from_pretrained(base, GOLDEN / "lora" / "llama", is_trainable=True)
    model = model.float().eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.01)
    beta, losses, norms = 0.3, [], []
    for _ in range(STEPS):
        with torch.no_grad(), model.disable_adapter():
            reference = [[log_likelihood(model, pair[side], pair["prompt"]).item()
                          for side in ("chosen", "rejected")] for pair in pairs]
        optimizer.zero_grad()
        margins = torch.stack([
            beta * ((log_likelihood(model, pair["chosen"], pair["prompt"]) - before[0])
                    - (log_likelihood(model, pair["rejected"], pair["prompt"]) - before[1]))
            for pair, before in zip(pairs, reference)])
        loss = -torch.nn.functional.logsigmoid(margins).mean()
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(trained, 1e9).item())
        optimizer.step()
    return {"pairs": pairs, "beta": beta, "rate": 1e-3, "loss": losses, "gradient_norm": norms}


def main():
    (GOLDEN / "training.json").write_text(json.dumps(
        {"optimizers": optimizers(), "schedules": schedules(), "preference": preference()}) + "\n")


if __name__ == "__main__":
    main()
