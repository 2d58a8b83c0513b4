"""Models of several files: pulled from a hub, out of Python packages, listed, shared and removed."""
import array
import hashlib
import json
import math
import os
import pathlib
import struct

import pytest

import harness
from file_server import FileServer

TINY = harness.ROOT / "tests" / "data" / "golden" / "tiny"
TREE = "/api/models/{}/tree/main?recursive=true"


def digest_of(content):
    return hashlib.sha256(content).hexdigest()


class Hub:
    """Repositories of a hub on loopback; weights are what it states a hash of."""

    def __init__(self, place):
        self.server = FileServer(b"")
        place.env["HF_ENDPOINT"] = self.server.url("").rstrip("/")

    def publish(self, repository, files):
        listing = []
        for path, content in files.items():
            entry = {"type": "file", "path": path, "size": len(content)}
            if path.endswith((".safetensors", ".gguf")):
                entry["lfs"] = {"oid": digest_of(content), "size": len(content)}
            listing.append(entry)
            self.server.files[f"/{repository}/resolve/main/{path}"] = content
        self.server.listings[TREE.format(repository)] = json.dumps(listing).encode()

    def asked(self):
        return [path.split("/resolve/main/")[1] for path, _ in self.server.asked
                if "/resolve/main/" in path]


@pytest.fixture
def hub(place):
    made = Hub(place)
    yield made
    made.server.shutdown()
    made.server.server_close()


def tiny(family):
    return {name: (TINY / family / name).read_bytes() for name in ("config.json",
                                                                   "model.safetensors")}


def sharded(family):
    """The same weights in two shards with an index."""
    content = (TINY / family / "model.safetensors").read_bytes()
    size, = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + size])
    names = sorted(name for name in header if name != "__metadata__")
    files, weight_map = {}, {}
    for shard, mine in enumerate((names[::2], names[1::2]), 1):
        name, head, data = f"model-{shard:05}-of-00002.safetensors", {}, b""
        for tensor in mine:
            begin, end = header[tensor]["data_offsets"]
            head[tensor] = {**header[tensor], "data_offsets": [len(data),
                                                              len(data) + end - begin]}
            data += content[8 + size + begin:8 + size + end]
            weight_map[tensor] = name
        text = json.dumps(head).encode()
        text += b" " * (-len(text) % 8)
        files[name] = struct.pack("<Q", len(text)) + text + data
    files["model.safetensors.index.json"] = json.dumps({"weight_map": weight_map}).encode()
    return {"config.json": (TINY / family / "config.json").read_bytes(), **files}


def answer(place, model):
    return place.json("run", model, "--prompt-ids", "5,6,7", "-n", 6)["token_ids"]


@pytest.mark.no_model
def test_a_folder_of_a_hub(place, hub):
    extra = {"README.md": b"# tiny", "pytorch_model.bin": b"pickled", "onnx/config.json": b"{}"}
    hub.publish("someone/Tiny", {**tiny("llama"), **extra})
    pulled = place.json("pull", "hf://someone/Tiny")
    assert pulled["fetched"] and pulled["name"] == "Tiny"
    assert sorted(hub.asked()) == ["config.json", "model.safetensors"]
    assert sorted(os.listdir(pulled["path"])) == ["config.json", "model.safetensors"]
    assert place.json("show", "Tiny")["sha256"] == pulled["sha256"]
    assert place.json("show", TINY / "llama")["sha256"] == pulled["sha256"]
    assert answer(place, "Tiny") == answer(place, TINY / "llama")
    assert answer(place, "sha256:" + pulled["sha256"]) == answer(place, "Tiny")
    before = len(hub.asked())
    assert not place.json("pull", "hf://someone/Tiny")["fetched"]
    named = place.json("pull", "hf://someone/Tiny", "--name", "other")
    assert not named["fetched"] and len(hub.asked()) == before
    assert list((place.folder / "client" / "store" / "partial").glob("*.part")) == []


@pytest.mark.no_model
def test_shards_and_gguf_beside_them(place, hub):
    """With a GGUF file beside them the folder has to be asked for."""
    hub.publish("someone/Tiny", {**sharded("qwen3"), "tiny-f32.gguf": b"GGUF of another"})
    bare = place.troupe("pull", "hf://someone/Tiny")
    assert bare.status == 1 and hub.asked() == ["tiny-f32.gguf"], str(bare)
    pulled = place.json("pull", "hf://someone/Tiny:safetensors", "--name", "shards")
    assert len(os.listdir(pulled["path"])) == 4
    assert answer(place, "shards") == answer(place, TINY / "qwen3")


