"""The real model and a folder, damaged at seeded places: an answer or one sentence that names the
file, exit status 0 or 1, no signal, and no more memory than the file is worth."""
import os
import random
import shutil
import subprocess

import pytest

import gguf_file
import harness
import test_folders

PLACES = 200
# The undamaged file of 98 MB takes some 250 MB: its pages in memory, and the packed weights.
RSS_MB_MAX = 500
SIGNS = ("Traceback", "terminate called", "what():", "Sanitizer", "broken invariant",
         "unexpected failure")


def run(place, words):
    """Exit status (negative: a signal), what was said on stderr, and the peak of memory in MB."""
    said = place.folder / "said"
    with open(said, "wb") as err:
        process = subprocess.Popen([harness.TROUPE, *map(str, words)], env=place.env,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, said.read_text(errors="replace"), usage.ru_maxrss / 1024


def check(place, words, name, story):
    status, said, rss = run(place, words)
    story = (f"{story}: `troupe {' '.join(map(str, words))}` ended with {status}, {rss:.0f} MB: "
             f"{said}")
    assert status in (0, 1), story
    assert not any(sign in said for sign in SIGNS), story
    assert rss < RSS_MB_MAX, story
    if status == 1:
        lines = [line for line in said.splitlines() if line != "troupe: using this process"]
        assert len(lines) == 1 and lines[0].startswith("troupe: "), story
        assert name in lines[0] and len(lines[0]) < 800, story
    return status


def verbs(place, path):
    return [["show", path], ["tokenize", path, "Hello <|im_end|> 12 world"],
            ["logits", path, "--ids", "504,3575", "-o", place.folder / "out"],
            ["run", path, "--raw", "Once upon", "-n", 2, "--cluster", "none"]]


def damages(file, chance):
    """(where, bytes) to write over the file; most of them where its structure is."""
    kind = chance.random()
    if kind < 0.4:
        _, begin, end = chance.choice(file.entries)
        at = chance.randrange(begin, min(end, begin + 100))
    elif kind < 0.8:
        at = chance.randrange(file.table, file.table_end)
    elif kind < 0.9:
        at = chance.randrange(32)
    else:
        at = chance.randrange(file.data, len(file.content) - 8)
    content = file.content[at:at + 8]
    new = chance.choice([
        bytes([content[0] ^ 1 << chance.randrange(8)]), chance.randbytes(1), b"\xff" * 8, bytes(8),
        (1 << 60).to_bytes(8, "little"), chance.randbytes(8), b"\x00\x7e", b"\xff\xff\xff\x7f"])
    return at, new


def test_the_real_model_damaged(place):
    place.env["TROUPE_CLUSTER"] = "none"
    path = place.folder / "the-model.gguf"
    shutil.copyfile(harness.MODEL, path)
    path.chmod(0o600)
    file = gguf_file.GgufFile(path.read_bytes())
    words = verbs(place, path)
    for verb in words:
        assert check(place, verb, path.name, "the file as it is") == 0
    chance = random.Random(20)
    refused = 0
    with open(path, "r+b", buffering=0) as out:
        for number in range(PLACES):
            at, new = damages(file, chance)
            out.seek(at)
            out.write(new)
            verb = words[number % 4 if at < file.data else 2]  # no other reads the weights' values
            refused += check(place, verb, path.name, f"bytes {new!r} at {at}")
            out.seek(at)
            out.write(file.content[at:at + len(new)])
    assert refused > PLACES / 3
    cuts = sorted(chance.randrange(file.data) for _ in range(12)) + [
        file.data, len(file.content) - 1]
    for cut in reversed(cuts):
        os.truncate(path, cut)
        assert check(place, ["logits", path, "--ids", "504", "-o", place.folder / "out"], path.name,
                     f"cut at {cut}") == 1


@pytest.mark.no_model
def test_a_folder_cut_anywhere(place):
    source = test_folders.TINY / "qwen3"
    folder = place.folder / "a-model"
    shutil.copytree(source, folder)
    for name, step in (("config.json", 16), ("model.safetensors", 64)):
        content = (source / name).read_bytes()
        header = 8 + int.from_bytes(content[:8], "little") if step == 64 else len(content) - 2
        for cut in [*range(0, header, step), len(content) - (step == 64)]:
            (folder / name).write_bytes(content[:cut])
            words = ["logits", folder, "--ids", "1,2", "-o", place.folder / "out"]
            whole = cut == len(content)
            assert check(place, words, name, f"{name} cut at {cut}") == (not whole)
        (folder / name).write_bytes(content)


@pytest.mark.no_model
@pytest.mark.parametrize("words, status, said", [
    (["-f", "MISSING"], 1, "missing"),
    (["-f", "FOLDER"], 1, "is a folder"),
    (["-f", "LATIN"], 1, "byte 3"),
    (["-f", "EMPTY"], 2, "0 tokens"),
])
@pytest.mark.parametrize("verb", ["tokenize", "perplexity"])
def test_texts_from_files(place, words, status, said, verb):
    """The same exit status for like cases, and the file's name."""
    if not harness.MODEL:
        pytest.skip("TROUPE_TEST_MODEL is not set")
    paths = {name: place.folder / name.lower() for name in ("MISSING", "FOLDER", "LATIN", "EMPTY")}
    paths["FOLDER"].mkdir()
    paths["LATIN"].write_bytes(b"caf\xe9 au lait")
    paths["EMPTY"].write_bytes(b"")
    if verb == "tokenize" and words[1] == "EMPTY":
        return  # an empty text gives no token
    outcome = place.troupe(verb, harness.MODEL, *[paths.get(word, word) for word in words])
    assert outcome.status == status, str(outcome)
    lines = outcome.err.splitlines()
    assert len(lines) == 1 and said in lines[0], str(outcome)
    if words[1] != "EMPTY":
        assert str(paths[words[1]]) in lines[0], str(outcome)


def test_the_byte_that_is_no_text_is_the_prompts(place):
    place.env["TROUPE_CLUSTER"] = "none"
    for flags in ([], ["--raw"]):
        words = ["run", harness.MODEL, os.fsdecode(b"caf\xe9 latin"), *flags]
        outcome = place.troupe(*words)
        assert outcome.status == 2 and "its byte 3" in outcome.err, str(outcome)
    text = place.folder / "latin"
    text.write_bytes(b"na\xefve")
    with open(text, "rb") as stdin:
        done = subprocess.run([harness.TROUPE, "run", harness.MODEL, "-"], stdin=stdin,
                              env=place.env, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "stdin" in done.stderr and "byte 2" in done.stderr
