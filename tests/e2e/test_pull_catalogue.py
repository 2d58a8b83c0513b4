"""Names of the catalogue that lie on a hub: what the hub states is shown, checked and kept, on a
local server of the same protocol."""
import hashlib
import json
import pathlib

import pytest

import gguf_file
import tiny_folder
import wrong_models
from file_server import FileServer
from pull_server import bytes_of, models

pytestmark = pytest.mark.no_model

REPOSITORY = "Qwen/Qwen3-0.6B-GGUF"
FILE = "Qwen3-0.6B-Q8_0.gguf"
INFO = f"/api/models/{REPOSITORY}"


def tree(repository):
    return f"/api/models/{repository}/tree/main?recursive=true"


def resolve(file, repository=REPOSITORY):
    return f"/{repository}/resolve/main/{file}"


def model_file(name="a model"):
    """A small GGUF file; another name makes another hash."""
    file = gguf_file.EditableGguf((wrong_models.TINY_GGUF / "granite.gguf").read_bytes())
    file.keys["general.name"] = [wrong_models.STRING, name]
    return file.written()


class Hub(FileServer):
    """A hub; publish() puts a file into a repository."""

    def publish(self, files, repository=REPOSITORY, license="apache-2.0", gated=False):
        listing = []
        for path, content in files.items():
            entry = {"type": "file", "path": path, "size": len(content),
                     "oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
            if path.endswith((".gguf", ".safetensors")):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
            listing.append(entry)
            self.files[resolve(path, repository)] = content
        self.listings[tree(repository)] = json.dumps(listing).encode()
        card = {"license": license} if license else {}
        self.listings[f"/api/models/{repository}"] = json.dumps(
            {"id": repository, "sha": "1" * 40, "gated": gated, "cardData": card,
             "tags": ["gguf"] + [f"license:{license}"] * bool(license)}).encode()


@pytest.fixture
def hub(place):
    made = Hub(b"")
    place.env["HF_ENDPOINT"] = made.url("")
    yield made
    made.shutdown()
    made.server_close()


def pins(place):
    return json.loads((place.folder / "client" / "store" / "pins.json").read_text())


def test_a_name_that_people_know(place, hub):
    content = model_file()
    hub.publish({FILE: content, "README.md": b"words"})
    outcome = place.troupe("pull", "qwen3:0.6b", "--json")
    assert outcome.status == 0, str(outcome)
    pulled = json.loads(outcome.out)
    digest = hashlib.sha256(content).hexdigest()
    assert bytes_of(pulled) == content and pulled["sha256"] == digest
    assert pulled["license"] == "apache-2.0" and "apache-2.0" in outcome.err
    assert pulled["name"] == "qwen3-0.6b" and models(place) == ["qwen3-0.6b"]
    assert pins(place) == {f"hf://{REPOSITORY}/{FILE}": {
        "stated": f"sha256:{digest}", "license": "apache-2.0", "model": digest}}
    # Either way of writing the name means the model of the store, and nobody is asked.
    asked = len(hub.asked)
    for name in ("qwen3:0.6b", "qwen3-0.6b"):
        assert place.json("show", name)["sha256"] == digest
        outcome = place.troupe("run", name, "--prompt-ids", "5,6,7", "-n", 2)
        assert outcome.status == 0, str(outcome)
    assert len(hub.asked) == asked
    assert not place.json("pull", "qwen3:0.6b")["fetched"]
    assert place.troupe("rm", "qwen3:0.6b").status == 0 and models(place) == []


def test_a_run_fetches_it(place, hub):
    hub.publish({FILE: model_file()})
    outcome = place.troupe("run", "qwen3:0.6b", "--prompt-ids", "5,6,7", "-n", 2)
    assert outcome.status == 0 and models(place) == ["qwen3-0.6b"], str(outcome)


def test_the_list_states_nothing_that_was_not_computed(place):
    listed = place.json("ls")["catalogue"]
    on_hub = [one for one in listed if one["source"].startswith("hf://")]
    assert len(on_hub) >= 15
    assert all(one["sha256"] is None and one["bytes"] is None for one in on_hub)
    assert all(one["sha256"] and one["bytes"] for one in listed if one not in on_hub)
    assert not any("licen" in one["about"].lower() or "apache" in one["about"].lower()
                   for one in on_hub)
    assert "qwen3:0.6b" in place.troupe("ls").out


def test_a_file_that_changed_is_refused_until_it_is_accepted(place, hub):
    first, second = model_file("first"), model_file("second")
    hub.publish({FILE: first})
    before = place.json("pull", "qwen3:0.6b")
    hub.publish({FILE: second})
    asked = len(hub.asked)
    hashes = [hashlib.sha256(content).hexdigest() for content in (first, second)]
    for removed in (False, True):
        if removed:  # what was stated is still known
            assert place.troupe("rm", "qwen3-0.6b").status == 0
        outcome = place.troupe("pull", "qwen3:0.6b")
        assert outcome.status == 1 and "has changed" in outcome.err, str(outcome)
        assert all(digest in outcome.err for digest in hashes) and "--accept-change" in outcome.err
        assert not any(path.startswith(f"/{REPOSITORY}/resolve") for path, _ in hub.asked[asked:])
    hub.publish({FILE: first})
    assert place.json("pull", "qwen3:0.6b")["sha256"] == before["sha256"]
    hub.publish({FILE: second})
    after = place.json("pull", "qwen3:0.6b", "--accept-change")
    assert after["sha256"] == hashes[1] and bytes_of(after) == second
    assert models(place) == ["qwen3-0.6b"] and not pathlib.Path(before["path"]).exists()
    assert not place.json("pull", "qwen3:0.6b")["fetched"]


def test_another_model_of_the_name_is_never_replaced(place, hub):
    hub.publish({"mine.gguf": model_file("mine")}, "someone/else")
    hub.publish({FILE: model_file()})
    place.json("pull", "hf://someone/else", "--name", "qwen3-0.6b")
    for flags in ([], ["--accept-change"]):
        outcome = place.troupe("pull", "qwen3:0.6b", *flags)
        assert outcome.status == 1 and "--name" in outcome.err, str(outcome)


@pytest.mark.parametrize("source", [
    "hf.co/Qwen/Qwen3-0.6B-GGUF", "hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0",
    f"hf.co/Qwen/Qwen3-0.6B-GGUF:{FILE}", "huggingface.co/Qwen/Qwen3-0.6B-GGUF",
    "https://huggingface.co/Qwen/Qwen3-0.6B-GGUF",
    f"https://huggingface.co/Qwen/Qwen3-0.6B-GGUF/blob/main/{FILE}",
    "https://hf.co/Qwen/Qwen3-0.6B-GGUF/tree/main"])
def test_the_ways_to_write_a_repository(place, hub, source):
    content = model_file()
    hub.publish({FILE: content})
    assert bytes_of(place.json("pull", source)) == content


def test_a_gated_repository(place, hub):
    hub.publish({FILE: model_file()}, license="gemma", gated="manual")
    hub.refused[resolve(FILE)] = (401, 403)
    for token in (None, "secret"):
        outcome = place.troupe("pull", "qwen3:0.6b", env={"HF_TOKEN": token} if token else {})
        assert outcome.status == 1 and models(place) == [], str(outcome)
        said = outcome.err.strip().splitlines()[-1]
        assert "gated" in said and hub.url(REPOSITORY) in said and "HF_TOKEN" in said
        assert "secret" not in outcome.err and "licence" in outcome.err and "gemma" in outcome.err
    hub.refused[resolve(FILE)] = (401, 0)
    assert place.json("pull", "qwen3:0.6b", env={"HF_TOKEN": "secret"})["license"] == "gemma"
    assert {authorization for path, authorization in hub.asked if path == resolve(FILE)} == {
        None, "Bearer secret"}


def test_a_repository_that_cannot_be_seen(place, hub):
    hub.refused[INFO] = (401, 401)
    outcome = place.troupe("pull", "qwen3:0.6b")
    said = outcome.err.strip().splitlines()[-1]
    assert outcome.status == 1 and "no such repository, or it is private" in said, str(outcome)
    assert "HF_TOKEN" in said and "401" in said


def test_no_licence_is_stated(place, hub):
    hub.publish({FILE: model_file()}, license="")
    outcome = place.troupe("pull", "qwen3:0.6b", "--json")
    assert json.loads(outcome.out)["license"] is None
    assert f"none is stated; see {hub.url(REPOSITORY)}" in outcome.err


def test_a_file_that_is_not_there(place, hub):
    hub.publish({"Qwen3-0.6B-f16.gguf": model_file(), "Qwen3-0.6B-Q2_K.gguf": model_file("small")})
    outcome = place.troupe("pull", "qwen3:0.6b")
    said = outcome.err.strip().splitlines()[-1]
    assert outcome.status == 1 and "'Q8_0'" in said, str(outcome)
    assert "Qwen3-0.6B-f16.gguf" in said and "Qwen3-0.6B-Q2_K.gguf" in said


def test_a_download_that_is_cut_goes_on(place, hub):
    content = model_file()
    hub.publish({FILE: content})
    hub.etag, hub.cuts, hub.cut_bytes = '"one"', 1, 40000
    pulled = place.json("pull", "qwen3:0.6b")
    assert bytes_of(pulled) == content and hub.ranges[-1] == 40000


def test_a_folder_is_pinned_with_its_texts(place, hub):
    folder = tiny_folder.Folder(place.folder / "mine")
    files = {path.name: path.read_bytes() for path in folder.path.iterdir()
             if path.name != "expected.safetensors"}
    hub.publish(files, "someone/folder")
    first = place.json("pull", "hf://someone/folder")
    stated = pins(place)
    assert stated["hf://someone/folder/config.json"]["stated"].startswith("git:")
    assert stated["hf://someone/folder/model.safetensors"]["stated"].startswith("sha256:")
    files["config.json"] = files["config.json"].replace(b'"max_position_embeddings": 64',
                                                       b'"max_position_embeddings": 48')
    hub.publish(files, "someone/folder")
    outcome = place.troupe("pull", "hf://someone/folder")
    assert outcome.status == 1 and "folder/config.json has changed" in outcome.err, str(outcome)
    second = place.json("pull", "hf://someone/folder", "--accept-change")
    assert second["sha256"] != first["sha256"]
    assert place.json("show", "folder")["context"] == 48


@pytest.mark.parametrize("text", ["", "[", "[]", '{"a": {}}', '{"hf://a/b/c": {"stated": 7}}'])
def test_pins_that_make_no_sense(place, hub, text):
    hub.publish({FILE: model_file()})
    place.json("pull", "qwen3:0.6b")
    (place.folder / "client" / "store" / "pins.json").write_text(text)
    outcome = place.troupe("pull", "qwen3:0.6b")
    assert outcome.status == 1 and "pins.json" in outcome.err, str(outcome)
    assert "remove the file" in outcome.err


def test_a_hub_that_describes_nothing(place, hub):
    hub.publish({FILE: model_file()})
    hub.listings[INFO] = b"<html>"
    outcome = place.troupe("pull", "qwen3:0.6b")
    assert outcome.status == 1 and "is it a hub?" in outcome.err, str(outcome)
