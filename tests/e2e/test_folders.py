"""Hugging Face folders as models: logits, tokens, layers on other nodes, and what show says."""
import array
import json
import struct

import pytest

import harness

TINY = harness.ROOT / "tests" / "data" / "golden" / "tiny"
DECODERS = ["llama", "mistral", "qwen2", "qwen3", "gpt2"]
pytestmark = pytest.mark.no_model


def tensors(path):
    """name -> (shape, values) of a safetensors file's F32 and I64 tensors."""
    content = path.read_bytes()
    size, = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + size])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        found[name] = entry["shape"], array.array({"F32": "f", "I64": "q"}[entry["dtype"]],
                                                  content[begin:end])
    return found


def text(ids):
    return ",".join(map(str, ids))


def logits(place, model, ids, *flags):
    out = place.folder / "out.safetensors"
    answer = place.json("logits", model, "--ids", text(ids), "-o", out, *flags)
    shape, values = tensors(out)["logits"]
    assert answer == {"file": str(out), "shape": shape}
    return shape, values


def worst(ours, expected):
    assert len(ours) == len(expected)
    return max(abs(a - b) for a, b in zip(ours, expected))


@pytest.mark.parametrize("family", DECODERS)
def test_logits_of_a_decoder(place, family):
    recorded = tensors(TINY / family / "expected.safetensors")
    ids, expected = recorded["input_ids"][1], recorded["logits"][1]
    for row in range(2):
        mine = ids[row * 12:row * 12 + 12]
        shape, values = logits(place, TINY / family, mine)
        assert shape == [12, 128]
        # The tolerance of 2e-5 is for f32 sums in another order than PyTorch's.
        assert worst(values, expected[row * 12 * 128:(row + 1) * 12 * 128]) < 2e-5
    for flags in (["--chunk", 1], ["--chunk", 7, "--threads", 3], ["--kv", "f32"]):
        assert logits(place, TINY / family, mine, *flags)[1] == values
    half = logits(place, TINY / family, mine, "--kv", "f16")[1]
    assert half != values and worst(half, values) < 2e-3


def test_logits_of_a_classifier(place):
    recorded = tensors(TINY / "bert" / "expected.safetensors")
    for row in range(2):
        mask = recorded["attention_mask"][1][row * 12:row * 12 + 12]
        ids = recorded["input_ids"][1][row * 12:row * 12 + sum(mask)]
        shape, values = logits(place, TINY / "bert", ids)
        assert shape == [2]
        assert worst(values, recorded["logits"][1][row * 2:row * 2 + 2]) < 2e-5
    assert logits(place, TINY / "bert", ids, "--token-types", text([0] * len(ids)))[1] == values
    assert logits(place, TINY / "bert", ids, "--token-types", text([1] * len(ids)))[1] != values


def greedy(place, model, ids, count):
    """What a model goes on with, from its logits alone."""
    ids = list(ids)
    for _ in range(count):
        values = logits(place, model, ids)[1][-128:]
        ids.append(max(range(128), key=lambda i: (values[i], -i)))
        if ids[-1] == 2:  # what config.json calls the end
            break
    return ids


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_run_with_token_ids(place, family):
    answer = place.json("run", TINY / family, "--prompt-ids", "5,6,7", "-n", 6)
    assert answer["prompt_token_ids"] == [5, 6, 7]
    assert [5, 6, 7] + answer["token_ids"] == greedy(place, TINY / family, [5, 6, 7], 6)
    assert answer["text"] == ""
    assert place.json("run", TINY / family, "--prompt-ids", "5,6,7", "-n", 6, "--kv",
                      "f32")["token_ids"] == answer["token_ids"]


def test_layers_of_a_folder_on_other_nodes(tmp_path):
    cluster = harness.Cluster(tmp_path, 2)
    try:
        for family in ("qwen3", "gpt2", "qwen2_moe"):
            words = ("run", TINY / family, "--prompt-ids", "9,8,7,6", "-n", 20)
            alone = cluster.place.json(*words, "--cluster", "none")
            shared = cluster.place.json(*words, "--cluster", cluster.head.address,
                                        "--layers", "0,1")
            assert shared["token_ids"] == alone["token_ids"]
            assert len(shared["nodes"]) == 2
            half = cluster.place.json(*words, "--cluster", cluster.head.address, "--kv", "f16")
            assert half["token_ids"] == cluster.place.json(*words, "--cluster", "none", "--kv",
                                                           "f16")["token_ids"]
    finally:
        cluster.close()


