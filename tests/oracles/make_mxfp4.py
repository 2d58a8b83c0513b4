"""Makes tests/data/golden/tiny/gpt_oss_mxfp4: a tiny gpt-oss folder as OpenAI publishes it, with the
experts in MXFP4 (blocks and scales), and a config.json with the fields of theirs.

    python3 tests/oracles/make_mxfp4.py

Needs transformers 5.24.0 and torch 2.15.0, which no test needs. expected.safetensors has the input ids
(2,12), PyTorch's logits of the dequantized weights in f32, and what transformers makes of the experts
of layer 0 (in BF16, which loses nothing): gate_up_proj (E,C,2G) and down_proj (E,G,C).
"""
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

TINY = pathlib.Path(__file__).parent.parent / "data" / "golden" / "tiny"
EXPERTS, CHANNELS, INNER, LAYERS = 4, 64, 32, 2
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=32.0,
            beta_slow=1.0, truncate=False)
CONFIG = dict(model_type="gpt_oss", architectures=["GptOssForCausalLM"], vocab_size=96,
              hidden_size=CHANNELS, intermediate_size=INNER, num_hidden_layers=LAYERS,
              num_attention_heads=4, num_key_value_heads=2, head_dim=12, num_local_experts=EXPERTS,
              num_experts_per_tok=2, experts_per_token=2, max_position_embeddings=64,
              initial_context_length=16, sliding_window=5, swiglu_limit=7.0, rms_norm_eps=1e-5,
              layer_types=["sliding_attention", "full_attention"], attention_bias=True,
              rope_scaling=YARN, rope_theta=150000, tie_word_embeddings=False, hidden_act="silu",
              bos_token_id=1, eos_token_id=2, pad_token_id=0, torch_dtype="bfloat16")
generator = torch.Generator().manual_seed(4)


def drawn(*shape):
    return torch.randn(shape, generator=generator)


def packed(*shape):
    """Blocks and scales of random numbers that make weights of a usual size."""
    *outer, columns = shape
    blocks = torch.randint(256, (*outer, columns // 32, 16), generator=generator, dtype=torch.uint8)
    scales = torch.randint(122, 126, (*outer, columns // 32), generator=generator, dtype=torch.uint8)
    return blocks, scales


config = transformers.GptOssConfig(**{key: value for key, value in CONFIG.items()
                                      if key not in ("rope_scaling", "rope_theta")},
                                   rope_parameters=dict(YARN, rope_theta=150000.0))
config._attn_implementation = "eager"
model = transformers.GptOssForCausalLM(config).float().eval()
stored, expected = {}, {}
for name, value in model.named_parameters():
    if name.endswith(("gate_up_proj", "down_proj")):
        experts, inputs, outputs = value.shape
        blocks, scales = packed(experts, outputs, inputs)
        stored[name + "_blocks"], stored[name + "_scales"] = blocks, scales
        exact = convert_moe_packed_tensors(blocks, scales)
        value.data = exact.float()
        if ".layers.0." in name:
            expected[name.rsplit(".", 1)[1]] = exact.contiguous()
        continue
    if value.dim() == 1 and name.endswith("weight"):
        value.data = 1 + 0.2 * drawn(*value.shape)
    elif name.endswith("bias") or "sinks" in name or value.dim() == 1:
        value.data = 0.3 * drawn(*value.shape)
    else:
        value.data = drawn(*value.shape) * (0.5 if "embed" in name else value.shape[-1] ** -0.5)
    stored[name] = value.data.to(torch.bfloat16)
    value.data = stored[name].float()
ids = torch.randint(3, 96, (2, 12), generator=generator)
with torch.no_grad():
    expected["logits"] = model(ids, use_cache=False).logits.contiguous()
expected["input_ids"] = ids

folder = TINY / "gpt_oss_mxfp4"
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir()
CONFIG["quantization_config"] = {
    "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router",
                               "model.embed_tokens", "lm_head"],
    "quant_method": "mxfp4"}
(folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
save_file(stored, folder / "model.safetensors")
save_file(expected, folder / "expected.safetensors")
print(sum(path.stat().st_size for path in folder.iterdir()), "bytes, logits up to",
      float(expected["logits"].abs().max()))
