"""Models that other programs have fetched, in folders laid out as those programs lay them out: found,
used in place by name, never copied or changed, and believed no more than any file."""
import hashlib
import json
import os
import shutil

import pytest

import gguf_file
import wrong_models

pytestmark = pytest.mark.no_model

CONTENT = (wrong_models.TINY_GGUF / "granite.gguf").read_bytes()
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def folder(place):
    """The home of this user, without variables of the one who runs the tests."""
    for name in ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        place.env.pop(name, None)
    return place.folder


def found(place):
    return {one["name"]: one for one in place.json("ls", "--found")["found"]
            if not one["path"].startswith("/usr/share/ollama")}


def layer(kind, content):
    return {"mediaType": f"application/vnd.ollama.image.{kind}",
            "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}


def ollama(root, name="registry.ollama.ai/library/llama3.2/1b", content=CONTENT, layers=None):
    """Writes a model as Ollama lays it out; its manifest and blob."""
    manifest = root / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    blob = root / "blobs" / f"sha256-{hashlib.sha256(content).hexdigest()}"
    blob.parent.mkdir(exist_ok=True)
    blob.write_bytes(content)
    layers = layers or [layer("model", content), layer("template", b"{{ .Prompt }}"),
                        layer("license", b"words")]
    manifest.write_text(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                   "digest": "sha256:" + "0" * 64, "size": 2},
        "layers": layers}))
    return manifest, blob


def hub_cache(root, repository, files):
    """Writes a repository as huggingface_hub's cache has it: links to blobs."""
    place = root / ("models--" + repository.replace("/", "--"))
    revision = "5" * 40
    for name, content in files.items():
        blob = place / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = place / "snapshots" / revision / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(revision)
    return place


def check_runs_in_place(place, name, path):
    """It runs by its name, and nothing of it is in the store, where the hash of it is remembered."""
    before = path.stat() if path.is_file() else None
    shown = place.json("show", name)
    assert shown["path"] == str(path), shown
    outcome = place.troupe("run", name, "--prompt-ids", "5,6,7", "-n", 3, "--json")
    assert outcome.status == 0, str(outcome)
    assert json.loads(outcome.out)["token_ids"]
    store = place.folder / "client" / "store"
    assert list((store / "blobs").iterdir()) == [] and place.json("ls")["models"] == []
    if before:
        assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_ollama(place, folder):
    root = folder / ".ollama" / "models"
    _, blob = ollama(root)
    ollama(root, "registry.ollama.ai/library/other/latest")
    ollama(root, "registry.ollama.ai/someone/mine/q4")
    ollama(root, "hf.co/bartowski/Thing-GGUF/Q4_K_M")
    assert sorted(found(place)) == [
        "ollama:hf.co/bartowski/Thing-GGUF:Q4_K_M", "ollama:llama3.2:1b", "ollama:other:latest",
        "ollama:someone/mine:q4"]
    one = found(place)["ollama:llama3.2:1b"]
    assert one["bytes"] == len(CONTENT) and one["trouble"] is None and one["path"] == str(blob)
    check_runs_in_place(place, "ollama:llama3.2:1b", blob)
    assert place.json("show", "ollama:other")["family"] == "granite"
    assert "ollama:llama3.2:1b" in place.troupe("ls", "--found").out
    moved = folder / "elsewhere"
    shutil.move(root, moved)
    assert found(place) == {}
    place.env["OLLAMA_MODELS"] = str(moved)
    assert "ollama:llama3.2:1b" in found(place)


