"""GGUF files as other converters write them: the Python package gguf writes them and names what is
in them; the recorded logits of the folders say what they must compute. What a converter does to the
weights (the rows of q and k, GPT-2's transposed matrices) is written down here from
convert_hf_to_gguf.py of llama.cpp.
"""
import array
import json
import math
import shutil
import struct
import sys

import pytest

import harness
import test_folders

sys.path.insert(0, str(harness.ROOT / "build" / "python"))
gguf = pytest.importorskip("gguf", reason="tools/test.sh puts the package gguf into build/python")
numpy = pytest.importorskip("numpy")

TINY = test_folders.TINY
pytestmark = pytest.mark.no_model


def folder(family):
    config = json.loads((TINY / family / "config.json").read_text())
    content = (TINY / family / "model.safetensors").read_bytes()
    size, = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = numpy.frombuffer(content[begin:end], "<f4").reshape(entry["shape"])
    return config, tensors


def interleave(rows, heads):
    """LlamaModel.permute: the rotated pairs of a head, half of it apart, become neighbours."""
    return (rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
            .swapaxes(1, 2).reshape(rows.shape))


def convert(family, path, arch=None, kind="f4", **more):
    """Writes the folder of a family as a GGUF file of the architecture `arch`; their tensors."""
    config, tensors = folder(family)
    arch = arch or family
    layers = config.get("num_hidden_layers") or config["n_layer"]
    heads = config.get("num_attention_heads") or config["n_head"]
    kv_heads = config.get("num_key_value_heads", heads)
    writer = gguf.GGUFWriter(path, arch, **more)
    writer.add_name("tiny")
    writer.add_block_count(layers)
    writer.add_context_length(config.get("max_position_embeddings") or config["n_positions"])
    width = config.get("hidden_size") or config["n_embd"]
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(config.get("intermediate_size") or 4 * width)
    writer.add_head_count(heads)
    if "num_key_value_heads" in config:
        writer.add_head_count_kv(kv_heads)
    if "rms_norm_eps" in config:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    else:
        writer.add_layer_norm_eps(config.get("layer_norm_eps") or config["layer_norm_epsilon"])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if arch == "llama":
        writer.add_rope_dimension_count(config["head_dim"])
        writer.add_vocab_size(config["vocab_size"])
    if arch == "bert":
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.CLS)
        writer.add_token_type_count(config["type_vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    enum = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[arch]
    names = gguf.get_tensor_name_map(enum, layers)
    for name, values in tensors.items():
        if arch == "llama" and name.endswith("q_proj.weight"):
            values = interleave(values, heads)
        if arch == "llama" and name.endswith("k_proj.weight"):
            values = interleave(values, kv_heads)
        if arch == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            values = values.T
        plain = name.removeprefix("bert.")
        # The map has no name for the head of a classifier: these two are what llama.cpp computes.
        known = {"pooler.dense": "cls", "classifier": "cls.output"}.get(plain.rpartition(".")[0])
        mapped = (f"{known}.{plain.rpartition('.')[2]}" if known else
                  names.get_name(plain, try_suffixes=(".weight", ".bias")))
        assert mapped, name
        values = numpy.ascontiguousarray(values)
        writer.add_tensor(mapped, values if values.ndim == 1 else values.astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


# The tolerance of 2e-5 is for f32 sums in another order than PyTorch's.
def check_logits(place, family, path, near=2e-5):
    recorded = test_folders.tensors(TINY / family / "expected.safetensors")
    if family == "bert":
        for row in range(2):
            mask = recorded["attention_mask"][1][row * 12:row * 12 + 12]
            ids = recorded["input_ids"][1][row * 12:row * 12 + sum(mask)]
            values = test_folders.logits(place, path, ids)[1]
            assert test_folders.worst(values, recorded["logits"][1][row * 2:row * 2 + 2]) < near
        return
    ids = recorded["input_ids"][1][:12]
    shape, values = test_folders.logits(place, path, ids)
    assert shape == [12, 128]
    assert test_folders.worst(values, recorded["logits"][1][:12 * 128]) < near


@pytest.mark.parametrize("family", [*test_folders.DECODERS, "bert"])
def test_a_converted_folder(place, family):
    path = place.folder / "tiny.gguf"
    # Converters call Mistral a llama, and leave out its window; the text is too short to need it.
    arch = "llama" if family == "mistral" else family
    convert(family, path, arch)
    if family == "mistral":
        shown = place.json("show", path)
        assert shown["family"] == "llama" and shown["window"] == 0
        recorded = test_folders.tensors(TINY / family / "expected.safetensors")
        ids = recorded["input_ids"][1][:6]  # of which none has left the window of 6
        values = test_folders.logits(place, path, ids)[1]
        assert test_folders.worst(values, recorded["logits"][1][:6 * 128]) < 2e-5
        return
    check_logits(place, family, path)


@pytest.mark.parametrize("family", ["qwen2", "llama", "gpt2"])
def test_half_precision(place, family):
    path = place.folder / "tiny.gguf"
    convert(family, path, kind="<f2")
    assert set(place.json("show", path)["formats"]) == {"F16", "F32"}
    check_logits(place, family, path, 5e-3)  # weights and cache are off by 2^-11


def test_parts_of_the_writer(place):
    """The package's own parts are the file that it writes otherwise."""
    convert("qwen2", place.folder / "whole.gguf")
    convert("qwen2", place.folder / "tiny.gguf", split_max_tensors=7)
    parts = sorted(place.folder.glob("tiny-*.gguf"))
    assert len(parts) > 2
    whole = place.json("show", place.folder / "whole.gguf")
    for part in parts:
        shown = place.json("show", part)
        assert shown["sha256"] == whole["sha256"] and shown["bytes"] == whole["bytes"]
    check_logits(place, "qwen2", parts[-1])


def test_parts_with_the_keys_alone_in_the_first(place):
    convert("llama", place.folder / "tiny.gguf", split_max_tensors=9, small_first_shard=True)
    check_logits(place, "llama", sorted(place.folder.glob("tiny-*.gguf"))[0])


def test_a_classifier_whose_pooler_was_dropped_is_refused(place):
    """llama.cpp's converter leaves it out, without a word; the numbers would be others."""
    path = place.folder / "tiny.gguf"
    convert("bert", path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"cls.weight", b"xls.weight"))
    outcome = place.troupe("show", path)
    assert outcome.status == 1
    assert "tiny.gguf" in outcome.err and "without a pooler" in outcome.err


def test_values_are_what_the_package_reads(place):
    """Our reader and the package's agree about a file that the package wrote."""
    path = place.folder / "tiny.gguf"
    tensors = convert("qwen3", path)
    reader = gguf.GGUFReader(path)
    shown = place.json("show", path)
    assert shown["parameters"] == sum(tensor.n_elements for tensor in reader.tensors)
    assert shown["parameters"] == sum(values.size for values in tensors.values())
    assert shown["layers"] == 2 and shown["head_dim"] == 24
    assert array.array("f", reader.tensors[0].data.tobytes())


def llama3_factors(rope, dim):
    """LlamaModel.generate_extra_tensors: what divides each rotary frequency."""
    factors = []
    for pair in range(dim // 2):
        frequency = 1 / rope["rope_theta"] ** (2 * pair / dim)
        wave, old = 2 * math.pi / frequency, rope["original_max_position_embeddings"]
        if wave < old / rope["high_freq_factor"]:
            factors.append(1.0)
        elif wave > old / rope["low_freq_factor"]:
            factors.append(rope["factor"])
        else:
            smooth = ((old / wave - rope["low_freq_factor"])
                      / (rope["high_freq_factor"] - rope["low_freq_factor"]))
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return factors


@pytest.mark.parametrize("factor, original", [(8.0, 16), (32.0, 24), (1.5, 60)])
def test_llama3_scaling_becomes_a_tensor(place, factor, original):
    folder, path = place.folder / "llama3", place.folder / "llama3.gguf"
    shutil.copytree(TINY / "llama", folder)
    rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": factor, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": original}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rope_parameters": rope}))
    made = place.json("convert", folder, "--to", "gguf", "--type", "F32", "-o", path)
    reader = gguf.GGUFReader(path)
    assert reader.tensors[0].name == "rope_freqs.weight" and made["bytes"] == path.stat().st_size
    expected = numpy.array(llama3_factors(rope, config["head_dim"]), "<f4")
    assert len(set(expected.tolist())) > 1
    # The tolerance of 2e-6 covers the roundings to f32 of the factors in between.
    assert numpy.allclose(reader.tensors[0].data, expected, rtol=2e-6, atol=0)
    assert not any(".rope.scaling." in key for key in reader.fields)
    ids = test_folders.tensors(TINY / "llama" / "expected.safetensors")["input_ids"][1][:12]
    mine = test_folders.logits(place, folder, ids)[1]
    # The tolerance of 1e-5 is there because the factors are f32 in a file, and doubles in a folder.
    assert test_folders.worst(test_folders.logits(place, path, ids)[1], mine) < 1e-5
    (folder / "config.json").write_text(json.dumps(config))
    assert test_folders.worst(test_folders.logits(place, folder, ids)[1], mine) > 1e-3
