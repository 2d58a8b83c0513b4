"""`troupe finetune` with --task token and mlm, with a teacher, and adapters of embeddings."""
import json
import math
import random
import signal

import pytest

from test_finetune import LETTERS, decoder, encoder, finetune, lines

pytestmark = pytest.mark.no_model
NAMES = ["B-EARLY", "B-LATE", "I-EARLY", "I-LATE", "O"]


def with_mask(folder):
    """The tiny BERT with a vocabulary that has [MASK]."""
    encoder(folder)
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text())
    number = max(told["model"]["vocab"].values()) + 1
    told["model"]["vocab"]["[MASK]"] = number
    told["added_tokens"].append({"id": number, "content": "[MASK]", "special": True})
    path.write_text(json.dumps(told))
    return folder


def tagged(draw, count):
    """Words of letters, and what they are: letters before e are EARLY, those after v LATE."""
    words, tags = [], []
    for _ in range(count):
        letter = draw.choice(LETTERS)
        kind = "EARLY" if letter < "e" else "LATE" if letter > "v" else None
        before = tags[-1][2:] if tags and tags[-1] != "O" else None
        words.append(letter)
        tags.append("O" if kind is None else ("I-" if before == kind else "B-") + kind)
    return words, tags


def entities_of(words, tags):
    """The same as a text with entities."""
    found, at = [], 0
    for word, tag in zip(words, tags):
        if tag.startswith("B-"):
            found.append({"start": at, "end": at + len(word), "label": tag[2:]})
        elif tag.startswith("I-"):
            found[-1]["end"] = at + len(word)
        at += len(word) + 1
    return {"text": " ".join(words), "entities": found}


def rows_of_words(path, count, seed, form):
    draw = random.Random(seed)
    rows = []
    for i in range(count):
        words, tags = tagged(draw, draw.randint(2, 12))
        if form == "numbers":
            rows.append({"tokens": words, "ner_tags": [NAMES.index(tag) for tag in tags]})
        elif form == "entities" or (form == "both" and i % 2):
            rows.append(entities_of(words, tags))
        else:
            rows.append({"tokens": words, "tags": tags})
    return lines(path, rows)


def test_words_are_labelled(alone, tmp_path):
    model, out = encoder(tmp_path / "model"), tmp_path / "out"
    train = rows_of_words(tmp_path / "train.jsonl", 160, 1, "both")
    test = rows_of_words(tmp_path / "test.jsonl", 40, 2, "tokens")
    flags = ["--data", train, "--task", "token", "--validation", test, "--epochs", 8, "--lr",
             "3e-3", "--batch-size", 8]
    hashes = set()
    for micro_batch, threads in ((8, 1), (4, 2), (2, 3), (1, 4)):
        said = finetune(alone, model, *flags, "--micro-batch", micro_batch, "--threads", threads,
                        "-o", out)
        hashes.add(said[-1]["weights_sha256"])
        if micro_batch != 1:
            (out / "model.safetensors").unlink()
    assert len(hashes) == 1
    assert said[-1]["validation_accuracy"] > 0.9
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"]
    assert config["id2label"] == {str(i): name for i, name in enumerate(NAMES)}
    assert config["label2id"] == {name: i for i, name in enumerate(NAMES)}
    got = alone.json("eval", out, "--data", test, "--task", "token")
    assert got["accuracy"] == pytest.approx(said[-1]["validation_accuracy"])
    assert got["loss"] == pytest.approx(said[-1]["validation_loss"], rel=1e-4)
    assert got["words"] == sum(len(json.loads(line)["tokens"]) for line in test.open())
    assert [one["label"] for one in got["labels"]] == NAMES
    inside = [one for one in got["labels"] if one["label"] != "O"]
    assert got["macro_f1"] == pytest.approx(sum(one["f1"] for one in inside) / len(inside))
    assert 0.8 < got["micro_f1"] <= 1 and 0.7 < got["entities"]["f1"] <= 1
    # The same words as numbers and as entities score the same.
    for form in ("numbers", "entities"):
        data = rows_of_words(tmp_path / f"{form}.jsonl", 40, 2, form)
        again = alone.json("eval", out, "--data", data, "--task", "token")
        assert again["confusion"] == got["confusion"] and again["entities"] == got["entities"]
    shown = alone.troupe("eval", out, "--data", test, "--task", "token")
    assert "entities F1" in shown.out and "micro F1" in shown.out
    answer = alone.json("classify", out, "m a b m z")
    assert [one["text"] for one in answer["tokens"]] == list("mabmz")
    assert [(one["start"], one["end"], one["text"], one["label"])
            for one in answer["entities"]] == [(2, 5, "a b", "EARLY"), (8, 9, "z", "LATE")]
    told = alone.troupe("classify", out, "-f", test)
    right = sum(got["confusion"][i][i] for i in range(len(NAMES)))
    assert f"{right} of {got['words']} labels equal those of the file" in told.err
    lines_of = alone.troupe("classify", out, "-", input="m a b\nz\n").out.splitlines()
    assert [line.split("\t")[:2] for line in lines_of] == [["a b", "EARLY"], [""], ["z", "LATE"]]
    # A text longer than the model's context is read in parts, and every word gets a label.
    long_text = alone.json("classify", out, "m " * 300)
    assert len(long_text["tokens"]) == 300


