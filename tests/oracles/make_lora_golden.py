"""Writes tests/data/golden/lora: what PEFT does with adapters on two of the tiny models.

    python make_lora_golden.py      (needs torch, transformers, peft, safetensors)

Each folder is an adapter as PEFT saves it before training, with expected.json: the losses of 20 steps
of torch's AdamW on the recorded batch of two rows, the gradients' norms, and the logits of the first
row with the adapter as saved. The adapter begins as sines, so that the run does not depend on a
generator of random numbers.
"""
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden"
STEPS, RATE = 20, 1e-2


def begin(model):
    """Adapters of sines, in the order of their names; a classifier as the model has it."""
    number = 0
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" not in name:
                continue
            values = torch.arange(number, number + parameter.numel(), dtype=torch.float64)
            parameter.copy_((0.1 * torch.sin(values + 1)).reshape(parameter.shape))
            number += parameter.numel()


def make(family, model, config, batch):
    torch.set_num_threads(1)
    model = get_peft_model(model, config).float().eval()  # no dropout
    begin(model)
    out = GOLDEN / "lora" / family
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    written = json.loads((out / "adapter_config.json").read_text())
    written["base_model_name_or_path"] = family  # instead of a path of this machine
    (out / "adapter_config.json").write_text(json.dumps(written, indent=2) + "\n")
    with torch.no_grad():
        first = {key: value[:1] for key, value in batch.items() if key != "labels"}
        if "attention_mask" in first:
            length = int(first["attention_mask"].sum())
            first = {key: value[:, :length] for key, value in first.items()}
        logits = model(**first).logits.flatten().tolist()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(trained, 1e9).item())
        optimizer.step()
    (out / "expected.json").write_text(json.dumps(
        {"rate": RATE, "loss": losses, "gradient_norm": norms, "logits": logits}) + "\n")
    print(family, losses[0], losses[-1])


def main():
    llama = GOLDEN / "tiny" / "llama"
    recorded = load_file(llama / "expected.safetensors")
    make("llama", AutoModelForCausalLM.from_pretrained(llama),
         LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"],
                    task_type="CAUSAL_LM"),
         {"input_ids": recorded["input_ids"], "labels": recorded["input_ids"]})
    bert = GOLDEN / "tiny" / "bert"
    recorded = load_file(bert / "expected.safetensors")
    make("bert", AutoModelForSequenceClassification.from_pretrained(bert),
         LoraConfig(r=3, lora_alpha=6, use_rslora=True, target_modules=["query", "output.dense"],
                    task_type="SEQ_CLS"),
         {key: recorded[key] for key in ("input_ids", "attention_mask", "labels")})


if __name__ == "__main__":
    main()
