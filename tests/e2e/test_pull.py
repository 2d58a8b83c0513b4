"""`troupe pull` from a web server of the test's own: whole, cut and resumed, corrupted, absent."""
import hashlib
import json
import pathlib

import pytest

import harness
from file_server import FileServer


@pytest.fixture(scope="module")
def content():
    return pathlib.Path(harness.MODEL).read_bytes()


@pytest.fixture
def server(content):
    made = FileServer(content)
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def flags(content):
    return ("--name", "mine", "--sha256", hashlib.sha256(content).hexdigest())


def test_whole_file(place, server, flags, content):
    pulled = place.json("pull", server.url(), *flags)
    assert pulled["fetched"] and pulled["name"] == "mine" and pulled["bytes"] == len(content)
    assert pathlib.Path(pulled["path"]).read_bytes() == content
    again = place.json("pull", server.url(), *flags)
    assert not again["fetched"] and server.ranges == [0], "what is there is not fetched again"
    assert place.json("tokenize", "mine", "Hello world")["ids"] == [19556, 905]


def test_cut_and_resumed(place, server, flags, content):
    server.cuts = 1
    cut = place.troupe("pull", server.url(), *flags)
    assert cut.status == 1 and "goes on where it ended" in cut.err, str(cut)
    pulled = place.json("pull", server.url(), *flags)
    assert server.ranges == [0, len(content) // 2]
    assert pathlib.Path(pulled["path"]).read_bytes() == content


def test_wrong_bytes(place, server, flags, content):
    server.content = content[:-1] + bytes([content[-1] ^ 1])
    wrong = place.troupe("pull", server.url(), *flags)
    assert wrong.status == 1 and flags[3] in wrong.err, str(wrong)
    assert place.json("ls")["models"] == []
    # Nothing of it is kept: the right bytes come from the beginning.
    server.content = content
    place.json("pull", server.url(), *flags)
    assert server.ranges == [0, 0]


def test_absent(place, server, flags):
    absent = place.troupe("pull", server.url("nothing"), *flags)
    assert absent.status == 1 and "404" in absent.err, str(absent)


TREE = "/api/models/someone/small-GGUF/tree/main?recursive=true"


@pytest.fixture
def hub(place, server, content):
    """A hub with one repository of two GGUF files, of which one can be had."""
    digest = hashlib.sha256(content).hexdigest()
    files = [{"type": "file", "path": "README.md", "size": 10},
             {"type": "file", "path": "small-q8_0.gguf", "size": 5, "lfs": {"oid": "0" * 64}},
             {"type": "file", "path": "q4/model.gguf", "size": len(content),
              "lfs": {"oid": digest}}]
    server.listings[TREE] = json.dumps(files).encode()
    place.env["HF_ENDPOINT"] = server.url("")
    return server


def test_hub(place, hub, content):
    place.env["HF_TOKEN"] = "secret"
    pulled = place.json("pull", "hf://someone/small-GGUF:q4/model.gguf")
    assert pulled["name"] == "model" and pathlib.Path(pulled["path"]).read_bytes() == content
    assert hub.asked == [(TREE, "Bearer secret"),
                         ("/someone/small-GGUF/resolve/main/q4/model.gguf", "Bearer secret")]


@pytest.mark.parametrize("source,status,words", [
    ("hf://someone/small-GGUF", 2, ["small-q8_0.gguf", "q4/model.gguf"]),
    ("hf://someone/small-GGUF:Q5_K", 1, ["Q5_K", "small-q8_0.gguf"]),
    ("hf://someone/small-GGUF:", 2, ["USER/REPO"]),
    ("hf://someone", 2, ["USER/REPO"]),
    ("hf://some one/x", 2, ["USER/REPO"]),
    ("hf://someone/absent", 1, ["404"]),
    ("hf://someone/small-GGUF:Q8_0", 1, ["404"]),
])
def test_hub_says_what_is_wrong(place, hub, source, status, words):
    outcome = place.troupe("pull", source)
    assert outcome.status == status and all(word in outcome.err for word in words), str(outcome)
    assert place.json("ls")["models"] == []


def test_hub_that_lies(place, hub, content):
    hub.content = content[:-1] + bytes([content[-1] ^ 1])
    outcome = place.troupe("pull", "hf://someone/small-GGUF:q4/model.gguf")
    assert outcome.status == 1 and hashlib.sha256(content).hexdigest() in outcome.err, str(outcome)
    hub.listings[TREE] = b"<html>"
    outcome = place.troupe("pull", "hf://someone/small-GGUF:q4/model.gguf")
    assert outcome.status == 1 and "list of files" in outcome.err, str(outcome)


def test_hub_over_plain_http(place):
    place.env["HF_ENDPOINT"] = "http://192.0.2.1"
    outcome = place.troupe("pull", "hf://someone/small-GGUF")
    assert outcome.status == 2 and "HF_ENDPOINT" in outcome.err, str(outcome)
