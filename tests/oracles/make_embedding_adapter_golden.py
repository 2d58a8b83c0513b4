"""Writes tests/data/golden/lora/embed: a PEFT adapter of embeddings, trained by torch.

    python make_embedding_adapter_golden.py      (needs torch, transformers, peft, safetensors)

The adapter is of the tiny BERT without its head, as PEFT saves it before training. expected.json has
groups of three texts (anchor, positive, negative), their embeddings (the mean of the last layer's
rows, normed) with the adapter as saved, and the losses of 10 steps of torch's AdamW, where the loss
is that of sentence-transformers' MultipleNegativesRankingLoss with cosines.
"""
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from transformers import BertModel

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden"
STEPS, RATE, TEMPERATURE, GROUP = 10, 1e-2, 0.1, 3


def embed(model, texts):
    rows = []
    for ids in texts:
        hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        rows.append(torch.nn.functional.normalize(hidden.mean(0), dim=0))
    return torch.stack(rows)


def main():
    torch.set_num_threads(1)
    base = BertModel.from_pretrained(GOLDEN / "tiny" / "bert", attn_implementation="eager")
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=12, target_modules=["query", "value"],
                                            task_type="FEATURE_EXTRACTION")).float().eval()
    number = 0
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" in name:
                values = torch.arange(number, number + parameter.numel(), dtype=torch.float64)
                parameter.copy_((0.1 * torch.sin(values + 1)).reshape(parameter.shape))
                number += parameter.numel()
    out = GOLDEN / "lora" / "embed"
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    written = json.loads((out / "adapter_config.json").read_text())
    written["base_model_name_or_path"] = "bert"  # instead of a path of this machine
    (out / "adapter_config.json").write_text(json.dumps(written, indent=2) + "\n")
    texts = [[(i * 31 + at * at * 3 + 5) % 120 for at in range(3 + i * i * 7 % 38)]
             for i in range(4 * GROUP)]
    with torch.no_grad():
        embeddings = embed(model, texts).tolist()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        units = embed(model, texts)
        others = torch.cat([units[1::GROUP], units[2::GROUP]])
        loss = torch.nn.functional.cross_entropy(units[0::GROUP] @ others.T / TEMPERATURE,
                                                 torch.arange(4))
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    (out / "expected.json").write_text(json.dumps(
        {"rate": RATE, "temperature": TEMPERATURE, "texts": texts, "embeddings": embeddings,
         "loss": losses}) + "\n")
    print(losses)


if __name__ == "__main__":
    main()