def test_an_adapter_labels_words_once_it_is_merged(alone, tmp_path):
    model, adapter = encoder(tmp_path / "model"), tmp_path / "adapter"
    train = rows_of_words(tmp_path / "train.jsonl", 80, 1, "tokens")
    finetune(alone, model, "--data", train, "--task", "token", "--lora-rank", 4, "--epochs", 10,
             "--lr", "1e-2", "--batch-size", 8, "-o", adapter)
    told = json.loads((adapter / "adapter_config.json").read_text())
    assert told["task_type"] == "TOKEN_CLS" and told["modules_to_save"] == ["classifier"]
    merged = tmp_path / "merged"
    done = alone.troupe("export", model, "--adapter", adapter, "-o", merged)
    assert done.status == 0, done.err
    got = alone.json("eval", merged, "--data", train, "--task", "token")
    assert got["accuracy"] > 0.8
    assert [one["label"] for one in got["labels"]] == NAMES


def test_hidden_tokens_are_learned(alone, tmp_path):
    model, out = with_mask(tmp_path / "model"), tmp_path / "out"
    # Each letter occurs twice, so that a hidden one can be found.
    draw = random.Random(4)
    data = lines(tmp_path / "data.jsonl", [
        {"text": " ".join(letter + " " + letter for letter in draw.choices(LETTERS, k=6))}
        for _ in range(120)])
    flags = ["--data", data, "--task", "mlm", "--validation-split", 0.1, "--epochs", 2,
             "--batch-size", 8, "--lr", "1e-3", "--eval-every", 20]
    hashes = set()
    for micro_batch, threads in ((8, 1), (4, 2), (2, 3), (1, 4)):
        said = finetune(alone, model, *flags, "--micro-batch", micro_batch, "--threads", threads,
                        "-o", f"{out}{micro_batch}")
        hashes.add(said[-1]["weights_sha256"])
    assert len(hashes) == 1
    losses = [one["validation_loss"] for one in said if "step" in one and "validation_loss" in one]
    assert losses[-1] < losses[0]
    config = json.loads((tmp_path / "out1" / "config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]
    # A killed run hides the same tokens when it is continued.
    alone.env["TROUPE_FAILPOINT"] = "training.events.write:19"
    again = [*flags, "--save-every", 7, "-o", tmp_path / "again"]
    assert alone.troupe("finetune", model, *again).status == -signal.SIGKILL
    del alone.env["TROUPE_FAILPOINT"]
    assert finetune(alone, model, *again)[-1]["weights_sha256"] in hashes
    # The folder is trained further, as a classifier or on other hidden tokens.
    rows = lines(tmp_path / "rows.jsonl", [{"text": a, "label": a} for a in "ab"] * 8)
    finetune(alone, tmp_path / "out1", "--data", rows, "--task", "classify", "-o", tmp_path / "c")
    finetune(alone, tmp_path / "out1", *flags, "--mlm-probability", 0.4, "-o", tmp_path / "more")
    shown = alone.troupe("finetune", model, *flags, "--show", 2, "-o", tmp_path / "x")
    assert shown.status == 0 and "[MASK]»" in shown.out


def test_what_cannot_be_labelled_or_hidden_is_said(alone, tmp_path):
    model, out = encoder(tmp_path / "model"), tmp_path / "refused"
    text = lines(tmp_path / "text.jsonl", [{"text": "a b"}])

    def refused(model, data, *flags):
        done = alone.troupe("finetune", model, "--data", data, "-o", out, *flags)
        assert done.status != 0 and not out.exists()
        return done.err

    assert "no token such as [MASK]" in refused(model, text, "--task", "mlm")
    assert "no field 'entities'" in refused(model, text, "--task", "token")
    one = lines(tmp_path / "one.jsonl", [{"tokens": ["a"], "tags": ["x"]}])
    assert "one label, 'x'" in refused(model, one, "--task", "token")
    llama = decoder(tmp_path / "llama")
    assert "is for encoders" in refused(llama, one, "--task", "token")
    assert "is for encoders" in refused(llama, text, "--task", "mlm")
    masks = with_mask(tmp_path / "masks")
    assert "no head for masked tokens" in refused(masks, text, "--task", "mlm", "--lora-rank", 2)
    special = lines(tmp_path / "special.jsonl", [{"text": "你"}])
    assert "no row has a token that can be hidden" in refused(masks, special, "--task", "mlm")
    untied = with_mask(tmp_path / "untied")
    config = json.loads((untied / "config.json").read_text())
    (untied / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    assert "tie_word_embeddings" in refused(untied, text, "--task", "mlm")
    assert "is for --task lm and chat, not for mlm" in refused(model, text, "--task", "mlm", "--teacher", llama)
    tagger = tmp_path / "tagger"
    finetune(alone, model, "--data", rows_of_words(tmp_path / "w.jsonl", 16, 1, "tokens"), "--task",
             "token", "-o", tagger)
    for task, data, why in (("classify", text, "use --task token"),
                            ("token", one, "which is none of the 5"),
                            ("lm", text, "use --task classify or token")):
        done = alone.troupe("eval", tagger, "--data", data, "--task", task)
        assert done.status != 0 and why in done.err


def test_a_teacher_teaches_and_another_vocabulary_is_refused(alone, tmp_path):
    model, teacher, out = decoder(tmp_path / "model"), tmp_path / "teacher", tmp_path / "out"
    data = lines(tmp_path / "data.jsonl", [{"text": LETTERS[i:] + LETTERS[:i]} for i in range(26)])
    finetune(alone, model, "--data", data, "--epochs", 20, "--lr", "3e-3", "-o", teacher)
    flags = ["--data", data, "--teacher", teacher, "--epochs", 6, "--lr", "3e-3", "--seed", 2]
    hashes = set()
    for micro_batch, threads in ((8, 1), (4, 2), (2, 3), (1, 4)):
        said = finetune(alone, model, *flags, "--micro-batch", micro_batch, "--threads", threads,
                        "-o", f"{out}{micro_batch}")
        hashes.add(said[-1]["weights_sha256"])
    assert len(hashes) == 1
    losses = [one["loss"] for one in said if "loss" in one]
    assert losses[-1] < losses[0] / 2
    # The teacher, its part and the temperature belong to the run.
    run = [*flags, "--save-every", 3, "-o", tmp_path / "run"]
    alone.env["TROUPE_FAILPOINT"] = "training.events.write:6"
    assert alone.troupe("finetune", model, *run).status == -signal.SIGKILL
    del alone.env["TROUPE_FAILPOINT"]
    for more, field in ((["--kd-ratio", 0.25], "kd-ratio"), (["--temperature", 3], "temperature"),
                        (["--teacher", model], "teacher")):
        kept = run[:2] + run[4:] if field == "teacher" else run
        done = alone.troupe("finetune", model, *kept, *more)
        assert done.status == 1 and f"{field} (" in done.err, done.err
    assert finetune(alone, model, *run)[-1]["weights_sha256"] in hashes
    other = decoder(tmp_path / "other")
    told = json.loads((other / "tokenizer.json").read_text())
    vocabulary = told["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(told))
    for more, why in ((["--teacher", other], "token 5 is 'b' there and 'a' here"),
                      (["--teacher", encoder(tmp_path / "bert")], "--teacher"),
                      (["--kd-ratio", 0.5], "give --teacher"),
                      (["--teacher", tmp_path / "nothing"], "--teacher")):
        done = alone.troupe("finetune", model, "--data", data, "-o", tmp_path / "x", *more)
        assert done.status != 0 and why in done.err and not (tmp_path / "x").exists()


def embeddings(alone, *arguments):
    done = alone.troupe("embed", *arguments, "--json")
    assert done.status == 0, done.err
    return [json.loads(line)["embedding"] for line in done.out.splitlines()]


def test_embeddings_are_printed_beside_an_adapter_too(alone, tmp_path):
    model, adapter = encoder(tmp_path / "model"), tmp_path / "adapter"
    draw = random.Random(9)
    pairs = [{"anchor": " ".join([a, b]), "positive": " ".join([b, a, b])}
             for a, b in (draw.sample(LETTERS, 2) for _ in range(96))]
    flags = ["--data", lines(tmp_path / "pairs.jsonl", pairs), "--task", "embed", "--epochs", 6,
             "--lr", "1e-2", "--batch-size", 8, "--lora-rank", 4]
    hashes = set()
    for micro_batch, threads in ((16, 1), (8, 2), (4, 3), (2, 4)):
        said = finetune(alone, model, *flags, "--micro-batch", micro_batch, "--threads", threads,
                        "-o", adapter)
        hashes.add(said[-1]["weights_sha256"])
    assert len(hashes) == 1
    losses = [one["loss"] for one in said if "loss" in one]
    assert losses[-1] < losses[0] / 2
    texts = lines(tmp_path / "texts.jsonl", [{"text": "a b"}, {"text": "b a b"}, {"text": "x y z"}])
    plain, adapted = embeddings(alone, model, "-f", texts), embeddings(
        alone, model, "-f", texts, "--adapter", adapter)
    for one in plain + adapted:
        assert len(one) == 64 and math.isclose(sum(x * x for x in one), 1, rel_tol=1e-5)
    assert plain != adapted

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b))

    assert cosine(adapted[0], adapted[1]) > cosine(adapted[0], adapted[2])
    assert alone.troupe("export", model, "--adapter", adapter, "-o", tmp_path / "m").status == 0
    merged = embeddings(alone, tmp_path / "m", "-f", texts)
    for one, other in zip(adapted, merged):
        assert one == pytest.approx(other, abs=1e-5)
    line = alone.troupe("embed", model, "a b").out.split()
    assert [float(x) for x in line] == pytest.approx(plain[0], rel=1e-6)
    first = embeddings(alone, model, "a b", "--pooling", "cls")
    assert first[0] != plain[0]
    done = alone.troupe("embed", decoder(tmp_path / "decoder"), "a")
    assert done.status == 2 and "encoders" in done.err
    assert alone.troupe("embed", model).status == 2
    done = alone.troupe("finetune", model, *flags, "--lora-dropout", 0.1, "-o", tmp_path / "x")
    assert done.status == 2 and "two passes" in done.err


def test_json_lines_hold_each_step_once_after_a_kill(alone, tmp_path):
    model = decoder(tmp_path / "model")
    data = lines(tmp_path / "data.jsonl", [{"text": LETTERS[i:] + LETTERS[:i]} for i in range(13)])
    flags = ["--data", data, "--validation", data, "--eval-every", 3, "--epochs", 3, "--batch-size",
             4, "--lr", "1e-3", "--save-every", 5, "-o", tmp_path / "out", "--json"]
    # The first process dies while it writes the record of step 9. The second one continues from step 5, and dies
    # while it writes the record of step 6 anew.
    said = []
    for failpoint in ("training.events.write:12", "training.events.write:1", None):
        if failpoint:
            alone.env["TROUPE_FAILPOINT"] = failpoint
        done = alone.troupe("finetune", model, *flags)
        alone.env.pop("TROUPE_FAILPOINT", None)
        assert done.status == (-signal.SIGKILL if failpoint else 0), done.err
        said.append([json.loads(line) for line in done.out.splitlines()])
    steps = [one["step"] for part in said for one in part if "lr" in one]
    checked = [one["step"] for part in said for one in part
               if "validation_loss" in one and "step" in one]
    assert steps == list(range(1, 13)) and checked == [3, 6, 9, 12]
    assert said[-1][-1]["steps"] == 12 and not (tmp_path / "out" / "steps_told.json").exists()