@pytest.mark.no_model
def test_a_cut_in_the_middle_of_a_folder(place, hub):
    files = sharded("qwen3")
    hub.publish("someone/Tiny", files)
    shards = sorted(name for name in files if name.endswith(".safetensors"))
    missing = hub.server.files.pop(f"/someone/Tiny/resolve/main/{shards[1]}")
    cut = place.troupe("pull", "hf://someone/Tiny")
    assert cut.status == 1 and shards[1] in cut.err, str(cut)
    assert place.json("ls")["models"] == []
    hub.server.files[f"/someone/Tiny/resolve/main/{shards[1]}"] = missing
    hub.server.asked.clear()
    pulled = place.json("pull", "hf://someone/Tiny")
    assert shards[0] not in hub.asked(), "what came whole is not fetched again"
    assert answer(place, pulled["path"]) == answer(place, TINY / "qwen3")


@pytest.mark.no_model
def test_a_shard_that_is_not_what_was_promised(place, hub):
    files = sharded("qwen3")
    hub.publish("someone/Tiny", files)
    path = "/someone/Tiny/resolve/main/model-00002-of-00002.safetensors"
    right = hub.server.files[path]
    hub.server.files[path] = right[:-1] + bytes([right[-1] ^ 1])
    wrong = place.troupe("pull", "hf://someone/Tiny")
    assert wrong.status == 1 and digest_of(right) in wrong.err, str(wrong)
    assert place.json("ls")["models"] == []
    hub.server.files[path] = right
    assert place.json("pull", "hf://someone/Tiny")["fetched"]


@pytest.mark.no_model
def test_a_folder_that_cannot_be_read(place, hub):
    hub.publish("someone/Mamba", {**tiny("llama"), "config.json": b'{"model_type": "mamba"}'})
    outcome = place.troupe("pull", "hf://someone/Mamba")
    assert outcome.status == 1 and "mamba" in outcome.err, str(outcome)
    assert place.json("ls")["models"] == []
    outcome = place.troupe("pull", "hf://someone/Mamba", "--sha256", "0" * 64)
    assert outcome.status == 2 and "--sha256" in outcome.err, str(outcome)


@pytest.mark.no_model
def test_all_parts_of_a_gguf_file(place, hub):
    parts = {f"sub/big-Q4_K_M-{i:05}-of-00003.gguf": bytes([i]) * 1000 for i in (1, 2, 3)}
    hub.publish("someone/Big", {**parts, "big-Q8_0.gguf": b"x"})
    path = "/someone/Big/resolve/main/sub/big-Q4_K_M-00003-of-00003.gguf"
    hub.server.files[path] = b"another third part".ljust(1000)
    outcome = place.troupe("pull", "hf://someone/Big:Q4_K_M")
    assert hub.asked() == sorted(parts), "every part is fetched, in order"
    assert outcome.status == 1 and digest_of(parts["sub/big-Q4_K_M-00003-of-00003.gguf"]) in \
        outcome.err, str(outcome)
    lacking = {name: content for name, content in parts.items() if "00002-of" not in name}
    hub.publish("someone/Lacking", lacking)
    outcome = place.troupe("pull", "hf://someone/Lacking")
    assert outcome.status == 1 and "part 2 of the 3" in outcome.err, str(outcome)


@pytest.mark.no_model
def test_shared_files_are_listed_and_stay(place, hub):
    """Two models with the same weights and other texts beside them."""
    first, second = tiny("llama"), tiny("llama")
    second["generation_config.json"] = b'{"eos_token_id": 7}'
    hub.publish("someone/first", first)
    hub.publish("someone/second", second)
    place.json("pull", "hf://someone/first")
    place.json("pull", "hf://someone/second")
    assert hub.asked().count("model.safetensors") == 1, "weights that are here are not fetched"
    listed = {entry["name"]: entry for entry in place.json("ls")["models"]}
    shared = sum(len(content) for content in first.values())
    assert listed["first"]["bytes"] == shared == listed["second"]["shared_bytes"]
    assert listed["second"]["bytes"] == shared + len(second["generation_config.json"])
    assert listed["second"]["shared_with"] == ["first"]
    table = place.troupe("ls").out
    assert "all with second" in table and "with first" in table, table
    removed = place.json("rm", "first")
    assert removed["freed_bytes"] == 0 and removed["kept_bytes"] == shared
    assert removed["kept_for"] == ["second"]
    assert place.json("run", "second", "--prompt-ids", "5,6,7", "-n", 2)["token_ids"]
    said = place.troupe("rm", "second")
    assert said.status == 0 and "free again" in said.out, str(said)
    assert os.listdir(place.folder / "client" / "store" / "blobs") == []
    gone = place.troupe("rm", "second", "--json")
    assert gone.status == 1 and "troupe ls" in gone.err, str(gone)
    assert json.loads(gone.out)["error"]["code"] == "not_found"


