"""`troupe convert`: models in other formats and forms, which other programs read and Troupe runs."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

import harness

PACKAGES = pathlib.Path(os.environ.get("TROUPE_PYTHON_PACKAGES", harness.ROOT / "build" / "python"))
TINY = harness.ROOT / "tests" / "data" / "golden" / "tiny"
PROMPT = ("--raw", "The capital of France is", "-n", 8, "--cluster", "none")
# What the package gguf, which others wrote, finds in a file: the number of tensors of each format.
COUNT = """
import collections, json, sys
sys.path.insert(0, sys.argv[1])
from gguf import GGUFReader
print(json.dumps(collections.Counter(t.tensor_type.name for t in GGUFReader(sys.argv[2]).tensors)))
"""


def formats_in(path):
    if not (PACKAGES / "gguf").exists():
        pytest.skip(f"gguf is not in {PACKAGES}; tools/test.sh puts it there")
    done = subprocess.run([sys.executable, "-c", COUNT, str(PACKAGES), str(path)], text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_gguf_in_a_mixture_of_formats(alone, tmp_path):
    """SmolLM2's rows of 576 are no multiple of 256: Q4_K_M has other formats for these."""
    one, two = tmp_path / "one.gguf", tmp_path / "two.gguf"
    made = alone.json("convert", harness.MODEL, "--to", "gguf", "--type", "Q4_K_M", "-o", one, "-t", 1)
    again = alone.json("convert", harness.MODEL, "--to", "gguf", "--type", "Q4_K_M", "-o", two, "-t", 2)
    assert made["sha256"] == again["sha256"] and made["bytes"] == one.stat().st_size
    assert one.read_bytes() == two.read_bytes()
    assert made["requantized"]  # the test's model is Q4_1
    assert formats_in(one) == made["formats"]
    assert made["formats"]["Q4_K"] + made["formats"]["Q6_K"] == 30  # ffn_down of each layer
    assert "Paris" in alone.json("run", one, *PROMPT)["text"]


def test_to_a_folder_and_back(alone, tmp_path):
    """f32 keeps every value, so the folder answers as its Q8_0 file does, made from it or from the model."""
    folder = tmp_path / "folder"
    alone.json("convert", harness.MODEL, "--to", "safetensors", "-o", folder)
    back, direct = tmp_path / "back.gguf", tmp_path / "direct.gguf"
    alone.json("convert", folder, "--to", "gguf", "--type", "Q8_0", "-o", back)
    alone.json("convert", harness.MODEL, "--to", "gguf", "--type", "Q8_0", "-o", direct)
    answers = [alone.json("run", path, *PROMPT)["token_ids"] for path in (back, direct)]
    assert answers[0] == answers[1]
    assert "Paris" in alone.json("run", folder, *PROMPT)["text"]


@pytest.mark.parametrize("words, status, said", [
    (("--to", "gguf", "--type", "Q9", "-o", "new.gguf"), 2, "--type takes one of F32, F16"),
    (("--to", "safetensors", "--type", "Q4_0", "-o", "new"), 2, "in F32, F16 or BF16, not in Q4_0"),
    (("--to", "gguf", "-o", "missing/new.gguf"), 1, "cannot create"),
])
def test_refusals_leave_nothing_behind(alone, tmp_path, words, status, said):
    outcome = alone.troupe("convert", harness.MODEL, *words, cwd=tmp_path)
    assert outcome.status == status and said in outcome.err, str(outcome)
    assert not list(tmp_path.glob("new*"))


def test_a_file_is_not_converted_onto_itself(alone, tmp_path):
    own = tmp_path / "own.gguf"
    own.write_bytes(pathlib.Path(harness.MODEL).read_bytes())
    outcome = alone.troupe("convert", own, "--to", "gguf", "--type", "Q8_0", "-o", own)
    assert outcome.status == 2 and "give another output" in outcome.err, str(outcome)
    assert own.stat().st_size == pathlib.Path(harness.MODEL).stat().st_size


@pytest.mark.no_model
@pytest.mark.parametrize("family", ["qwen2_moe_dense", "qwen3_moe_dense"])
def test_layers_without_experts(alone, tmp_path, family):
    folder, made = TINY / family, tmp_path / "made.gguf"
    alone.json("convert", folder, "--to", "gguf", "--type", "F32", "-o", made)
    for path, out in ((folder, "one"), (made, "two")):
        outcome = alone.troupe("logits", path, "--ids", "5,6,7,8,9", "-o", tmp_path / out)
        assert outcome.status == 0, str(outcome)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    dense = {"qwen2_moe_dense": 2, "qwen3_moe_dense": 1}[family]
    assert alone.json("show", made)["dense_layers"] == dense == alone.json("show", folder)["dense_layers"]
    assert f"{dense} layer" in alone.troupe("show", folder).out


@pytest.mark.no_model
@pytest.mark.parametrize("words, said", [
    (("--to", "gguf", "-o", "new.gguf"), "cannot be converted yet"),
    (("--to", "safetensors", "-o", "new"), "cannot be written as safetensors yet")])
def test_what_is_not_converted_yet(alone, tmp_path, words, said):
    outcome = alone.troupe("convert", TINY / "gpt_oss_mxfp4", *words, cwd=tmp_path)
    assert outcome.status == 1 and said in outcome.err, str(outcome)
    assert not list(tmp_path.glob("new*"))
