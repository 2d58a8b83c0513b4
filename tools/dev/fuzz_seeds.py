"""Seeds for the fuzzers of model files (run_fuzzers.py): small whole models of every family, weight
format and tokenizer, so that mutated files get past the first checks.
"""
import base64
import json
import math
import pathlib
import random
import struct

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/data/golden"
TINY = GOLDEN / "tiny"
CHARSMAP = base64.b64decode(json.loads((GOLDEN / "unigram.json").read_text())["charsmap"])
U16, U32, I32, F32, BOOL, STRING, ARRAY = 2, 4, 5, 6, 7, 8, 9
# number: (elements of a block, its bytes, where its f16 scales lie)
FORMATS = {0: (1, 4, ()), 1: (1, 2, ()), 30: (1, 2, ()), 2: (32, 18, (0,)), 3: (32, 20, (0, 2)),
           6: (32, 22, (0,)), 7: (32, 24, (0, 2)), 8: (32, 34, (0,)), 12: (256, 144, (0, 2)),
           13: (256, 176, (0, 2)), 14: (256, 210, (208,)),
           10: (256, 84, (80, 82)), 11: (256, 110, (108,)), 20: (32, 18, (0,)),
           23: (256, 136, (0,)), 39: (32, 17, ()),
           # The formats that are read into others; the last four occur in folders, with scales in tensors of
           # their own.
           16: (256, 66, (0,)), 17: (256, 74, (0,)), 18: (256, 98, (0,)), 19: (256, 50, (0,)),
           21: (256, 110, (0,)), 22: (256, 82, (0,)), 29: (256, 56, ()), 34: (256, 54, (52,)),
           35: (256, 66, (64,)), 1000: (1, 1, ()), 1001: (1, 1, ()), 1002: (32, 16, ()),
           1003: (1, 1, ())}
MXFP4, MXFP4_SPLIT, E8M0 = 39, 1002, 1003


def gguf_string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(kind, content):
    if kind == STRING:
        return gguf_string(content)
    return struct.pack({U16: "<H", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], content)


def entry(key, kind, content):
    if isinstance(content, list):
        return (gguf_string(key) + struct.pack("<IIQ", ARRAY, kind, len(content))
                + b"".join(value(kind, one) for one in content))
    return gguf_string(key) + struct.pack("<I", kind) + value(kind, content)


