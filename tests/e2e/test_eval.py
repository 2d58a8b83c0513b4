"""`troupe eval`, and `--adapter`: a LoRA adapter beside the weights."""
import json
import math

import pytest

import harness
from test_finetune import LETTERS, TINY, decoder, encoder, finetune, labelled, lines, pairs_of_words

pytestmark = pytest.mark.no_model


def test_the_loss_of_texts_is_that_of_the_trainer(alone, tmp_path):
    model = decoder(tmp_path / "model")
    data = lines(tmp_path / "data.jsonl", [{"text": LETTERS[i:] + LETTERS[:i]} for i in range(9)])
    said = [alone.json("eval", model, "--data", data, "--max-length", 16, "--threads", threads)
            for threads in (1, 2, 3)]
    assert said[0] == said[1] == said[2]
    got = said[0]
    assert got["examples"] == 18 and got["tokens"] == 9 * 15 + 9 * 9 and got["left_out"] == 0
    assert got["bytes"] == got["tokens"]  # each token is a letter
    assert math.isclose(got["perplexity"], math.exp(got["loss"]), rel_tol=1e-9)
    assert math.isclose(got["bits_per_byte"], got["loss"] / math.log(2), rel_tol=1e-9)
    assert math.isclose(got["accuracy"], got["right"] / got["tokens"], rel_tol=1e-9)
    # The trainer measures the same loss with these weights before its first step changes them.
    step = finetune(alone, model, "--data", data, "--max-length", 16, "--batch-size", 18,
                    "--max-steps", 1, "-o", tmp_path / "out")[0]
    assert math.isclose(got["loss"], step["loss"], rel_tol=1e-6)
    shown = alone.troupe("eval", model, "--data", data, "--max-length", 16)
    assert shown.status == 0
    assert [line.split("  ")[0] for line in shown.out.splitlines()] == [
        "loss", "perplexity", "bits per byte", "accuracy"]


def test_a_classifier_is_evaluated(alone, tmp_path):
    model = encoder(tmp_path / "model")
    out = tmp_path / "out"
    finetune(alone, model, "--data", labelled(tmp_path / "train.jsonl", 120), "--task", "classify",
             "--epochs", 2, "--lr", "1e-3", "-o", out)
    test = labelled(tmp_path / "test.jsonl", 51, 2)
    rows = [json.loads(line) for line in test.read_text().splitlines()]
    told = alone.troupe("classify", out, "-f", test)
    answers = [line.split("\t")[0] for line in told.out.splitlines()]
    got = alone.json("eval", out, "--data", test, "--task", "classify")
    names = [one["label"] for one in got["labels"]]
    assert names == ["early", "late"]
    pairs = [(row["label"], answer) for row, answer in zip(rows, answers)]
    assert got["confusion"] == [[pairs.count((label, answer)) for answer in names]
                                for label in names]
    right = sum(label == answer for label, answer in pairs)
    assert got["right"] == right and math.isclose(got["accuracy"], right / 51)
    f1 = [2 * pairs.count((n, n)) / (sum(n == a for a, _ in pairs) + sum(n == b for _, b in pairs))
          for n in names]
    assert math.isclose(got["macro_f1"], sum(f1) / 2)
    shown = alone.troupe("eval", out, "--data", test, "--task", "classify")
    assert f"({right} of 51)" in shown.out


def test_choices_are_made_by_likelihood(alone, tmp_path):
    model, out = decoder(tmp_path / "model"), tmp_path / "out"
    finetune(alone, model, "--data", lines(tmp_path / "data.jsonl", [{"text": LETTERS}] * 8),
             "--epochs", 40, "--lr", "1e-2", "-o", out)
    rows = [{"prompt": LETTERS[:i], "choices": ["zz", LETTERS[i:i + 2], "a"], "answer": 1}
            for i in range(3, 13)]
    rows.append({"prompt": "abc", "choices": ["d", "e"], "answer": "B"})  # a row that the model will get wrong
    rows.append({"prompt": "abc", "choices": ["d", "e"], "answer": "C"})
    data = lines(tmp_path / "choices.jsonl", rows)
    got = alone.json("eval", out, "--data", data, "--task", "choice")
    assert (got["examples"], got["left_out"], got["right"]) == (11, 1, 10)
    assert math.isclose(got["accuracy"], 10 / 11)
    assert got["right_by_bytes"] == 10