@pytest.mark.no_model
def test_a_hash_with_two_names(place, hub):
    hub.publish("someone/Tiny", tiny("llama"))
    sha256 = place.json("pull", "hf://someone/Tiny")["sha256"]
    place.json("pull", "hf://someone/Tiny", "--name", "other")
    outcome = place.troupe("rm", "sha256:" + sha256)
    assert outcome.status == 2 and "Tiny, other" in outcome.err, str(outcome)
    place.json("rm", "other")
    assert place.json("rm", "sha256:" + sha256)["name"] == "Tiny"


@pytest.mark.no_model
def test_a_model_that_is_loaded_is_not_removed(place, hub):
    hub.publish("someone/Tiny", tiny("llama"))
    home = place.folder / "head"
    place.json("pull", "hf://someone/Tiny", "--home", home)
    head = place.start("head", "--head")
    place.json("run", "Tiny", "--prompt-ids", "5,6", "-n", 2, "--home", home, "--cluster",
               head.address)
    refused = place.troupe("rm", "Tiny", "--home", home)
    assert refused.status == 1 and "loaded" in refused.err and "--force" in refused.err, str(refused)
    assert [one["name"] for one in place.json("ls", "--home", home)["models"]] == ["Tiny"]
    assert place.json("rm", "Tiny", "--home", home, "--force")["freed_bytes"] > 0
    # A loaded model keeps running, and a model that is not loaded can be removed.
    assert place.json("status", "--cluster", head.address)["deployments"]
    hub.publish("someone/Other", tiny("qwen3"))
    place.json("pull", "hf://someone/Other", "--home", home)
    assert place.json("rm", "Other", "--home", home)["freed_bytes"] > 0


@pytest.mark.no_model
def test_layers_of_a_pulled_folder_on_other_nodes(tmp_path):
    cluster = harness.Cluster(tmp_path, 1)
    hub = Hub(cluster.place)
    try:
        hub.publish("someone/Tiny", tiny("qwen3"))
        cluster.place.json("pull", "hf://someone/Tiny", "--home", cluster.head.home)
        words = ("--prompt-ids", "9,8,7,6", "-n", 12)
        expected = cluster.place.json("run", TINY / "qwen3", *words, "--cluster", "none")
        shared = cluster.place.json("run", "sha256:" + cluster.place.json(
            "show", TINY / "qwen3")["sha256"], *words, "--cluster", cluster.head.address,
            "--layers", "0,1")
        assert shared["token_ids"] == expected["token_ids"] and len(shared["nodes"]) == 2
    finally:
        hub.server.shutdown()
        cluster.close()


def test_the_encoder_of_the_catalogue(place):
    """all-minilm-l6-v2: pulled, shown, and its sentence embeddings against the recorded ones."""
    env = home_of_model()
    pulled = place.json("pull", "all-minilm-l6-v2", env=env)
    assert pulled["bytes"] == 91567205
    shown = place.json("show", "all-minilm-l6-v2", env=env)
    assert (shown["family"], shown["layers"], shown["channels"]) == ("bert", 6, 384)
    assert "all-minilm-l6-v2" in [one["name"] for one in place.json("ls", env=env)["models"]]
    recorded = json.loads((TINY.parent / "minilm_embeddings.json").read_text())["sentences"]
    for sentence in recorded[:4]:
        ids = place.json("tokenize", "all-minilm-l6-v2", sentence["text"], env=env)["ids"]
        assert ids == sentence["ids"]
        out = place.folder / "out.safetensors"
        shape = place.json("logits", "all-minilm-l6-v2", "--ids", ",".join(map(str, ids)), "-o", out,
                           env=env)["shape"]
        assert shape == [len(ids), 384]
        content = out.read_bytes()
        rows = array.array("f", content[len(content) - 4 * shape[0] * shape[1]:])
        mean = [sum(rows[c::384]) / len(ids) for c in range(384)]
        norm = math.sqrt(sum(value * value for value in mean))
        # The tolerance of 2e-5 is for f32 sums in another order, and for a record of six digits.
        worst = max(abs(value / norm - other) for value, other in zip(mean, sentence["embedding"]))
        assert worst < 2e-5, sentence["text"]


def home_of_model():
    """The home whose store holds the test's model, so that a package is fetched once."""
    folder = pathlib.Path(harness.MODEL).resolve().parent.parent
    if folder.name != "store":
        pytest.skip("TROUPE_TEST_MODEL lies in no store")
    return {"TROUPE_HOME": str(folder.parent)}