def test_lm_studio(place, folder):
    for root in (folder / ".lmstudio" / "models", folder / ".cache" / "lm-studio" / "models"):
        path = root / "lmstudio-community" / f"Thing-{root.parent.name}-GGUF"
        path.mkdir(parents=True)
        (path / "Thing-Q4_K_M.gguf").write_bytes(CONTENT)
        (path / "mmproj-Thing-f16.gguf").write_bytes(b"for pictures")
        folder_model = root / "mlx-community" / f"Thing-{root.parent.name}"
        folder_model.mkdir(parents=True)
        for name in ("config.json", "model.safetensors"):
            shutil.copy(wrong_models.TINY / "llama" / name, folder_model / name)
    assert sorted(found(place)) == [
        "lmstudio:lmstudio-community/Thing-.lmstudio-GGUF/Thing-Q4_K_M.gguf",
        "lmstudio:lmstudio-community/Thing-lm-studio-GGUF/Thing-Q4_K_M.gguf",
        "lmstudio:mlx-community/Thing-.lmstudio", "lmstudio:mlx-community/Thing-lm-studio"]
    check_runs_in_place(place, "lmstudio:lmstudio-community/Thing-.lmstudio-GGUF/Thing-Q4_K_M.gguf",
                        folder / ".lmstudio/models/lmstudio-community/Thing-.lmstudio-GGUF"
                        / "Thing-Q4_K_M.gguf")
    check_runs_in_place(place, "lmstudio:mlx-community/Thing-lm-studio",
                        folder / ".cache/lm-studio/models/mlx-community/Thing-lm-studio")


def test_the_cache_of_the_hub(place, folder):
    llama = {name: (wrong_models.TINY / "llama" / name).read_bytes()
             for name in ("config.json", "model.safetensors")}
    root = folder / ".cache" / "huggingface" / "hub"
    snapshot = hub_cache(root, "someone/tiny-llama", llama) / "snapshots" / ("5" * 40)
    hub_cache(root, "ggml-org/thing-GGUF", {"thing-Q8_0.gguf": CONTENT, "sub/other.gguf": CONTENT})
    assert sorted(found(place)) == [
        "huggingface:ggml-org/thing-GGUF/sub/other.gguf",
        "huggingface:ggml-org/thing-GGUF/thing-Q8_0.gguf", "huggingface:someone/tiny-llama"]
    check_runs_in_place(place, "huggingface:someone/tiny-llama", snapshot)
    check_runs_in_place(place, "huggingface:ggml-org/thing-GGUF/thing-Q8_0.gguf",
                        root / "models--ggml-org--thing-GGUF/snapshots" / ("5" * 40)
                        / "thing-Q8_0.gguf")
    for variable, value in (("HF_HOME", folder / "home"), ("HF_HUB_CACHE", folder / "hub"),
                            ("XDG_CACHE_HOME", folder / "xdg")):
        place.env[variable] = str(value)
        inside = {"HF_HOME": value / "hub", "HF_HUB_CACHE": value,
                  "XDG_CACHE_HOME": value / "huggingface" / "hub"}[variable]
        hub_cache(inside, f"of/{variable}", {"model.gguf": CONTENT})
        assert sorted(found(place)) == [f"huggingface:of/{variable}/model.gguf"]
        del place.env[variable]


def test_llama_cpp(place, folder):
    root = folder / ".cache" / "llama.cpp"
    root.mkdir(parents=True)
    (root / "ggml-org_thing-GGUF_thing-Q8_0.gguf").write_bytes(CONTENT)
    (root / "ggml-org_thing-GGUF_thing-Q8_0.gguf.json").write_text("{}")
    (root / "half.gguf.downloadInProgress").write_bytes(CONTENT[:100])
    assert list(found(place)) == ["llama.cpp:ggml-org_thing-GGUF_thing-Q8_0.gguf"]
    check_runs_in_place(place, "llama.cpp:ggml-org_thing-GGUF_thing-Q8_0.gguf",
                        root / "ggml-org_thing-GGUF_thing-Q8_0.gguf")
    place.env["LLAMA_CACHE"] = str(folder / "none")
    assert found(place) == {}


def test_a_model_in_parts_is_one(place, folder):
    root = folder / ".cache" / "llama.cpp"
    root.mkdir(parents=True)
    source = folder / "whole.gguf"
    source.write_bytes(CONTENT)
    paths = gguf_file.write_parts(source, root, 3)
    name = f"llama.cpp:{paths[0].name}"
    models = found(place)
    assert list(models) == [name]
    assert models[name]["bytes"] == sum(path.stat().st_size for path in paths)
    check_runs_in_place(place, name, paths[0])


def test_hashes_of_others_are_not_believed(place, folder):
    """A file that is not what its name says is what it is: its own hash is what Troupe goes by."""
    _, blob = ollama(folder / ".ollama" / "models")
    changed = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    blob.write_bytes(changed)
    assert place.json("show", "ollama:llama3.2:1b")["sha256"] != DIGEST