def weights(kind, elements, chance):
    """Makes random weights near 0; a matrix that a format's blocks do not fit is F32."""
    block, size, scales = FORMATS[kind]
    if size == 1:
        return bytes(chance.randrange(0x40) for _ in range(elements))
    if block == 1:
        bits = [struct.pack("<f", chance.uniform(-0.5, 0.5)) for _ in range(elements)]
        if kind == 1:
            bits = [struct.pack("<e", struct.unpack("<f", one)[0]) for one in bits]
        return b"".join(one[2:] if kind == 30 else one for one in bits)
    blocks = bytearray(chance.randbytes(elements // block * size))
    for at in range(0, len(blocks), size):
        if kind == MXFP4:
            blocks[at] = 124  # an exponent; large ones are refused
        for scale in scales:
            blocks[at + scale:at + scale + 2] = struct.pack("<e", 0.01)
    return bytes(blocks)


def gguf(arch, kind=0, tokenizer=(), more=(), channels=32, vocabulary=12):
    """Makes a model of one layer with two heads of 16."""
    chance, tensors = random.Random(kind), []

    def vector(name, size):
        tensors.append((name, (size,), 0))

    def matrix(name, rows, columns, bias=False):
        fits = columns % FORMATS[kind][0] == 0
        tensors.append((name + ".weight", (columns, rows), kind if fits else 0))
        if kind == MXFP4_SPLIT:
            tensors.append((name + ".weight_scale", (columns // 32, rows), E8M0))
        elif kind >= 1000:
            tensors.append((name + ".weight_scale", (1, rows), 0))
        if bias:
            vector(name + ".bias", rows)

    def norm(name):
        vector(name + ".weight", channels)
        if arch in ("gpt2", "bert"):
            vector(name + ".bias", channels)

    old, ffn = arch in ("gpt2", "bert"), 32
    matrix("token_embd", vocabulary, channels)
    if old:
        matrix("position_embd", 16, channels)
    norm("blk.0.attn_output_norm" if arch == "bert" else "blk.0.attn_norm")
    norm("blk.0.layer_output_norm" if arch == "bert" else "blk.0.ffn_norm")
    if arch == "gpt2":
        matrix("blk.0.attn_qkv", 96, channels, True)
    else:
        for part in "qkv":
            matrix(f"blk.0.attn_{part}", 32, channels, arch in ("qwen2", "bert"))
    if arch == "qwen3":
        vector("blk.0.attn_q_norm.weight", 16)
        vector("blk.0.attn_k_norm.weight", 16)
    matrix("blk.0.attn_output", channels, 32, old)
    if not old:
        matrix("blk.0.ffn_gate", ffn, channels)
    matrix("blk.0.ffn_up", ffn, channels, old)
    matrix("blk.0.ffn_down", channels, ffn, old)
    if arch == "bert":
        norm("token_embd_norm")
        matrix("token_types", 2, channels)
        matrix("cls", channels, channels, True)
        matrix("cls.output", 3, channels, True)
    else:
        norm("output_norm")
    epsilon = "layer_norm_epsilon" if old else "layer_norm_rms_epsilon"
    entries = [("general.architecture", STRING, arch), (f"{arch}.block_count", U32, 1),
               (f"{arch}.context_length", U32, 16), (f"{arch}.embedding_length", U32, channels),
               (f"{arch}.feed_forward_length", U32, ffn), (f"{arch}.attention.head_count", U32, 2),
               (f"{arch}.attention.key_length", U32, 16),
               (f"{arch}.attention.value_length", U32, 16),
               (f"{arch}.attention.{epsilon}", F32, 1e-5), *tokenizer, *more]
    return gguf_file(entries, tensors, chance)


def mixture(arch, kind=0, dense=(), entries=()):
    """Makes a mixture of three experts with two layers; those in `dense` have no experts."""
    chance, channels, ffn, experts = random.Random(kind), 32, 32, 3
    is_oss, tensors = arch == "gpt-oss", [("token_embd.weight", (channels, 12), 0),
                                          ("output_norm.weight", (channels,), 0)]

    def stack(name, rows):
        tensors.append((name + ".weight", (32, rows, experts), kind))
        if kind == MXFP4_SPLIT:
            tensors.append((name + ".weight_scale", (1, rows, experts), E8M0))
        if is_oss:
            tensors.append((name + ".bias", (rows, experts), 0))

    for layer in range(2):
        block = f"blk.{layer}."
        norm = "post_attention_norm" if is_oss else "ffn_norm"
        tensors += [(f"{block}{one}.weight", (channels,), 0) for one in ("attn_norm", norm)]
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors.append((f"{block}{part}.weight", (32, 32), 0))
            if is_oss or (arch == "qwen2moe" and part != "attn_output"):
                tensors.append((f"{block}{part}.bias", (32,), 0))
        if arch == "qwen3moe":
            tensors += [(f"{block}attn_{one}_norm.weight", (16,), 0) for one in "qk"]
        if is_oss:
            tensors += [(block + "attn_sinks.weight", (2,), 0),
                        (block + "ffn_gate_inp.bias", (experts,), 0)]
        if layer in dense:
            tensors += [(f"{block}ffn_{one}.weight", (32, 32), 0) for one in ("gate", "up", "down")]
            continue
        tensors.append((block + "ffn_gate_inp.weight", (channels, experts), 0))
        if arch == "qwen2moe":
            tensors += [(f"{block}ffn_{one}_shexp.weight", (32, rows), 0) for one, rows in
                        (("gate_inp", 1), ("gate", ffn), ("up", ffn), ("down", channels))]
        if kind == MXFP4_SPLIT:
            stack(block + "ffn_gate_up_pairs", 2 * ffn)
        else:
            stack(block + "ffn_gate_exps", ffn)
            stack(block + "ffn_up_exps", ffn)
        stack(block + "ffn_down_exps", channels)
    numbers = {"block_count": 2, "context_length": 16, "embedding_length": channels,
               "feed_forward_length": ffn, "expert_feed_forward_length": ffn, "expert_count": experts,
               "expert_used_count": 2, "attention.head_count": 2, "attention.key_length": 16,
               "attention.value_length": 16}
    return gguf_file([("general.architecture", STRING, arch),
                      *((f"{arch}.{key}", U32, number) for key, number in numbers.items()),
                      (f"{arch}.attention.layer_norm_rms_epsilon", F32, 1e-5), *entries],
                     tensors, chance)


def gguf_file(entries, tensors, chance):
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))
    out += b"".join(entry(*one) for one in entries)
    data = b""
    for name, shape, format_number in tensors:
        out += gguf_string(name) + struct.pack("<I", len(shape))
        out += b"".join(struct.pack("<Q", size) for size in shape)
        out += struct.pack("<IQ", format_number, len(data))
        elements = math.prod(shape)
        data += weights(format_number, elements, chance)
        data += bytes(-len(data) % 32)
    return out + bytes(-len(out) % 32) + data


def byte_level(pre):
    return [("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, pre),
            ("tokenizer.ggml.tokens", STRING, ["H", "e", "<|im_end|>", "He", "l", "o", "ll"]),
            ("tokenizer.ggml.token_type", I32, [1, 1, 3, 1, 1, 1, 4]),
            ("tokenizer.ggml.merges", STRING, ["H e", "l l"]),
            ("tokenizer.ggml.eos_token_id", U32, 2), ("tokenizer.ggml.add_bos_token", BOOL, True)]


SENTENCE = [("tokenizer.ggml.model", STRING, "llama"),
            ("tokenizer.ggml.tokens", STRING, ["<unk>", "<s>", "<0x0A>", "\u2581", "H", "He"]),
            ("tokenizer.ggml.scores", F32, [0, 0, 0, -1, -2, -3]),
            ("tokenizer.ggml.token_type", I32, [2, 3, 6, 1, 1, 1]),
            ("tokenizer.ggml.bos_token_id", U32, 1),
            ("tokenizer.ggml.add_space_prefix", BOOL, True)]
WORD_PIECES = [("tokenizer.ggml.model", STRING, "bert"),
               ("tokenizer.ggml.tokens", STRING,
                ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2581hello", "x", "\u2581wor", "ld"]),
               ("tokenizer.ggml.token_type", I32, [3, 2, 3, 3, 1, 1, 1, 1]),
               ("tokenizer.ggml.cls_token_id", U32, 2),
               ("tokenizer.ggml.seperator_token_id", U32, 3)]
UNIGRAM = [("tokenizer.ggml.model", STRING, "t5"),
           ("tokenizer.ggml.tokens", STRING,
            ["<pad>", "</s>", "<unk>", "<0x0A>", "\u2581", "H", "He", "<x>"]),
           ("tokenizer.ggml.scores", F32, [0, 0, 0, 0, -1, -2, -3, 0]),
           ("tokenizer.ggml.token_type", I32, [3, 3, 2, 6, 1, 1, 1, 4]),
           ("tokenizer.ggml.precompiled_charsmap", I32, list(CHARSMAP)),
           ("tokenizer.ggml.add_space_prefix", BOOL, True),
           ("tokenizer.ggml.remove_extra_whitespaces", BOOL, True)]
SCALING = [("llama.rope.scaling.type", STRING, "linear"), ("llama.rope.scaling.factor", F32, 2.0),
           ("llama.rope.freq_base", F32, 1e5), ("llama.attention.sliding_window", U32, 3)]
SPLIT = [("split.no", U16, 0), ("split.count", U16, 1), ("split.tensors.count", I32, 12)]


def ggufs():
    tokenizers = [byte_level(pre) for pre in ("gpt-2", "smollm", "llama-bpe", "qwen2",
                                              "deepseek-llm", "deepseek-v3")]
    seeds = [gguf("llama", kind, tokenizers[i % len(tokenizers)],
                  channels=256 if FORMATS[kind][0] == 256 else 32)
             for i, kind in enumerate(FORMATS)]
    seeds += [gguf(arch, 8, tokenizers[3]) for arch in ("mistral", "qwen2", "qwen3", "gpt2")]
    seeds += [mixture("qwen3moe", 8, (0,)), mixture("qwen2moe", 0, (1,)),
              mixture("qwen2moe", 2, (1,), [("troupe.dense_layers", I32, [1])]),
              mixture("gpt-oss", 39), mixture("gpt-oss", MXFP4_SPLIT)]
    return seeds + [gguf("bert", 1, WORD_PIECES), gguf("bert", 0, UNIGRAM), gguf("llama", 2, SENTENCE, SCALING),
                    gguf("llama", 8, (), SPLIT)]


def safetensors(names, dtype, size):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name in names:
        header[name] = {"dtype": dtype, "shape": [2, 1], "data_offsets": [at, at + 2 * size]}
        at += 2 * size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def safetensors_seeds():
    seeds = []
    for path in sorted(TINY.glob("*/model.safetensors")):
        content = path.read_bytes()
        size, = struct.unpack("<Q", content[:8])
        names = list(json.loads(content[8:8 + size]))[:40]
        for dtype, bytes_each in (("F32", 4), ("BF16", 2), ("I64", 8), ("F8_E4M3", 1), ("U8", 1)):
            seeds.append(safetensors([n for n in names if n[0] != "_"], dtype, bytes_each))
    return seeds


def tokenizer_json(model, **more):
    return json.dumps({"added_tokens": [
        {"id": 1, "content": "<s>", "special": True},
        {"id": 9, "content": "He llo", "special": False, "normalized": True, "lstrip": True,
         "single_word": True}], "model": model, **more}).encode()


def tokenizers():
    bpe = {"type": "BPE", "vocab": {"H": 0, "<s>": 1, "e": 2, "He": 3, "l": 4, "ll": 5},
           "merges": [["H", "e"], "l l"]}
    fallback = {**bpe, "unk_token": "H", "byte_fallback": True, "fuse_unk": True,
                "vocab": {**bpe["vocab"], "<0x0A>": 6, "\u2581": 7}}
    word_piece = {"type": "WordPiece", "vocab": {"[UNK]": 0, "<s>": 1, "hello": 2, "##x": 3},
                  "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 20}
    unigram = {"type": "Unigram", "unk_id": 0, "byte_fallback": True, "vocab": [
        ["<unk>", 0.0], ["<s>", 0.0], ["\u2581", -1.5], ["H", -2.0], ["He", -3], ["<0x0A>", -4.0]]}
    normalizers = [{"type": "NFC"}, {"type": "NFKD"}, {"type": "Lowercase"},
                   {"type": "StripAccents"}, {"type": "Strip", "strip_left": True,
                                              "strip_right": True},
                   {"type": "Prepend", "prepend": "\u2581"},
                   {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
                   {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
                   {"type": "Precompiled",
                    "precompiled_charsmap": base64.b64encode(CHARSMAP).decode()},
                   {"type": "BertNormalizer", "lowercase": True, "clean_text": True,
                    "handle_chinese_chars": True, "strip_accents": None}]
    cuts = [{"type": "Split", "pattern": {"Regex": "\\p{L}+|[^\\s\\d]"}, "behavior": behavior,
             "invert": False} for behavior in ("Isolated", "Removed", "MergedWithPrevious",
                                               "MergedWithNext", "Contiguous")]
    cuts += [{"type": "Digits", "individual_digits": True}, {"type": "Whitespace"},
             {"type": "WhitespaceSplit"}, {"type": "BertPreTokenizer"},
             {"type": "Punctuation", "behavior": "Isolated"},
             {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always",
              "split": True}]
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    around = {"type": "TemplateProcessing",
              "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
              "special_tokens": {"<s>": {"ids": [1]}}}
    decoders = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    seeds = [tokenizer_json(bpe, normalizer=one, pre_tokenizer=level, post_processor=around,
                            decoder={"type": "ByteLevel"}) for one in normalizers]
    seeds += [tokenizer_json(bpe, pre_tokenizer={"type": "Sequence", "pretokenizers": [
        one, {**level, "use_regex": False}]}, decoder={"type": "ByteLevel"}) for one in cuts]
    seeds += [tokenizer_json(fallback, normalizer={"type": "Sequence", "normalizers": [
        normalizers[5], normalizers[7]]}, decoder=decoders),
        tokenizer_json(fallback, pre_tokenizer=cuts[-1],
                       decoder={"type": "Metaspace", "replacement": "\u2581"}),
        tokenizer_json(unigram, normalizer=normalizers[8], pre_tokenizer=cuts[-1],
                       decoder=decoders),
        tokenizer_json(word_piece, normalizer=normalizers[-1], pre_tokenizer=cuts[8],
                       decoder={"type": "WordPiece", "prefix": "##", "cleanup": True})]
    return seeds


def configs():
    seeds = [path.read_bytes() for path in sorted(TINY.glob("*/config.json"))]
    llama = json.loads((TINY / "llama/config.json").read_text())
    for changes in ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0,
                                         "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                         "original_max_position_embeddings": 32}},
                    {"rope_parameters": None, "rope_theta": 1e4,
                     "rope_scaling": {"type": "linear", "factor": 2.0}},
                    {"eos_token_id": [1, 2], "sliding_window": 4, "use_sliding_window": True,
                     "layer_types": ["full_attention", "sliding_attention"]},
                    {"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}},
                    {"quantization_config": {
                        "quant_method": "compressed-tensors", "format": "float-quantized",
                        "transform_config": {}, "sparsity_config": {"format": "dense"},
                        "config_groups": {"group_0": {"weights": {
                            "type": "float", "num_bits": 8, "block_structure": "128x128"}}}}}):
        seeds.append(json.dumps({**llama, **changes}).encode())
    return seeds


SEEDS = {"gguf_fuzz": ggufs, "safetensors_fuzz": safetensors_seeds,
         "tokenizer_json_fuzz": tokenizers, "hf_config_fuzz": configs}