def test_what_cannot_be_evaluated_is_said(alone, tmp_path):
    model, classifier = decoder(tmp_path / "model"), encoder(tmp_path / "classifier")
    data = lines(tmp_path / "data.jsonl", [{"text": "abc"}])

    def refused(*arguments):
        done = alone.troupe("eval", *arguments)
        assert done.status != 0 and not done.out
        return done.err

    assert "is for encoders" in refused(model, "--data", data, "--task", "classify")
    assert "use --task classify" in refused(classifier, "--data", data)
    assert "no row that can be used" in refused(model, "--data", data, "--task", "choice")
    unseen = lines(tmp_path / "unseen.jsonl", [{"text": "a", "label": "z"}])
    out = tmp_path / "out"
    finetune(alone, classifier, "--data", labelled(tmp_path / "train.jsonl", 32), "--task",
             "classify", "-o", out)
    assert "which is none of 'early', 'late'" in refused(out, "--data", unseen, "--task",
                                                         "classify")


def test_an_adapter_runs_beside_the_weights(alone, tmp_path):
    model, adapter = decoder(tmp_path / "model"), tmp_path / "adapter"
    data = pairs_of_words(tmp_path / "data.jsonl")
    finetune(alone, model, "--data", data, "--task", "chat", "--epochs", 8, "--lr", "1e-2",
             "--lora-rank", 4, "-o", adapter)
    alone.json("export", model, "--adapter", adapter, "-o", tmp_path / "merged")
    ask = ["abcd", "-n", 8, "--temperature", 0]
    plain = alone.json("run", model, *ask)["text"]
    merged = alone.json("run", tmp_path / "merged", *ask)["text"]
    got = [alone.json("run", model, *ask, "--adapter", adapter, "--threads", threads)["text"]
           for threads in (1, 2, 4)]
    assert got == [merged] * 3 and plain != merged
    assert alone.json("run", model, *ask)["text"] == plain
    losses = [alone.json("eval", model, "--data", data, "--task", "chat", *flags)["loss"]
              for flags in ([], ["--adapter", adapter])]
    assert losses[1] < losses[0] / 2
    # With quantized weights, the adapter is added to their products.
    alone.json("export", model, "-o", tmp_path / "q.gguf", "--type", "Q4_1")
    quantized = [alone.json("run", tmp_path / "q.gguf", *ask, "--adapter", adapter, "--threads",
                            threads)["token_ids"] for threads in (1, 3)]
    assert quantized[0] == quantized[1]


def test_an_adapter_that_does_not_fit_is_refused(alone, tmp_path):
    model = decoder(tmp_path / "model")
    for adapter, why in ((TINY.parent / "lora" / "bert", "trained on another model"),
                         (tmp_path, "has no adapter_config.json")):
        done = alone.troupe("run", model, "abc", "--adapter", adapter)
        assert done.status != 0 and why in done.err and not done.out


def test_a_cluster_keeps_answers_with_and_without_an_adapter_apart(tmp_path):
    cluster = harness.Cluster(tmp_path, 2)
    try:
        words = ("run", TINY / "llama", "--prompt-ids", "9,8,7,6", "-n", 20)
        adapter = ("--adapter", TINY.parent / "lora" / "llama")
        alone = {flags: cluster.place.json(*words, *flags, "--cluster", "none")["token_ids"]
                 for flags in ((), adapter)}
        assert alone[()] != alone[adapter]
        for flags in ((), adapter, (), adapter):
            shared = cluster.place.json(*words, *flags, "--cluster", cluster.head.address,
                                        "--layers", "0,1")
            assert shared["token_ids"] == alone[flags]
            assert len(shared["nodes"]) == 2
    finally:
        cluster.close()
