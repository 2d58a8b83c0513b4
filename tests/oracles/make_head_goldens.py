"""Writes tests/data/golden/heads: BERT's heads that read every row, as transformers computes them.

    python make_head_goldens.py      (needs torch 2.15.0, transformers 5.24.0, safetensors)

token is a BertForTokenClassification, mask a BertForMaskedLM whose vocabulary is longer than a block
of logits. Both are random, small, and saved by transformers. expected.safetensors has three padded
texts, what each position shall be (-100: nothing), the loss, the gradient of every parameter, and of
token the logits (N,T,labels).
"""
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

HEADS = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden" / "heads"
NAMES = ["B-PER", "I-PER", "B-LOC", "I-LOC", "O"]
LENGTHS = (23, 4, 11)


def randomize(model, generator):
    for _, value in sorted(model.named_parameters()):
        noise = torch.randn(value.shape, generator=generator)
        is_norm = value.dim() == 1 and value.numel() > 0 and float(value.abs().max()) == 1
        if is_norm:
            value.data = 1 + 0.2 * noise
        elif value.dim() == 1:
            value.data = 0.3 * noise
        else:
            value.data = noise * (0.5 if value.shape[0] > 90 else 1.2 / value.shape[-1] ** 0.5)


def make(name, kind, sizes, outputs, supervised):
    torch.set_num_threads(1)
    config = transformers.BertConfig(type_vocab_size=2, max_position_embeddings=512, **sizes)
    config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    model = kind(config).float().eval()
    randomize(model, generator)
    model.tie_weights()
    width = max(LENGTHS)
    ids = torch.randint(5, sizes["vocab_size"], (len(LENGTHS), width), generator=generator)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, length in enumerate(LENGTHS):
        mask[i, :length] = 1
        ids[i, length:] = 0
        for at in range(1, length - 1):
            if (at * 5 + i) % 7 in supervised:
                labels[i, at] = int(torch.randint(0, outputs, (1,), generator=generator))
    out = model(ids, attention_mask=mask, labels=labels)
    out.loss.backward()
    expected = {"input_ids": ids, "attention_mask": mask, "labels": labels,
                "loss": out.loss.detach().reshape(1)}
    if outputs < 100:
        expected["logits"] = out.logits.detach().contiguous()
    for parameter, value in model.named_parameters():
        expected["grad." + parameter] = value.grad.contiguous()
    folder = HEADS / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    save_file(expected, folder / "expected.safetensors")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(name, size, "bytes, loss", out.loss.item(), "of", int((labels != -100).sum()))


def main():
    make("token", transformers.BertForTokenClassification,
         dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
              num_attention_heads=4, id2label=dict(enumerate(NAMES)),
              label2id={label: i for i, label in enumerate(NAMES)}),
         len(NAMES), {0, 1, 2, 3, 5})
    make("mask", transformers.BertForMaskedLM,
         dict(vocab_size=2100, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
              num_attention_heads=2), 2100, {0, 4})


if __name__ == "__main__":
    main()
