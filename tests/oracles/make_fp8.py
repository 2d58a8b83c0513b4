"""Makes what the tests of FP8 weights read: tests/data/golden/fp8.safetensors, matrices of 8-bit
floats with scales of every shape and their values in BF16, and tests/data/golden/tiny/llama_fp8, a
tiny folder as transformers saves it after quantizing, with PyTorch's f32 logits of its BF16 values.

    python3 tests/oracles/make_fp8.py

Needs transformers 5.24.0 and torch 2.15.0, which no test needs.
"""
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

GOLDEN = pathlib.Path(__file__).parent.parent / "data" / "golden"
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
BLOCK = 128
generator = torch.Generator().manual_seed(8)


def spread(scale, rows, columns):
    """Repeats scales over the blocks of a matrix; the last ones may be cut."""
    if scale.numel() == 1:
        return scale.reshape(1, 1)
    scale = scale.reshape(rows, 1) if scale.dim() == 1 else scale
    for axis, size in enumerate((rows, columns)):
        count = scale.shape[axis]
        rounded = -(-size // BLOCK) == count and count > 1
        block = BLOCK if rounded else size // count
        scale = scale.repeat_interleave(block, axis).narrow(axis, 0, size)
    return scale


def values(weight, scale):
    product = weight.to(torch.float32) * spread(scale.to(torch.float32), *weight.shape)
    return product.to(torch.bfloat16)


def check(weight, scale, out):
    """transformers divides a matrix evenly among its scales, whatever the size of a block is."""
    grid = scale.reshape(-1, 1) if scale.dim() < 2 else scale
    blocks = [-(-size // BLOCK) for size in weight.shape]
    if any(size % count or (count > 1 and count == block and size != count * BLOCK)
           for size, count, block in zip(weight.shape, grid.shape, blocks)):
        return False
    assert torch.equal(out, Fp8Dequantize(None)._dequantize_one(weight, grid, torch.bfloat16))
    return True


def numbers(kind, rows, columns):
    """Every code of the format that is a number, and random ones."""
    codes = torch.arange(256, dtype=torch.uint8)
    codes = codes[torch.isfinite(codes.view(kind).to(torch.float32))]
    drawn = codes[torch.randint(len(codes), (rows * columns,), generator=generator)]
    drawn[:min(len(codes), rows * columns)] = codes[:rows * columns]
    return drawn.view(kind).reshape(rows, columns)


def scales(shape, kind):
    drawn = torch.exp2(torch.rand(shape, generator=generator) * 8 - 10)
    return drawn.to(kind)


def make_matrices():
    tensors = {}
    for name, kind, rows, columns, shape, scale_kind in [
            ("number", E4M3, 19, 33, (), torch.float32),
            ("one", E5M2, 19, 33, (1,), torch.bfloat16),
            ("rows", E4M3, 35, 17, (35, 1), torch.float32),
            ("list", E5M2, 35, 17, (35,), torch.bfloat16),
            ("blocks", E4M3, 131, 150, (2, 2), torch.float32),
            ("blocks_f16", E5M2, 129, 20, (2, 1), torch.float16),
            ("blocks_bf16", E4M3, 7, 300, (1, 3), torch.bfloat16),
            ("even", E4M3, 30, 28, (3, 4), torch.float32),
            ("whole", E4M3, 256, 128, (2, 1), torch.float32)]:
        weight, scale = numbers(kind, rows, columns), scales(shape, scale_kind)
        tensors[name + ".weight"] = weight
        tensors[name + ".weight_scale"] = scale
        tensors[name + ".bf16"] = values(weight, scale)
        print(name, "equals transformers'" if check(weight, scale, tensors[name + ".bf16"]) else "")
    save_file(tensors, GOLDEN / "fp8.safetensors")


def quantized(weight):
    rows, columns = weight.shape
    padded = torch.zeros(-(-rows // BLOCK) * BLOCK, -(-columns // BLOCK) * BLOCK)
    padded[:rows, :columns] = weight
    blocks = padded.reshape(padded.shape[0] // BLOCK, BLOCK, -1, BLOCK)
    scale = blocks.abs().amax(dim=(1, 3)) / torch.finfo(E4M3).max
    return (weight / spread(scale, rows, columns)).to(E4M3), scale


def make_folder():
    config = transformers.LlamaConfig(
        vocab_size=96, hidden_size=136, intermediate_size=150, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=12, max_position_embeddings=64,
        bos_token_id=1, eos_token_id=2, pad_token_id=0)
    config._attn_implementation = "eager"
    model = transformers.LlamaForCausalLM(config).float().eval()
    tensors = {}
    for name, value in model.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if value.dim() == 1:
            value.copy_((1 + 0.2 * noise).to(torch.bfloat16))
            tensors[name] = value.to(torch.bfloat16)
        elif "layers" not in name:
            value.copy_((noise * (0.5 if "embed" in name else 0.1)).to(torch.bfloat16))
            tensors[name] = value.to(torch.bfloat16)
        else:
            weight, scale = quantized(noise * 1.2 / value.shape[-1] ** 0.5)
            value.copy_(values(weight, scale))
            tensors[name], tensors[name + "_scale_inv"] = weight, scale
    ids = torch.randint(3, 96, (2, 12), generator=generator)
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits
    folder = GOLDEN / "tiny" / "llama_fp8"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    save_file({"input_ids": ids, "logits": logits.contiguous()}, folder / "expected.safetensors")
    text = json.loads(config.to_json_string())
    text["architectures"] = ["LlamaForCausalLM"]
    text["quantization_config"] = {"activation_scheme": "dynamic", "quant_method": "fp8",
                                   "modules_to_not_convert": ["lm_head"],
                                   "weight_block_size": [BLOCK, BLOCK]}
    (folder / "config.json").write_text(json.dumps(text, indent=2) + "\n")
    print("logits up to", float(logits.abs().max()))


make_matrices()
make_folder()
