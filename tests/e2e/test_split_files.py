"""The real model in three GGUF files: the same model, from every verb, alone and on a cluster."""
import pathlib

import pytest

import gguf_file
import harness


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return gguf_file.write_parts(pathlib.Path(harness.MODEL), tmp_path_factory.mktemp("parts"), 3)


def test_every_verb_takes_any_part(alone, parts, tmp_path):
    shown = alone.json("show", harness.MODEL)
    for part in parts:
        mine = alone.json("show", part)
        assert mine.pop("path") == str(part)
        # The machine's free memory changes from one moment to the next.
        assert mine.keys() == shown.keys() - {"path"}
        assert all(mine[key] == shown[key] for key in mine if key != "offered_bytes")
    words = ("Once upon a time", "--raw", "-n", 12)
    expected = alone.json("run", harness.MODEL, *words)
    assert alone.json("run", parts[1], *words)["token_ids"] == expected["token_ids"]
    assert alone.json("tokenize", parts[2], "Hello world")["ids"] == [19556, 905]
    text = ("-f", harness.GPL, "--window", 32, "--windows", 2)
    assert alone.json("perplexity", parts[0], *text) == alone.json("perplexity", harness.MODEL,
                                                                   *text)
    logits = []
    for model in (harness.MODEL, parts[2]):
        alone.json("logits", model, "--ids", "504,3575,282", "-o", tmp_path / "out")
        logits.append((tmp_path / "out").read_bytes())
    assert logits[0] == logits[1]
    assert alone.json("bench", parts[0], "--prompt", 16, "--decode", 4, "--repeats", 1)


def test_on_a_cluster(parts, tmp_path, alone):
    words = ("Once upon a time", "--raw", "-n", 12)
    expected = alone.json("run", harness.MODEL, *words)["token_ids"]
    cluster = harness.Cluster(tmp_path, 1)
    try:
        answer = cluster.place.json("run", parts[0], *words, "--cluster", cluster.head.address,
                                    "--layers", "0-13,14-29")
        assert answer["token_ids"] == expected
        assert len(answer["nodes"]) == 2
        # The parts and the whole file are one model: nothing is fetched or placed again.
        epochs = [one["epoch"] for one in cluster.status()["deployments"]]
        again = cluster.run(*words, "--layers", "0-13,14-29")
        assert again["token_ids"] == expected
        assert [one["epoch"] for one in cluster.status()["deployments"]] == epochs
    finally:
        cluster.close()


def test_a_part_that_is_not_there(alone, parts, tmp_path):
    for part in (parts[0], parts[2]):
        (tmp_path / part.name).symlink_to(part)
    for verb, *words in (["run", "hi"], ["show"], ["tokenize", "hi"], ["bench"]):
        outcome = alone.troupe(verb, tmp_path / parts[2].name, *words)
        assert outcome.status == 1, str(outcome)
        assert parts[1].name in outcome.err and "part 2 of the 3" in outcome.err, str(outcome)
