"""`troupe finetune` and `troupe classify`: a trained folder is used at once, and a run that was
killed goes on to the same weights."""
import json
import os
import random
import signal
import subprocess

import pytest

import harness

TINY = harness.ROOT / "tests" / "data" / "golden" / "tiny"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CHAT = ("{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}")
EVENTS = "events.out.tfevents.troupe"
pytestmark = pytest.mark.no_model


def decoder(folder):
    """The tiny llama with a tokenizer of letters; <end> is what its config.json calls the end."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((TINY / "llama" / name).read_bytes())
    special = ["<pad>", "<start>", "<end>", "<user>", "<assistant>"]
    vocabulary = {text: i for i, text in enumerate(special + list(LETTERS))}
    (folder / "tokenizer.json").write_text(json.dumps({
        "added_tokens": [{"id": vocabulary[text], "content": text, "special": True}
                         for text in special],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"eos_token": "<end>", "chat_template": CHAT}))
    return folder


def encoder(folder):
    """The tiny BERT with a vocabulary of letters."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((TINY / "bert" / name).read_bytes())
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {text: i for i, text in enumerate(marks + list(LETTERS))}
    (folder / "tokenizer.json").write_text(json.dumps({
        "added_tokens": [{"id": vocabulary[text], "content": text, "special": True}
                         for text in marks],
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary}}))
    return folder


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def labelled(path, count, seed=1):
    """Words of letters: "early" if most of them are from the first half of the alphabet."""
    draw = random.Random(seed)
    rows = []
    for i in range(count):
        half = LETTERS[:13] if i % 2 else LETTERS[13:]
        rows.append({"text": " ".join(draw.choice(half) for _ in range(draw.randint(3, 9))),
                     "label": "early" if i % 2 else "late"})
    return lines(path, rows)