def test_show(place):
    shown = place.json("show", TINY / "qwen3")
    assert shown["family"] == "qwen3"
    assert shown["formats"] == {"F32": shown["parameters"]}
    assert (shown["layers"], shown["channels"], shown["heads"], shown["kv_heads"],
            shown["head_dim"]) == (2, 64, 4, 2, 24)
    assert shown["vocabulary"] == 128 and shown["context"] == 64 and shown["kv"] == "f32"
    assert shown["tokenizer"] is None
    assert len(shown["sha256"]) == 64
    assert place.json("show", TINY / "mistral")["window"] == 6
    assert place.json("show", TINY / "bert")["labels"] == 2
    plain = place.troupe("show", TINY / "bert")
    assert plain.status == 0 and "encoder" in plain.out and "none: give token ids" in plain.out


@pytest.mark.parametrize("words, status, said", [
    (["run", "bert", "--prompt-ids", "1,2"], 2, "encoder"),
    (["bench", "bert"], 2, "encoder"),
    (["run", "llama", "some text"], 1, "chat template"),
    (["run", "llama", "--raw", "some text"], 1, "--prompt-ids"),
    (["run", "llama", "--prompt-ids", "1,128"], 2, "128"),
    (["run", "llama", "--prompt-ids", "1,2", "--kv", "q8"], 2, "--kv"),
    (["logits", "llama", "-o", "OUT"], 2, "--ids"),
    (["logits", "llama", "--ids", "1,2"], 2, "--out"),
    (["logits", "llama", "--ids", "1,x", "-o", "OUT"], 2, "--ids"),
    (["logits", "llama", "--ids", "1,128", "-o", "OUT"], 2, "128"),
    (["logits", "llama", "--ids", ",".join(["1"] * 65), "-o", "OUT"], 2, "context of 64"),
    (["logits", "llama", "--ids", "1", "-o", "/nowhere/out"], 1, "/nowhere"),
    (["logits", "bert", "--ids", "1,2", "--token-types", "0,2", "-o", "OUT"], 2, "token type 2"),
    (["logits", "bert", "--ids", "1,2", "--token-types", "0", "-o", "OUT"], 2, "1 token types"),
    (["show", "/nowhere"], 1, "/nowhere"),
    (["tokenize", "llama", "hi"], 1, "tokenizer"),
    (["perplexity", "llama", "-f", harness.GPL], 1, "tokenizer"),
])
def test_bad_input(place, words, status, said):
    words = [TINY / word if word in ("llama", "bert") else
             place.folder / "out" if word == "OUT" else word for word in words]
    outcome = place.troupe(*words)
    assert outcome.status == status, str(outcome)
    assert said in outcome.err.splitlines()[-1], str(outcome)
    # Only `run` takes ids for a prompt.
    assert words[0] == "run" or "--prompt-ids" not in outcome.err, str(outcome)


def test_a_damaged_folder(place):
    folder = place.folder / "model"
    folder.mkdir()
    config = json.loads((TINY / "llama" / "config.json").read_text())
    weights = (TINY / "llama" / "model.safetensors").read_bytes()

    def says(*words):
        outcome = place.troupe("run", folder, "--prompt-ids", "1,2")
        assert outcome.status == 1, str(outcome)
        sentence = outcome.err.splitlines()[-1]
        assert all(word in sentence for word in words), sentence

    says("config.json")
    (folder / "config.json").write_text(json.dumps(config))
    says("model.safetensors")
    for cut in (4, 100, len(weights) - 1):
        (folder / "model.safetensors").write_bytes(weights[:cut])
        says("model.safetensors")
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    says("config.json", "num_hidden_layers", "2 layers")
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {
        "quant_method": "awq"}}))
    says("config.json", "'awq'", "cannot read")
    (folder / "config.json").write_text("[" * 10000)
    says("config.json", "deep")
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
    says("config.json", "mamba")
