"""Writes tests/data/golden/distillation.safetensors: what a tiny llama learns from a tiny qwen2.

    python make_distillation_golden.py      (needs torch 2.15.0, transformers 5.24.0, safetensors)

The batch is the llama's recorded one, in which every position but the last predicts the next token.
For each case (ratio, temperature, label smoothing) of the name: the loss
(1 - ratio) cross-entropy + ratio T^2 KL(teacher || student), both at temperature T, averaged over
the positions, and gradients of the student.
"""
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden"
CASES = ((0.5, 2.0, 0.0), (1.0, 1.0, 0.0), (0.25, 4.0, 0.1))
KEPT = ("model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "model.norm.weight")


def load(family):
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "tiny" / family,
                                                 attn_implementation="eager")
    return model.double().eval()


def main():
    torch.set_num_threads(1)
    ids = load_file(GOLDEN / "tiny" / "llama" / "expected.safetensors")["input_ids"]
    teacher = load("qwen2")
    with torch.no_grad():
        wanted = teacher(ids).logits[:, :-1].flatten(0, 1)
    out = {}
    for ratio, temperature, smoothing in CASES:
        student = load("llama")
        logits = student(ids).logits[:, :-1].flatten(0, 1)
        hard = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten(),
                                                 label_smoothing=smoothing)
        soft = torch.nn.functional.kl_div(
            torch.nn.functional.log_softmax(logits / temperature, 1),
            torch.nn.functional.softmax(wanted / temperature, 1), reduction="batchmean")
        loss = (1 - ratio) * hard + ratio * temperature ** 2 * soft
        loss.backward()
        case = f"{ratio}/{temperature}/{smoothing}"
        out[f"{case}/loss"] = loss.detach().float().reshape(1)
        for name, value in student.named_parameters():
            if name in KEPT:
                out[f"{case}/grad.{name}"] = value.grad.float().contiguous()
        print(case, hard.item(), soft.item(), loss.item())
    save_file(out, GOLDEN / "distillation.safetensors")


if __name__ == "__main__":
    main()