def finetune(place, *arguments):
    """The JSON lines: one a step, evaluations, and the summary."""
    done = place.troupe("finetune", *arguments, "--json")
    assert done.status == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def scalars(folder):
    """What tensorboard reads from the folder's event file: {tag: [(step, value)]}."""
    where = harness.ROOT / "build" / "tensorboard"
    if not (where / "tensorboard").is_dir():
        pytest.skip(f"tensorboard is not in {where}; tools/test.sh puts it there")
    script = (
        "import json, sys\n"
        "from tensorboard.backend.event_processing import event_file_loader\n"
        "read = {}\n"
        "for event in event_file_loader.LegacyEventFileLoader(sys.argv[1]).Load():\n"
        "    for value in event.summary.value:\n"
        "        read.setdefault(value.tag, []).append((event.step, value.simple_value))\n"
        "print(json.dumps(read))\n")
    done = subprocess.run(["/usr/bin/python3", "-c", script, str(folder / EVENTS)],
                          env={**os.environ, "PYTHONPATH": str(where)}, capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_classifier_is_trained_and_used(alone, tmp_path):
    model = encoder(tmp_path / "model")
    train, test = labelled(tmp_path / "train.jsonl", 200), labelled(tmp_path / "t.jsonl", 50, 2)
    out = tmp_path / "out"
    said = finetune(alone, model, "--data", train, "--validation", test, "--task", "classify",
                    "--epochs", 6, "--lr", "1e-3", "-o", out)
    steps = [one for one in said if "loss" in one and "steps" in one and "step" in one]
    assert [one["step"] for one in steps] == list(range(1, 43))
    assert steps[-1]["loss"] < steps[0]["loss"] / 3
    assert said[-1]["validation_accuracy"] > 0.95
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json", EVENTS, "model.safetensors", "tokenizer.json"]
    answer = alone.json("classify", out, "a b c d")
    assert answer["label"] == "early" and answer["probability"] > 0.9
    assert abs(sum(answer["probabilities"].values()) - 1) < 1e-9
    told = alone.troupe("classify", out, "-f", test)
    assert "of 50 labels equal those of the file" in told.err
    assert [line.split("\t")[0] for line in told.out.splitlines()].count("early") == 25
    piped = alone.troupe("classify", out, "-", input="x y z\n\na b\n")
    assert [line.split("\t")[0] for line in piped.out.splitlines()] == ["late", "early"]


def test_weights_do_not_depend_on_threads_or_micro_batches(alone, tmp_path):
    model = decoder(tmp_path / "model")
    draw = random.Random(3)
    data = lines(tmp_path / "data.jsonl", [
        {"text": "".join(draw.choice(LETTERS) for _ in range(draw.randint(2, 60)))}
        for _ in range(20)])
    hashes = set()
    for i, flags in enumerate((["--threads", 1], ["--threads", 3, "--micro-batch", 3],
                               ["--threads", 2, "--checkpointing", "--micro-batch", 1])):
        said = finetune(alone, model, "--data", data, "--epochs", 2, "--batch-size", 6, "--lr",
                        "1e-3", "--max-length", 64, "-o", tmp_path / str(i), *flags)
        hashes.add(said[-1]["weights_sha256"])
    assert len(hashes) == 1


def test_a_chat_is_learned_and_ends_by_itself(alone, tmp_path):
    model, out = decoder(tmp_path / "model"), tmp_path / "out"
    pairs = {"abc": "xyz", "hello": "world", "q": "aaa", "red": "blue"}
    data = lines(tmp_path / "chats.jsonl", [
        {"messages": [{"role": "user", "content": question},
                      {"role": "assistant", "content": answer}]}
        for question, answer in pairs.items()])
    finetune(alone, model, "--data", data, "--task", "chat", "--epochs", 60, "--lr", "1e-2",
             "--batch-size", 4, "-o", out)
    for question, answer in pairs.items():
        got = alone.json("run", out, question, "-n", 20, "--temperature", 0)
        assert got["text"] == answer, question
        assert len(got["token_ids"]) <= len(answer) + 1


def test_a_killed_run_goes_on_to_the_same_weights(alone, tmp_path):
    model = decoder(tmp_path / "model")
    data = lines(tmp_path / "data.jsonl", [{"text": LETTERS[i:] + LETTERS[:i]} for i in range(13)])

    def arguments(out):
        return ["finetune", model, "--data", data, "--epochs", 3, "--batch-size", 4, "--lr", "1e-3",
                "--save-every", 2, "-o", out, "--json"]

    straight = json.loads(alone.troupe(*arguments(tmp_path / "straight")).out.splitlines()[-1])
    places = ["files.safetensors.write:9", "files.safetensors.write:60",
              "files.safetensors.rename:2", "training.checkpoint.manifest:1",
              "training.checkpoint.manifest:3", "training.checkpoint.prune:2"]
    for number, failpoint in enumerate(places):
        out = tmp_path / str(number)
        alone.env["TROUPE_FAILPOINT"] = failpoint
        killed = alone.troupe(*arguments(out))
        del alone.env["TROUPE_FAILPOINT"]
        assert killed.status == -signal.SIGKILL, (failpoint, killed)
        resumed = alone.troupe(*arguments(out))
        assert resumed.status == 0, (failpoint, resumed.err)
        end = json.loads(resumed.out.splitlines()[-1])
        assert end["weights_sha256"] == straight["weights_sha256"], failpoint


def test_tensorboard_reads_each_step_once_after_a_kill(alone, tmp_path):
    model = decoder(tmp_path / "model")
    data = lines(tmp_path / "data.jsonl", [{"text": LETTERS[i:] + LETTERS[:i]} for i in range(13)])
    flags = ["--data", data, "--validation", data, "--eval-every", 3, "--epochs", 3, "--batch-size",
             4, "--lr", "1e-3", "--schedule", "linear", "--save-every", 5, "-o", tmp_path / "out"]
    # Two of the steps after the checkpoint of step 5 are in the file when the process dies.
    alone.env["TROUPE_FAILPOINT"] = "training.events.write:12"
    assert alone.troupe("finetune", model, *flags).status == -signal.SIGKILL
    del alone.env["TROUPE_FAILPOINT"]
    assert [step for step, _ in scalars(tmp_path / "out")["train/loss"]] == list(range(1, 9))
    said = finetune(alone, model, *flags)
    read = scalars(tmp_path / "out")
    assert {tag: [step for step, _ in values] for tag, values in read.items()} == {
        "validation/loss": [3, 6, 9, 12], "validation/accuracy": [3, 6, 9, 12],
        **{f"train/{name}": list(range(1, 13)) for name in
           ("loss", "gradient_norm", "learning_rate", "tokens_per_second")}}
    told = {one["step"]: one for one in said if "lr" in one}
    assert sorted(told) == list(range(9, 13))  # the earlier run has reported the others
    for tag, field in (("train/loss", "loss"), ("train/learning_rate", "lr"),
                       ("train/gradient_norm", "gradient_norm")):
        assert {step: value for step, value in read[tag] if step in told} == {
            step: pytest.approx(one[field], rel=1e-6) for step, one in told.items()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_saves_and_another_run_is_refused(alone, tmp_path, number):
    model, out = decoder(tmp_path / "model"), tmp_path / "out"
    data = lines(tmp_path / "data.jsonl", [{"text": LETTERS * 2, "note": LETTERS} for _ in range(40)])
    flags = ["--epochs", 5000, "--lr", "1e-3", "-o", str(out)]
    env = {**os.environ, **alone.env}
    run = subprocess.Popen([harness.TROUPE, "finetune", model, "--data", data, *map(str, flags),
                            "--json"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True)
    for _ in range(3):
        assert json.loads(run.stdout.readline())["applied"]
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 143 and "continues from there" in err
    assert len(list(out.glob("checkpoint-*/manifest.json"))) == 1
    other = alone.troupe("finetune", model, "--data", data, *flags, "--seed", 1)
    assert other.status == 1 and "seed (0 there, 1 now)" in other.err
    other = alone.troupe("finetune", model, "--data", data, *flags, "--text-field", "note")
    assert other.status == 1 and "text-field (text there, note now)" in other.err
    # Put another model in the same place, which differs in one weight.
    weights = model / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    other = alone.troupe("finetune", model, "--data", data, *flags)
    assert other.status == 1 and "weights (" in other.err


def test_what_cannot_be_trained_is_said(alone, tmp_path):
    model, classifier = decoder(tmp_path / "model"), encoder(tmp_path / "classifier")
    out = tmp_path / "out"

    def refused(model, data, *flags):
        done = alone.troupe("finetune", model, "--data", data, "-o", out, *flags)
        assert done.status != 0 and not out.exists()
        return done.err

    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    one = lines(tmp_path / "one.jsonl", [{"text": "a", "label": "x"}] * 3)
    assert "is empty" in refused(model, empty)
    assert "at least two labels" in refused(classifier, one, "--task", "classify")
    assert "is for encoders" in refused(model, one, "--task", "classify")
    assert "use --task classify" in refused(classifier, one)
    assert "no field 'body'" in refused(model, one, "--text-field", "body")
    assert "no chat that can be trained on" in refused(model, one, "--task", "chat")
    few = lines(tmp_path / "few.jsonl", [{"text": "abc"}] * 2)
    assert "make no batch of 8" in refused(model, few, "--drop-last")
    unseen = lines(tmp_path / "unseen.jsonl", [{"text": "a", "label": "z"}])
    two = lines(tmp_path / "two.jsonl", [{"text": "a", "label": i} for i in "xy"])
    assert "which is none of 'x', 'y'" in refused(classifier, two, "--task", "classify",
                                                  "--validation", unseen)


def pairs_of_words(path, count=24):
    """Chats that a small adapter can learn."""
    return lines(path, [{"prompt": LETTERS[i % 20:i % 20 + 4], "completion": LETTERS[i % 5] * 3}
                        for i in range(count)])


def test_an_adapter_is_trained_merged_and_exported(alone, tmp_path):
    model, adapter = decoder(tmp_path / "model"), tmp_path / "adapter"
    data = pairs_of_words(tmp_path / "data.jsonl")
    hashes = set()
    for i, flags in enumerate((["--threads", 1], ["--threads", 2, "--micro-batch", 3])):
        said = finetune(alone, model, "--data", data, "--task", "chat", "--epochs", 8, "--lr",
                        "1e-2", "--lora-rank", 4, "--lora-targets", "q,v,down_proj",
                        "-o", f"{adapter}{i}", *flags)
        hashes.add(said[-1]["weights_sha256"])
    assert len(hashes) == 1
    steps = [one["loss"] for one in said if "loss" in one]
    assert steps[-1] < steps[0] / 2
    assert sorted(path.name for path in (tmp_path / "adapter0").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", EVENTS]
    merged, gguf = tmp_path / "merged", tmp_path / "merged.gguf"
    alone.json("export", model, "--adapter", tmp_path / "adapter0", "-o", merged)
    alone.json("export", merged, "-o", gguf, "--type", "F32")
    answers = [alone.json("run", one, "abcd", "-n", 8, "--temperature", 0)["text"]
               for one in (merged, gguf, model)]
    assert answers[0] == answers[1] != answers[2]
    assert answers[0].startswith("aaa")
    for flags, why in ((["--type", "Q8_0", "-o", tmp_path / "x"], "ends in .gguf"),
                       (["--adapter", model, "-o", tmp_path / "x"], "adapter_model.safetensors")):
        done = alone.troupe("export", merged, *flags)
        assert done.status != 0 and why in done.err and not (tmp_path / "x").exists()


def test_a_classifier_adapter_keeps_its_labels(alone, tmp_path):
    model = encoder(tmp_path / "model")
    train = labelled(tmp_path / "train.jsonl", 200)
    said = finetune(alone, model, "--data", train, "--validation-split", 0.2, "--task", "classify",
                    "--epochs", 8, "--lr", "1e-2", "--lora-rank", 4, "-o", tmp_path / "adapter")
    assert said[-1]["validation_accuracy"] > 0.9
    alone.json("export", model, "--adapter", tmp_path / "adapter", "-o", tmp_path / "merged")
    answer = alone.json("classify", tmp_path / "merged", "a b c d")
    assert answer["label"] == "early"
    assert set(answer["probabilities"]) == {"early", "late"}


def test_a_run_is_shown_before_anything_is_loaded(alone, tmp_path):
    model, out = decoder(tmp_path / "model"), tmp_path / "out"
    data = pairs_of_words(tmp_path / "data.jsonl", 20)
    shown = alone.troupe("finetune", model, "--data", data, "--task", "chat", "--batch-size", 8,
                         "-o", out, "--show", 1)
    assert shown.status == 0 and not out.exists()
    assert shown.out == "<user>abcd<end><assistant>«aaa<end>»\n"
    assert "3 steps, 3 an epoch; memory 0.00 GB: weights" in shown.err
    told = [json.loads(line) for line in alone.troupe(
        "finetune", model, "--data", data, "--task", "chat", "-o", out, "--show", 2,
        "--json").out.splitlines()]
    assert told[0]["steps"] == 3 and told[0]["memory_bytes"] > 100_000
    assert [one["targets"].count(-1) for one in told[1:]] == [7, 7]


def test_a_run_stops_early_with_its_best_weights(alone, tmp_path):
    model = decoder(tmp_path / "model")
    draw = random.Random(5)
    data = lines(tmp_path / "data.jsonl", [
        {"text": "".join(draw.choice(LETTERS) for _ in range(20))} for _ in range(12)])
    said = finetune(alone, model, "--data", data, "--validation-split", 0.3, "--epochs", 200,
                    "--batch-size", 4, "--lr", "3e-3", "--eval-every", 2, "--patience", 3,
                    "-o", tmp_path / "out")
    end = said[-1]
    losses = {one["step"]: one["validation_loss"] for one in said if "validation_loss" in one
              and "output" not in one}
    assert end["stopped_early"] and end["best_step"] == min(losses, key=losses.get)
    assert end["steps"] == end["best_step"] + 6
    assert end["validation_loss"] == losses[end["best_step"]]
    done = alone.troupe("finetune", model, "--data", data, "--patience", 2, "-o", tmp_path / "x")
    assert done.status == 2 and "it needs --eval-every" in done.err


def test_preferences_are_learned(alone, tmp_path):
    model = decoder(tmp_path / "model")
    data = lines(tmp_path / "pairs.jsonl", [
        {"prompt": LETTERS[i:i + 3], "chosen": "yes", "rejected": "no"} for i in range(16)])
    said = finetune(alone, model, "--data", data, "--task", "dpo", "--epochs", 6, "--lr", "1e-2",
                    "--validation-split", 0.25, "--lora-rank", 4, "--batch-size", 4,
                    "-o", tmp_path / "adapter")
    losses = [one["loss"] for one in said if "loss" in one]
    assert losses[0] == 0.6931471824645996  # ln 2 in f32: the adapter changes nothing yet
    assert losses[-1] < 0.1
    assert said[-1]["validation_accuracy"] == 1.0 and said[-1]["steps"] == 18
    done = alone.troupe("finetune", model, "--data", data, "--task", "dpo", "-o", tmp_path / "x")
    assert done.status != 0 and "give --lora-rank" in done.err


def test_losses_can_be_smoothed_and_weighted(alone, tmp_path):
    model = encoder(tmp_path / "model")
    data = labelled(tmp_path / "data.jsonl", 48)
    plain = finetune(alone, model, "--data", data, "--task", "classify", "-o", tmp_path / "plain")

    def other(name, *flags):
        return finetune(alone, model, "--data", data, "--task", "classify",
                        "-o", tmp_path / name, *flags)

    hashes = {plain[-1]["weights_sha256"]}
    for name, flags in (("smooth", ["--label-smoothing", 0.2]),
                        ("weighted", ["--class-weights", "late=3"])):
        made = [other(f"{name}{i}", *flags, *more)[-1]["weights_sha256"] for i, more in
                enumerate((["--threads", 1], ["--threads", 3, "--micro-batch", 5]))]
        assert made[0] == made[1]
        hashes.add(made[0])
    assert len(hashes) == 3
    # Two labels have the same number of rows, so balanced weights are 1.
    assert other("balanced", "--class-weights", "balanced")[0]["loss"] == plain[0]["loss"]
    for flags, why in ((["--class-weights", "never=2"], "is none of 'early', 'late'"),
                       (["--class-weights", "late=0"], "a weight above 0"),
                       (["--class-weights", "late"], "not NAME=WEIGHT")):
        done = alone.troupe("finetune", model, "--data", data, "--task", "classify",
                            "-o", tmp_path / "x", *flags)
        assert done.status == 2 and why in done.err and not (tmp_path / "x").exists()


def test_numbers_are_learned(alone, tmp_path):
    model, out = encoder(tmp_path / "model"), tmp_path / "out"
    draw = random.Random(7)
    words = [[draw.choice("aeiouxyz") for _ in range(6)] for _ in range(120)]
    rows = [{"text": " ".join(letters), "score": sum(one in "aeiou" for one in letters) / 6}
            for letters in words] + [{"text": "a", "score": "much"}]
    data = lines(tmp_path / "data.jsonl", rows)
    said = finetune(alone, model, "--data", data, "--task", "regress", "--label-field", "score",
                    "--epochs", 30, "--lr", "1e-3", "-o", out)
    losses = [one["loss"] for one in said if "loss" in one]
    assert losses[-1] < 0.03 < losses[0]
    low, high = (alone.json("classify", out, text) for text in ("x y z x y z", "a e i o u a"))
    assert low["name"] == "score" and low["value"] < 0.4 < 0.6 < high["value"]
    done = alone.troupe("eval", out, "--data", data, "--task", "classify")
    assert done.status != 0 and "gives a number" in done.err
    done = alone.troupe("finetune", model, "--data", data, "--task", "regress", "--label-field",
                        "score", "--label-smoothing", 0.1, "-o", tmp_path / "x")
    assert done.status == 2 and "no labels to smooth" in done.err


def test_texts_that_belong_together_become_similar(alone, tmp_path):
    model, out = encoder(tmp_path / "model"), tmp_path / "out"
    draw = random.Random(9)

    def words(pair):
        return " ".join(pair + [draw.choice(pair) for _ in range(draw.randint(0, 9))])

    # A text belongs to one of its own two letters; the negative has one of them.
    rows = [{"anchor": words([a, b]), "positive": words([b, a]), "negative": words([a, c])}
            for a, b, c in (draw.sample(LETTERS, 3) for _ in range(160))]
    data = lines(tmp_path / "pairs.jsonl", rows + [{"anchor": "a"}])
    flags = ["--data", data, "--task", "embed", "--validation-split", 0.2, "--epochs", 12, "--lr",
             "2e-3", "--batch-size", 8]
    hashes = set()
    for micro_batch in (24, 12, 6, 3):
        said = finetune(alone, model, *flags, "--micro-batch", micro_batch, "-o",
                        f"{out}{micro_batch}", "--threads", 1 + micro_batch % 2)
        hashes.add(said[-1]["weights_sha256"])
    assert len(hashes) == 1
    losses = [one["loss"] for one in said if "loss" in one]
    assert losses[-1] < losses[0] / 3 and said[-1]["validation_accuracy"] > 0.8
    assert json.loads((tmp_path / "out3" / "modules.json").read_text())[1]["path"] == "1_Pooling"
    done = alone.troupe("finetune", model, *flags, "-o", tmp_path / "x", "--label-smoothing", 0.1)
    assert done.status == 2 and "no labels to smooth" in done.err
    assert not (tmp_path / "x").exists()
    done = alone.troupe("finetune", decoder(tmp_path / "decoder"), *flags, "-o", tmp_path / "x")
    assert done.status == 2 and "is for encoders" in done.err


def test_an_adapter_beside_quantized_weights_says_what_int8_changes(alone, tmp_path):
    model, quantized = decoder(tmp_path / "model"), tmp_path / "q.gguf"
    alone.json("export", model, "-o", quantized, "--type", "Q8_0")
    data = pairs_of_words(tmp_path / "data.jsonl", 100)
    flags = ["--data", data, "--task", "chat", "--lora-rank", 4, "--lr", "1e-2"]
    end = finetune(alone, quantized, *flags, "-o", tmp_path / "q")[-1]
    assert end["loss_as_trained"] != end["loss_as_run"]
    assert end["loss_as_run"] == pytest.approx(end["loss_as_trained"], rel=0.02)
    told = alone.json("eval", quantized, "--data", lines(tmp_path / "first.jsonl", [
        json.loads(line) for line in data.read_text().splitlines()[:64]]), "--task", "chat",
        "--adapter", tmp_path / "q")
    assert told["loss"] == end["loss_as_run"]
    said = alone.troupe("finetune", quantized, *flags, "--validation", data, "-o", tmp_path / "v")
    assert "rounds activations to int8" in said.err and "over 64 examples the loss is" in said.err
    # With f32 weights, nothing is rounded.
    assert "loss_as_run" not in finetune(alone, model, *flags, "-o", tmp_path / "f")[-1]


def test_dropout_of_adapters_is_drawn_by_example_and_epoch(alone, tmp_path):
    model = decoder(tmp_path / "model")
    data = pairs_of_words(tmp_path / "data.jsonl")
    flags = ["--data", data, "--task", "chat", "--epochs", 4, "--lr", "1e-2", "--lora-rank", 4,
             "--save-every", 4]
    hashes = [finetune(alone, model, *flags, "--lora-dropout", rate, "-o", tmp_path / str(i),
                       *more)[-1]["weights_sha256"]
              for i, (rate, more) in enumerate(((0.2, ["--threads", 1]), (0, []),
                                                (0.2, ["--threads", 3, "--micro-batch", 3])))]
    assert hashes[0] == hashes[2] != hashes[1]
    assert json.loads((tmp_path / "0" / "adapter_config.json").read_text())["lora_dropout"] == 0.2
    alone.env["TROUPE_FAILPOINT"] = "training.checkpoint.manifest:3"
    resumed = tmp_path / "resumed"
    killed = alone.troupe("finetune", model, *flags, "--lora-dropout", 0.2, "-o", resumed)
    del alone.env["TROUPE_FAILPOINT"]
    assert killed.status == -signal.SIGKILL
    end = finetune(alone, model, *flags, "--lora-dropout", 0.2, "-o", resumed)[-1]
    assert end["weights_sha256"] == hashes[0]
    done = alone.troupe("finetune", model, "--data", data, "--lora-dropout", 0.2, "-o",
                        tmp_path / "x")
    assert done.status == 2 and "give --lora-rank" in done.err
