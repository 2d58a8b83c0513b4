"""Makes tests/data/golden/tiny/FAMILY for the families that models/families has beside the first six.

    python3 tests/oracles/make_tiny_models.py [FAMILY...]

Needs transformers 5.24.0 and torch 2.15.0, which no test needs: the folders are committed. Every
model is random, small and stressed: heads whose width does not follow from the channels, windows
shorter than the prompt, norm weights and biases that are not trivial, an inner width over 256 in
most. expected.safetensors has the input ids (2,12) and PyTorch's logits of them in f32; of encoders,
it has two texts with their mask, what the last layer gives (2,T,C), and the logits (2,L).
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers
from safetensors.torch import save_file

TINY = pathlib.Path(__file__).parent.parent / "data" / "golden" / "tiny"
SIZES = dict(vocab_size=96, hidden_size=32, intermediate_size=264, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, head_dim=12,
             max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0)
DEEP = dict(SIZES, intermediate_size=40)
MIXTURE = dict(SIZES, intermediate_size=40, moe_intermediate_size=24)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=10000.0)


def no_head_dim(sizes):
    return {key: value for key, value in sizes.items() if key != "head_dim"}


FAMILIES = {
    "gemma2": ("Gemma2", dict(DEEP, num_hidden_layers=4, sliding_window=5, query_pre_attn_scalar=12,
                              attn_logit_softcapping=3.0, final_logit_softcapping=4.0)),
    "gemma3": ("Gemma3Text", dict(DEEP, num_hidden_layers=7, sliding_window=5,
                                  query_pre_attn_scalar=12, rope_parameters={
                                      "full_attention": dict(rope_type="linear", factor=8.0,
                                                             rope_theta=1000000.0),
                                      "sliding_attention": dict(rope_type="default",
                                                                rope_theta=10000.0)})),
    "phi3": ("Phi3", dict(no_head_dim(SIZES), hidden_size=48, intermediate_size=144,
                          sliding_window=5, rope_parameters=dict(
                              rope_type="default", rope_theta=10000.0,
                              partial_rotary_factor=0.5))),
    "phi3_long": ("Phi3", dict(no_head_dim(SIZES), hidden_size=48, intermediate_size=144,
                               original_max_position_embeddings=16, tie_word_embeddings=True,
                               rope_parameters=dict(
                                   rope_type="longrope", rope_theta=10000.0,
                                   partial_rotary_factor=0.5,
                                   original_max_position_embeddings=16,
                                   short_factor=[1.0, 1.25, 1.5], long_factor=[1.0, 2.0, 4.0]))),
    "olmo2": ("Olmo2", no_head_dim(dict(SIZES))),
    "smollm3": ("SmolLM3", dict(no_head_dim(DEEP), num_hidden_layers=5, tie_word_embeddings=True)),
    "granite": ("Granite", dict(no_head_dim(SIZES), embedding_multiplier=3.0,
                                residual_multiplier=0.3, attention_multiplier=0.2,
                                logits_scaling=2.5, tie_word_embeddings=True)),
    "glm4": ("Glm4", dict(SIZES, attention_bias=True)),
    "llama_biased": ("Llama", dict(SIZES, attention_bias=True, mlp_bias=True,
                                   rope_parameters=YARN)),
    "qwen3_yarn": ("Qwen3", dict(SIZES, rope_parameters=YARN)),
    "mixtral": ("Mixtral", dict(MIXTURE, num_local_experts=5, num_experts_per_tok=2)),
    "qwen2_moe": ("Qwen2Moe", dict(no_head_dim(MIXTURE), num_experts=5, num_experts_per_tok=2,
                                   shared_expert_intermediate_size=28, norm_topk_prob=False)),
    "qwen3_moe": ("Qwen3Moe", dict(MIXTURE, num_experts=6, num_experts_per_tok=3,
                                   norm_topk_prob=True)),
    # Layers with experts and layers without: every second one, and one that is listed.
    "qwen2_moe_dense": ("Qwen2Moe", dict(no_head_dim(MIXTURE), num_hidden_layers=4, num_experts=4,
                                         num_experts_per_tok=2, decoder_sparse_step=2,
                                         shared_expert_intermediate_size=28,
                                         norm_topk_prob=False)),
    "qwen3_moe_dense": ("Qwen3Moe", dict(MIXTURE, intermediate_size=264, num_hidden_layers=3,
                                         num_experts=4, num_experts_per_tok=2, norm_topk_prob=True,
                                         mlp_only_layers=[0], tie_word_embeddings=True)),
    "gpt_oss": ("GptOss", dict(MIXTURE, num_local_experts=4, num_experts_per_tok=2, sliding_window=5,
                               rope_parameters=dict(YARN, beta_fast=32.0, beta_slow=1.0,
                                                    truncate=False))),
}
for layered in ("smollm3", "olmo2", "granite"):
    FAMILIES[layered][1].setdefault("rope_parameters", dict(rope_type="default",
                                                            rope_theta=10000.0))


ENCODER = dict(vocab_size=96, hidden_size=32, intermediate_size=264, num_hidden_layers=2,
               num_attention_heads=4, max_position_embeddings=64, pad_token_id=1, bos_token_id=0,
               eos_token_id=2, num_labels=3)
ENCODERS = {
    "roberta": ("Roberta", dict(ENCODER, type_vocab_size=1, layer_norm_eps=1e-5)),
    "xlm_roberta": ("XLMRoberta", dict(ENCODER, type_vocab_size=2, intermediate_size=40)),
    "distilbert": ("DistilBert", dict(vocab_size=96, dim=32, hidden_dim=264, n_layers=2, n_heads=4,
                                      max_position_embeddings=64, num_labels=3)),
    # Its texts have distances in all buckets.
    "mpnet": ("MPNet", dict(ENCODER, max_position_embeddings=152, intermediate_size=72)),
    # Four layers: with and without windows, which are shorter than the texts.
    "modernbert": ("ModernBert", dict(ENCODER, num_hidden_layers=4, intermediate_size=72,
                                      local_attention=8, global_attn_every_n_layers=3,
                                      classifier_pooling="mean", cls_token_id=0, sep_token_id=2,
                                      reference_compile=False, layer_norm_eps=1e-5)),
}


def randomize(model, generator):
    for name, value in model.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        if value.dim() == 1 and name.endswith("weight"):
            around = 0.0 if "gemma" in type(model).__name__.lower() else 1.0
            value.data = around + 0.2 * noise
        elif value.dim() == 1 or name.endswith("bias") or "sinks" in name:
            value.data = 0.3 * noise
        else:
            value.data = noise * (0.5 if "embed" in name else 1.2 / value.shape[-1] ** 0.5)


def make(family):
    name, sizes = FAMILIES[family]
    config = getattr(transformers, name + "Config")(**sizes)
    config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(sum(map(ord, family)))
    model = getattr(transformers, name.removesuffix("Text") + "ForCausalLM")(config).float().eval()
    randomize(model, generator)
    model.tie_weights()
    ids = torch.randint(3, sizes["vocab_size"], (2, 12), generator=generator)
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits
    folder = TINY / family
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    save_file({"input_ids": ids, "logits": logits.contiguous()}, folder / "expected.safetensors")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(family, size, "bytes, logits up to", float(logits.abs().max()),
          json.loads((folder / "config.json").read_text()).get("rope_parameters"))


def make_encoder(family):
    name, sizes = ENCODERS[family]
    config = getattr(transformers, name + "Config")(**sizes)
    config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(sum(map(ord, family)))
    kind = getattr(transformers, name + "ForSequenceClassification")
    model = kind(config).float().eval()
    randomize(model, generator)
    count = sizes["max_position_embeddings"] - 4
    ids = torch.randint(3, sizes["vocab_size"], (2, count), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 17:] = 0
    ids[1, 17:] = config.pad_token_id
    expected = {"input_ids": ids, "attention_mask": mask}
    with torch.no_grad():
        expected["hidden"] = model.base_model(ids, attention_mask=mask)[0].contiguous()
        expected["logits"] = model(ids, attention_mask=mask).logits.contiguous()
        if family == "modernbert":
            config.classifier_pooling = model.config.classifier_pooling = "cls"
            expected["logits_cls"] = model(ids, attention_mask=mask).logits.contiguous()
            config.classifier_pooling = model.config.classifier_pooling = "mean"
    folder = TINY / family
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    save_file(expected, folder / "expected.safetensors")
    print(family, sum(path.stat().st_size for path in folder.iterdir()), "bytes, logits",
          expected["logits"].tolist())


for chosen in sys.argv[1:] or [*FAMILIES, *ENCODERS]:
    (make_encoder if chosen in ENCODERS else make)(chosen)
