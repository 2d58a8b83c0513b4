#!/usr/bin/env python3
"""Measures PyTorch in training for comparison: one epoch of classification, or steps of a language model.

usage: peer_torch.py classify MINILM_FOLDER TRAIN.jsonl [--threads 2]   batches of 32 in the file's order
       peer_torch.py lm MODEL.gguf [--steps 4] [--lora-rank 8] [--checkpointing] [--threads 2]
                                                         batches of 4 x 256 tokens, all weights or an adapter

Weights are f32, the optimizer is AdamW (fused), dropout is off. Prints one JSON object: the tokens of
texts (no padding) in a second, of the best step for `lm`. Set-up: pip install torch transformers
safetensors gguf accelerate peft
"""
import argparse
import json
import os
import time

import torch


def classify(options):
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification
    rows = [json.loads(line) for line in open(options.data, encoding="utf-8")]
    labels = sorted({row["label"] for row in rows})
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    config = AutoConfig.from_pretrained(options.model)
    config.num_labels = len(labels)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model = BertForSequenceClassification.from_pretrained(options.model, config=config).float().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    tokens = 0
    began = time.perf_counter()
    for first in range(0, len(rows) - 31, 32):
        batch = rows[first:first + 32]
        encoded = tokenizer([row["text"] for row in batch], padding=True, truncation=True, max_length=64,
                            return_tensors="pt")
        tokens += int(encoded.attention_mask.sum())
        wanted = torch.tensor([labels.index(row["label"]) for row in batch])
        loss = model(input_ids=encoded.input_ids, attention_mask=encoded.attention_mask, labels=wanted).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"tokens_per_s": tokens / (time.perf_counter() - began), "loss": loss.item()}


def language_model(options):
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(
        os.path.dirname(os.path.abspath(options.model)), gguf_file=os.path.basename(options.model),
        dtype=torch.float32)
    if options.lora_rank:
        from peft import LoraConfig, get_peft_model
        model = get_peft_model(model, LoraConfig(r=options.lora_rank, target_modules=["q_proj", "v_proj"]))
    if options.checkpointing:
        model.gradient_checkpointing_enable()
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    ids = torch.tensor([[(i * 7919 + 13 + row * 31) % 30000 + 100 for i in range(256)] for row in range(4)])
    best = None
    for _ in range(1 + options.steps):  # the first step is not counted
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        seconds = time.perf_counter() - began
        best = seconds if best is None or seconds < best else best
    return {"tokens_per_s": ids.numel() / best, "loss": loss.item()}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("kind", choices=("classify", "lm"))
    parser.add_argument("model")
    parser.add_argument("data", nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--lora-rank", type=int, default=0)
    parser.add_argument("--checkpointing", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    answer = classify(options) if options.kind == "classify" else language_model(options)
    print(json.dumps({"peer": "torch " + torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(),
                      **answer}))


if __name__ == "__main__":
    main()
