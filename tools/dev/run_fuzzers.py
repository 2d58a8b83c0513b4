#!/usr/bin/env python3
"""Runs every fuzzer of a build for some seconds each, from seeds made here.

usage: run_fuzzers.py BUILD SECONDS     a finding is an exit status of 1, its input lies in BUILD
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

TINY = pathlib.Path(__file__).resolve().parents[2] / "tests/data/golden/tiny"
TEMPLATES = TINY.parents[1] / "templates"


def gguf_string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf():
    """A header of a small llama with a few tokens and one tensor."""
    u32 = [("llama.block_count", 1), ("llama.embedding_length", 32), ("llama.context_length", 64),
           ("llama.feed_forward_length", 32), ("llama.attention.head_count", 2),
           ("tokenizer.ggml.eos_token_id", 2)]
    texts = [("general.architecture", "llama"), ("tokenizer.ggml.model", "gpt2"),
             ("tokenizer.ggml.pre", "smollm")]
    metadata = b"".join(gguf_string(k) + struct.pack("<II", 4, v) for k, v in u32)
    metadata += b"".join(gguf_string(k) + struct.pack("<I", 8) + gguf_string(v) for k, v in texts)
    tokens = ["H", "e", "<|im_end|>", "He"]
    metadata += gguf_string("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, len(tokens))
    metadata += b"".join(map(gguf_string, tokens))
    metadata += gguf_string("tokenizer.ggml.merges") + struct.pack("<IIQ", 9, 8, 1)
    metadata += gguf_string("H e")
    tensor = gguf_string("token_embd.weight") + struct.pack("<IQQIQ", 2, 32, 4, 0, 0)
    count = len(u32) + len(texts) + 2
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, count) + metadata + tensor
    return header + bytes(-len(header) % 32) + bytes(4 * 32 * 4)


def safetensors():
    header = (b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}'
              b',"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}')
    return struct.pack("<Q", len(header)) + header + bytes(32)


def tokenizer_json(model, **more):
    return json.dumps({"added_tokens": [{"id": 1, "content": "<s>", "special": True}],
                       "model": model, **more}).encode()


BYTE_LEVEL = tokenizer_json(
    {"type": "BPE", "vocab": {"H": 0, "<s>": 1, "e": 2, "He": 3}, "merges": [["H", "e"]]},
    normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, {
        "type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}]},
    pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{L}+|[^\\s\\d]"}, "behavior": "Isolated",
         "invert": False},
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]},
    post_processor={"type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
                    "special_tokens": {"<s>": {"ids": [1]}}},
    decoder={"type": "ByteLevel"})
WORD_PIECE = tokenizer_json(
    {"type": "WordPiece", "vocab": {"[UNK]": 0, "<s>": 1, "hello": 2, "##x": 3},
     "unk_token": "[UNK]", "continuing_subword_prefix": "##"},
    normalizer={"type": "BertNormalizer", "lowercase": True},
    pre_tokenizer={"type": "BertPreTokenizer"}, decoder={"type": "WordPiece", "prefix": "##"})

SEEDS = {
    "gguf_fuzz": [gguf()],
    "frame_fuzz": [b"TRP1\x01\0\x05\0" + bytes(72), struct.pack("<I", 3) + b"abc" + bytes(40)],
    "text_fuzz": [b"127.0.0.1:7700", b"[::1]:7700", b"0-9,10-19", b"trp-" + b"0" * 96],
    "chat_template_fuzz": [path.read_bytes() for path in sorted(TEMPLATES.glob("*.jinja"))],
    "tokenizer_json_fuzz": [BYTE_LEVEL, WORD_PIECE],
    "safetensors_fuzz": [safetensors()],
    "hf_config_fuzz": [path.read_bytes() for path in sorted(TINY.glob("*/config.json"))],
}


def run(fuzzer, seconds):
    with tempfile.TemporaryDirectory() as folder:
        for i, seed in enumerate(SEEDS.get(fuzzer.name, [b""])):
            (pathlib.Path(folder) / f"seed-{i}").write_bytes(seed)
        return subprocess.run(
            [fuzzer.resolve(), f"-max_total_time={seconds}", "-rss_limit_mb=1024", "-timeout=10",
             "-max_len=65536", "-print_final_stats=1",
             f"-artifact_prefix={fuzzer.resolve()}-finding-", folder], check=False).returncode


def main():
    build, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    fuzzers = sorted(path for path in build.glob("*_fuzz") if path.is_file())
    if not fuzzers:
        sys.exit(f"there is no fuzzer in {build}")
    failed = []
    for fuzzer in fuzzers:
        print(f"== {fuzzer.name} for {seconds} s", flush=True)
        if run(fuzzer, seconds) != 0:
            failed.append(fuzzer.name)
    print(f"{len(fuzzers)} fuzzers, findings of: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
