"""`troupe train`: a model from nothing, which is used at once."""
import json
import random
import signal

import pytest

import harness
from test_finetune import LETTERS, decoder, encoder, finetune, labelled, lines

pytestmark = pytest.mark.no_model


def model_file(path, tokenizer, **changes):
    keys = {"family": "llama", "tokenizer": str(tokenizer), "layers": 2, "channels": 64,
            "ffn_channels": 96, "heads": 4, "kv_heads": 2, "context": 64, "seed": 3, **changes}
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()
                            if value is not None))
    return path


def train(place, *arguments):
    done = place.troupe("train", *arguments, "--json")
    assert done.status == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_a_new_model_learns_twenty_answers_through_a_kill(alone, tmp_path):
    letters = decoder(tmp_path / "letters")
    (letters / "model.safetensors").unlink()
    config = model_file(tmp_path / "model.toml", "letters")
    draw = random.Random(11)
    pairs = {"".join(draw.sample(LETTERS, 4)): "".join(draw.sample(LETTERS, draw.randint(2, 5)))
             for _ in range(20)}
    data = lines(tmp_path / "chats.jsonl", [{"prompt": question, "completion": answer}
                                            for question, answer in pairs.items()])

    def arguments(out):
        return ["train", "--config", config, "--data", data, "--task", "chat", "--epochs", 60,
                "--batch-size", 20, "--lr", "3e-3", "--save-every", 20, "-o", out, "--json"]

    out = tmp_path / "out"
    alone.env["TROUPE_FAILPOINT"] = "training.checkpoint.manifest:2"
    killed = alone.troupe(*arguments(out))
    del alone.env["TROUPE_FAILPOINT"]
    assert killed.status == -signal.SIGKILL and not (out / "model.safetensors").exists()
    hashes = [json.loads(alone.troupe(*arguments(place)).out.splitlines()[-1])["weights_sha256"]
              for place in (out, tmp_path / "straight")]
    assert hashes[0] == hashes[1]
    for question, answer in pairs.items():
        got = alone.json("run", out, question, "-n", 20, "--temperature", 0)
        assert got["text"] == answer and got["finish_reason"] == "stop", question
    # The folder can be trained further.
    finetune(alone, out, "--data", data, "--task", "chat", "-o", tmp_path / "further")


def test_first_weights_are_those_of_the_seed(alone, tmp_path):
    letters = decoder(tmp_path / "letters")
    data = lines(tmp_path / "data.jsonl", [{"text": LETTERS[i:]} for i in range(8)])
    hashes = []
    for i, (seed, flags) in enumerate(((3, ["--threads", 1]), (3, ["--threads", 3]), (4, []))):
        config = model_file(tmp_path / f"{i}.toml", letters, seed=seed)
        said = train(alone, "--config", config, "--data", data, "-o", tmp_path / str(i), *flags)
        hashes.append(said[-1]["weights_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]
    # A run continues only with the model with which it began.
    config = model_file(tmp_path / "0.toml", letters)
    flags = ["--data", data, "--save-every", 1, "-o", tmp_path / "saved"]
    train(alone, "--config", config, *flags)
    tokenizer = json.loads((letters / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"]["use_regex"] = False
    (letters / "tokenizer.json").write_text(json.dumps(tokenizer))
    other = alone.troupe("train", "--config", config, *flags)
    assert other.status == 1 and "tokenizer (" in other.err, other.err


def test_a_new_encoder_becomes_a_classifier(alone, tmp_path):
    config = model_file(tmp_path / "model.toml", encoder(tmp_path / "letters"), family="bert",
                        kv_heads=None)
    said = train(alone, "--config", config, "--data", labelled(tmp_path / "train.jsonl", 200),
                 "--task", "classify", "--epochs", 8, "--lr", "3e-3", "-o", tmp_path / "out")
    assert said[-2]["loss"] < said[0]["loss"] / 3
    answer = alone.json("classify", tmp_path / "out", "a b c d")
    assert answer["label"] == "early" and answer["probability"] > 0.9


def test_what_is_wrong_in_the_file_is_said(alone, tmp_path):
    letters, out = decoder(tmp_path / "letters"), tmp_path / "out"
    data = lines(tmp_path / "data.jsonl", [{"text": "abc"}])
    for changes, flags, why in (
            ({"heads": 5, "kv_heads": None}, [], ":6: heads = 5 does not divide the 64 channels"),
            ({"vocabulary": 10}, [], "31 tokens, but the vocabulary is 10"),
            ({"tokenizer": str(tmp_path / "none")}, [], "model.toml: tokenizer: "),
            ({}, ["--task", "classify"], "is for encoders"),
            ({}, ["--task", "dpo"], "a new model has no preferences")):
        config = model_file(tmp_path / "model.toml", changes.pop("tokenizer", letters), **changes)
        done = alone.troupe("train", "--config", config, "--data", data, "-o", out, *flags)
        assert done.status != 0 and why in done.err and not out.exists(), done.err


@pytest.mark.skipif(not harness.MODEL, reason="TROUPE_TEST_MODEL is not set")
def test_the_tokenizer_may_be_that_of_a_gguf_file(alone, tmp_path):
    config = model_file(tmp_path / "model.toml", harness.MODEL, channels=32, context=128)
    text = tmp_path / "text.txt"
    text.write_text("The cat sat on the mat. " * 20 + "\n")
    train(alone, "--config", config, "--data", text, "--epochs", 40, "--lr", "1e-2", "-o",
          tmp_path / "out")
    got = alone.json("run", tmp_path / "out", "The cat sat on", "--raw", "-n", 4)
    assert got["text"] == " the mat. The"