def wrong_manifests():
    other = "/etc/passwd"
    yield "not JSON", "words", "JSON"
    yield "a list", "[]", "manifest"
    yield "too deep", "[" * 500, "deep"
    yield "too long", " " * (2 << 20), "manifest"
    yield "no layers", {"layers": 7}, "manifest"
    yield "no model", {"layers": []}, "0"
    yield "no digest", {"layers": [{"mediaType": "application/vnd.ollama.image.model"}]}, "manifest"
    for digest in ("sha256:../../../../etc/passwd", other, "sha256:" + "0" * 63, "md5:" + "0" * 64):
        yield digest, {"layers": [{"mediaType": "application/vnd.ollama.image.model",
                                   "digest": digest, "size": 5}]}, "manifest"
    yield "no blob", {"layers": [layer("model", b"absent")]}, "missing"
    yield "half a blob", {"layers": [{**layer("model", CONTENT), "size": 1 << 30}]}, "bytes"
    yield "an adapter", {"layers": [layer("model", CONTENT), layer("adapter", b"x")]}, "adapter"
    yield "two models", {"layers": [layer("model", CONTENT)] * 2}, "2"


@pytest.mark.parametrize("manifest, said", [pytest.param(text, said, id=name)
                                            for name, text, said in wrong_manifests()])
def test_a_manifest_that_is_wrong(place, folder, manifest, said):
    path, _ = ollama(folder / ".ollama" / "models")
    path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    trouble = found(place)["ollama:llama3.2:1b"]["trouble"]
    assert trouble and said in trouble, trouble
    outcome = place.troupe("show", "ollama:llama3.2:1b")
    assert outcome.status == 1 and "cannot be used" in outcome.err, str(outcome)
    assert said in outcome.err and len(outcome.err.strip().splitlines()) == 1


def test_a_link_that_leads_outside(place, folder):
    secret = folder / "secret.gguf"
    secret.write_bytes(CONTENT)
    _, blob = ollama(folder / ".ollama" / "models")
    blob.unlink()
    blob.symlink_to(secret)
    cache = folder / ".cache" / "llama.cpp"
    cache.mkdir(parents=True)
    (cache / "link.gguf").symlink_to(secret)
    repository = hub_cache(folder / ".cache/huggingface/hub", "a/b", {"model.gguf": CONTENT})
    link = repository / "snapshots" / ("5" * 40) / "model.gguf"
    link.unlink()
    link.symlink_to(secret)
    models = found(place)
    assert len(models) == 3
    assert all("outside" in model["trouble"] for model in models.values()), models
    (repository / "refs" / "main").write_text("../../../../..")
    assert "huggingface:a/b/model.gguf" not in found(place)


def test_names_that_are_not_there(place, folder):
    ollama(folder / ".ollama" / "models")
    outcome = place.troupe("run", "ollama:llama3.2:3b", "Hello")
    assert outcome.status == 1 and "ollama:llama3.2:1b" in outcome.err, str(outcome)
    outcome = place.troupe("run", "lmstudio:thing", "Hello")
    assert outcome.status == 1 and "ls --found" in outcome.err, str(outcome)
    assert place.json("ls", "--found")["folders"]
    shutil.rmtree(folder / ".ollama")
    assert found(place) == {}
    if not os.path.isdir("/usr/share/ollama"):
        assert "no folder" in place.troupe("ls", "--found").err


def test_other_nodes_get_it_from_here(place, folder):
    """A daemon computes with it, and its home gets the weights by their hashes as of any file."""
    ollama(folder / ".ollama" / "models")
    alone = place.json("run", "ollama:llama3.2:1b", "--prompt-ids", "5,6,7", "-n", 4)
    head = place.start("head")
    outcome = place.troupe("run", "ollama:llama3.2:1b", "--prompt-ids", "5,6,7", "-n", 4, "--json",
                           "--cluster", head.address)
    assert outcome.status == 0, str(outcome)
    assert json.loads(outcome.out)["token_ids"] == alone["token_ids"]
