"""`troupe pull` from a web server of the test's own: whole, cut and resumed, corrupted, absent."""
import hashlib
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
