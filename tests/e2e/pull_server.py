"""What the tests of `troupe pull` share: a server of the model, and what lies in the store afterwards."""
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


def bytes_of(pulled):
    return pathlib.Path(pulled["path"]).read_bytes()


def parts(place):
    return list((place.folder / "client" / "store" / "partial").glob("*.part"))


def models(place):
    return [entry["name"] for entry in place.json("ls")["models"]]
