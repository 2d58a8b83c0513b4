"""What `troupe show` says of a file: that it runs, or the one thing that is wrong or missing."""
import struct

import pytest

import harness

pytestmark = pytest.mark.no_model

U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5
TINY = harness.ROOT / "tests" / "data" / "golden" / "tiny"
CHANNELS, INNER, LAYERS, TOKENS = 32, 64, 2, 259
Q8_K, IQ2_XXS, TQ2_0 = 15, 16, 35  # the latter two have 66 bytes for 256 weights


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def scalar(kind, value):
    if kind == STRING:
        return text(value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def byte_texts():
    """The texts that byte-level BPE gives the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + i) for i in range(len(others))]


def metadata():
    return {
        "general.architecture": (STRING, "llama"),
        "llama.block_count": (U32, LAYERS),
        "llama.context_length": (U32, 64),
        "llama.embedding_length": (U32, CHANNELS),
        "llama.feed_forward_length": (U32, INNER),
        "llama.attention.head_count": (U32, 4),
        "llama.attention.head_count_kv": (U32, 2),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "llama.rope.freq_base": (F32, 10000.0),
        "tokenizer.ggml.model": (STRING, "gpt2"),
        "tokenizer.ggml.pre": (STRING, "llama-bpe"),
        "tokenizer.ggml.tokens": (STRING, [*byte_texts(), "ab", "<s>", "</s>"]),
        "tokenizer.ggml.token_type": (I32, [1] * 257 + [3, 3]),
        "tokenizer.ggml.merges": (STRING, ["a b"]),
        "tokenizer.ggml.bos_token_id": (U32, 257),
        "tokenizer.ggml.eos_token_id": (U32, 258),
        "tokenizer.chat_template": (STRING, "{{ messages[0].content }}"),
    }


def tensors():
    found = {"token_embd.weight": (TOKENS, CHANNELS), "output_norm.weight": (CHANNELS,),
             "output.weight": (TOKENS, CHANNELS)}
    for layer in range(LAYERS):
        for name, shape in {
                "attn_norm": (CHANNELS,), "attn_q": (CHANNELS, CHANNELS),
                "attn_k": (CHANNELS // 2, CHANNELS), "attn_v": (CHANNELS // 2, CHANNELS),
                "attn_output": (CHANNELS, CHANNELS), "ffn_norm": (CHANNELS,),
                "ffn_gate": (INNER, CHANNELS), "ffn_up": (INNER, CHANNELS),
                "ffn_down": (CHANNELS, INNER)}.items():
            found[f"blk.{layer}.{name}.weight"] = shape
    return {name: (0, shape) for name, shape in found.items()}


def write(path, entries, weights):
    out = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(entries))
    for key, (kind, value) in entries.items():
        out += text(key)
        if isinstance(value, list):
            out += struct.pack("<IIQ", ARRAY, kind, len(value))
            out += b"".join(scalar(kind, one) for one in value)
        else:
            out += struct.pack("<I", kind) + scalar(kind, value)
    at = 0
    for name, (kind, shape) in weights.items():
        out += text(name) + struct.pack("<I", len(shape))
        out += b"".join(struct.pack("<Q", size) for size in reversed(shape))
        out += struct.pack("<IQ", kind, at)
        elements = 1
        for size in shape:
            elements *= size
        size = elements * 4 if kind == 0 else -(-elements // 256) * 66
        at += -(-size // 32) * 32
    path.write_bytes(out + bytes(-len(out) % 32) + bytes(at))
    return path


def wrong_files():
    """(name, metadata, tensors, what the sentence says) for every file with one thing wrong."""
    def one(name, said, change):
        entries, weights = metadata(), tensors()
        change(entries, weights)
        return name, entries, weights, said

    for name in tensors():
        if name != "output.weight":  # then it is the embedding
            yield one(f"without {name}", name, lambda _, w, name=name: w.pop(name))
        yield one(f"{name} of another shape", name, lambda _, w, name=name: w.update(
            {name: (0, tuple(2 * size for size in w[name][1]))}))
        yield one(f"{name} of another type", "Q8_K", lambda _, w, name=name: w.update(
            {name: (Q8_K, w[name][1][:-1] + (256,))}))
    needed = ["general.architecture", "llama.block_count", "llama.context_length",
              "llama.embedding_length", "llama.feed_forward_length",
              "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon",
              "tokenizer.ggml.tokens"]
    for key in needed:
        yield one(f"without {key}", key, lambda e, _, key=key: e.pop(key))
    for key, (kind, value) in metadata().items():
        if isinstance(value, list) or key == "tokenizer.chat_template":
            continue
        wrong = (STRING, "seven") if kind != STRING else (U32, 7)
        yield one(f"{key} of another kind", key,
                  lambda e, _, key=key, wrong=wrong: e.update({key: wrong}))
    for key, value, said in [
            ("general.architecture", (STRING, "rwkv7"), "rwkv7"),
            ("tokenizer.ggml.model", (STRING, "plamo2"), "plamo2"),
            ("tokenizer.ggml.pre", (STRING, "of-tomorrow"), "of-tomorrow"),
            ("llama.block_count", (U32, 0), "number of layers"),
            ("llama.block_count", (U32, 1), "blk.1."),
            ("llama.block_count", (U32, 3), "blk.2."),
            ("llama.attention.head_count", (U32, 5), "head_count"),
            ("llama.attention.head_count_kv", (U32, 3), "key/value heads"),
            ("llama.rope.freq_base", (F32, 0.5), "rotary base"),
            ("llama.rope.scaling.type", (STRING, "spiral"), "spiral"),
            ("llama.rope.dimension_count", (U32, 7), "rotary dimension 7"),
            ("llama.attention.value_length", (U32, 16), "16"),
            ("llama.expert_count", (U32, 4), "llama.expert_used_count"),
            ("llama.attention.layer_norm_rms_epsilon", (F32, 0.0), "epsilon"),
            ("llama.attention.layer_norm_rms_epsilon", (F32, 2.0), "epsilon"),
            ("llama.embedding_length", (U32, 48), "asks for 48"),
            ("llama.feed_forward_length", (U32, 96), "ffn_gate.weight"),
            ("llama.context_length", (U32, 0), "context length"),
            ("tokenizer.ggml.token_type", (I32, [1, 1]), "tokenizer.ggml.token_type"),
            ("tokenizer.ggml.merges", (STRING, ["ab"]), "merge 0")]:
        yield one(f"{key} {value[1]}", said,
                  lambda e, _, key=key, value=value: e.update({key: value}))
    yield one("a bias of another world", "blk.0.attn_sinks", lambda _, w: w.update(
        {"blk.0.attn_sinks.weight": (0, (4,))}))


def test_a_file_that_runs(place):
    path = write(place.folder / "whole.gguf", metadata(), tensors())
    shown = place.json("show", path)
    assert shown["runs"] == "yes, with its chat template"
    assert shown["chat"] and shown["fits"] and 0 < shown["need_bytes"] < shown["offered_bytes"]
    assert "yes, with its chat template" in place.troupe("show", path).out


def test_the_memory_of_a_clusters_nodes(place):
    path = write(place.folder / "whole.gguf", metadata(), tensors())
    head = place.start("head", "--memory", "300MiB")
    place.start("second", "--join", head.join, "--memory", "200MiB")
    shown = place.json("show", path, "--cluster", head.address)
    assert shown["nodes"] == [{"name": "head", "free_bytes": 300 << 20},
                              {"name": "second", "free_bytes": 200 << 20}]
    assert shown["fits"] and shown["runs"] == "yes, with its chat template"
    assert place.json("show", path)["nodes"] is None
    entries = metadata()
    entries["llama.context_length"] = (U32, 4096)
    entries["llama.attention.head_count_kv"] = (U32, 4)
    entries["llama.attention.key_length"] = entries["llama.attention.value_length"] = (U32, 4096)
    weights = tensors()
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v"):
            weights[f"blk.{layer}.{name}.weight"] = (0, (4 * 4096, CHANNELS))
        weights[f"blk.{layer}.attn_output.weight"] = (0, (CHANNELS, 4 * 4096))
    path = write(place.folder / "large.gguf", entries, weights)
    outcome = place.troupe("show", path, "--cluster", head.address)
    assert outcome.status == 0 and "no: it needs" in outcome.out, str(outcome)
    assert "the 2 nodes of the cluster have" in outcome.out and "add a node" in outcome.out
    shown = place.json("show", path, "--cluster", head.address)
    assert not shown["fits"] and shown["need_bytes"] > 500 << 20


def test_files_that_run_in_another_way(place):
    entries = metadata()
    entries["tokenizer.chat_template"] = (STRING, "{% include 'x' %}")
    shown = place.json("show", write(place.folder / "template.gguf", entries, tensors()))
    assert shown["runs"].startswith("yes, with --raw") and "include" in shown["runs"]
    assert not shown["chat"]
    del entries["tokenizer.chat_template"]
    shown = place.json("show", write(place.folder / "raw.gguf", entries, tensors()))
    assert shown["runs"].startswith("yes, with --raw") and "no chat template" in shown["runs"]
    shown = place.json("show", TINY / "llama")
    assert shown["runs"].startswith("yes, on token ids (--prompt-ids): it has no tokenizer")
    assert place.json("show", TINY / "bert")["runs"] == "yes: troupe classify"


def test_weights_that_become_another_format(place):
    entries, weights = metadata(), tensors()
    inner = 256
    entries["llama.feed_forward_length"] = (U32, inner)
    for layer in range(LAYERS):
        for name in ("ffn_gate", "ffn_up"):
            weights[f"blk.{layer}.{name}.weight"] = (0, (inner, CHANNELS))
    for kind, name, loss in [(TQ2_0, "TQ2_0", "loses nothing"),
                             (IQ2_XXS, "IQ2_XXS", "by at most 0.05 % of the largest of 32")]:
        for layer in range(LAYERS):
            weights[f"blk.{layer}.ffn_down.weight"] = (kind, (CHANNELS, inner))
        path = write(place.folder / "small.gguf", entries, weights)
        shown = place.json("show", path)
        assert shown["formats"][name] == LAYERS * CHANNELS * inner
        assert shown["becomes"] == {name: "Q8_0"}
        assert shown["grows_bytes"] == LAYERS * CHANNELS * (inner // 32 * 34 - 66)
        said = place.troupe("show", path).out
        assert f"{name} becomes Q8_0 in memory" in said and loss in said


def test_a_folder_of_8_bit_floats(place):
    shown = place.json("show", TINY / "llama_fp8")
    assert shown["becomes"] == {"F8_E4M3": "BF16"}
    assert shown["grows_bytes"] == shown["formats"]["F8_E4M3"]
    assert "F32" not in shown["formats"]
    assert "F8_E4M3 becomes BF16 in memory" in place.troupe("show", TINY / "llama_fp8").out
    ran = place.troupe("run", TINY / "llama_fp8", "--prompt-ids", "5,6,7", "--max-tokens", 2)
    assert ran.status == 0, str(ran)
    stored = shown["formats"]["F8_E4M3"] / 1e6
    assert (f"F8_E4M3 becomes BF16 in memory ({stored:.1f} MB of the file take {2 * stored:.1f} MB), "
            "by which no weight changes by more than 0.00") in ran.err
    assert "no weight changes by more than" in ran.err


def test_files_with_one_thing_wrong(place):
    wrong = list(wrong_files())
    assert len(wrong) >= 100
    missed = []
    for name, entries, weights, said in wrong:
        outcome = place.troupe("show", write(place.folder / "wrong.gguf", entries, weights))
        sentence = outcome.err.strip().splitlines()[-1] if outcome.err.strip() else ""
        if outcome.status != 1 or said not in sentence or "damaged" in sentence:
            missed.append(f"{name}: status {outcome.status}, {sentence!r} lacks {said!r}")
    assert not missed, "\n".join(missed)
