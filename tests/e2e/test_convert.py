"""`troupe convert`: models in other formats and forms, which other programs read and Troupe runs."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import harness

PACKAGES = pathlib.Path(os.environ.get("TROUPE_PYTHON_PACKAGES", harness.ROOT / "build" / "python"))
TINY = harness.ROOT / "tests" / "data" / "golden" / "tiny"
PROMPT = ("--raw", "The capital of France is", "-n", 8, "--cluster", "none")
# Returns the number of tensors of each format in a file, as the independent package gguf finds them.
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
    """SmolLM2's rows of 576 are not a multiple of 256: Q4_K_M has other formats for these."""
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


ENCODERS = ["bert", "distilbert", "roberta", "xlm_roberta", "modernbert"]
TEXTS = ["Hello world", "a b  c, d! ABC", "ÀÉ größe 你好 ½ \u00a0x", "unheard-of 12.5", "x" * 120]


def word_piece(**normalizer):
    """A tokenizer.json of WordPiece with 96 tokens."""
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens = marks + letters + ["##" + one for one in letters] + ["你", ",", "!", "hello", "##orld"]
    return {"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100,
                      "vocab": {text: i for i, text in enumerate(tokens)}},
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "strip_accents": None,
                           "handle_chinese_chars": True, "lowercase": True, **normalizer},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": around("[CLS]", 2, "[SEP]", 3),
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "added_tokens": added(enumerate(marks))}


def added(marks):
    return [{"id": i, "content": text, "special": True, "normalized": False, "single_word": False,
             "lstrip": False, "rstrip": False} for i, text in marks]


def around(before, before_id, after, after_id):
    def special(text):
        return {"SpecialToken": {"id": text, "type_id": 0}}
    sequence = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    single = [special(before), sequence[0], special(after)]
    return {"type": "TemplateProcessing", "single": single,
            "pair": single + [sequence[1], special(after)],
            "special_tokens": {text: {"id": text, "ids": [i], "tokens": [text]}
                               for text, i in ((before, before_id), (after, after_id))}}


def byte_level():
    """What RoBERTa has, with 96 tokens."""
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    characters = [chr(c) for c in range(33, 121)] + ["Ġ"]
    vocabulary = {text: i for i, text in enumerate(marks + characters)}
    vocabulary |= {"Ġa": 93, "lo": 94}
    return {"model": {"type": "BPE", "vocab": vocabulary, "merges": ["Ġ a", "l o"]},
            "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                              "use_regex": True},
            "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                               "trim_offsets": True, "add_prefix_space": False},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
            "added_tokens": added(enumerate(marks))}


def unigram(prepend="always"):
    """What XLM-RoBERTa has, with 96 tokens and a map of characters that SentencePiece made."""
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = ["▁", "▁a", "lo", "▁hello", "rld"] + [chr(c) for c in range(33, 120)]
    charsmap = json.loads((harness.ROOT / "tests/data/golden/unigram.json").read_text())["charsmap"]
    return {"model": {"type": "Unigram", "unk_id": 3, "byte_fallback": False,
                      "vocab": [[text, 0.0] for text in marks]
                      + [[text, -2.0 - 0.125 * i] for i, text in enumerate(pieces)]},
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": charsmap},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend,
                              "split": True},
            "post_processor": around("<s>", 0, "</s>", 2),
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend,
                        "split": True},
            "added_tokens": added(enumerate(marks))}


def encoder(tmp_path, family, tokenizer):
    folder = tmp_path / family
    shutil.copytree(TINY / family, folder)
    if tokenizer is not None:
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.mark.no_model
@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoder_computes_the_same_from_gguf(alone, tmp_path, family):
    """With its head, and with the tensors that llama.cpp's converter writes."""
    tokenizer = {"roberta": byte_level, "modernbert": byte_level, "xlm_roberta": unigram}.get(
        family, word_piece)()
    folder, made = encoder(tmp_path, family, tokenizer), tmp_path / "made.gguf"
    written = alone.json("convert", folder, "--to", "gguf", "--type", "F32", "-o", made)
    ids = ",".join(str(3 + i * 7 % 90) for i in range(13))
    for path, out in ((folder, "one"), (made, "two")):
        outcome = alone.troupe("logits", path, "--ids", ids, "-o", tmp_path / out)
        assert outcome.status == 0, str(outcome)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    for text in TEXTS:
        from_folder, from_file = (alone.json("tokenize", path, text)["ids"] for path in (folder, made))
        assert from_folder == from_file and len(from_folder) > 2, text
    assert alone.json("show", made)["labels"] == alone.json("show", folder)["labels"] > 0
    theirs = harness.ROOT / "tests/data/golden/tiny_gguf" / f"{family}.gguf"
    if theirs.exists():
        ours, others = tensors_in(made), tensors_in(theirs)
        assert set(others) <= set(ours), sorted(set(others) - set(ours))
        assert all(ours[name] == others[name] for name in others)
    quantized = alone.json("convert", folder, "--to", "gguf", "--type", "Q8_0", "-o", tmp_path / "q")
    assert quantized["formats"]["Q8_0"] > 8 and written["formats"].keys() == {"F32"}


TENSORS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from gguf import GGUFReader
print(json.dumps({t.name: [t.tensor_type.name, t.shape.tolist(), bytes(t.data.tobytes()).hex()]
                  for t in GGUFReader(sys.argv[2]).tensors}))
"""


def tensors_in(path):
    if not (PACKAGES / "gguf").exists():
        pytest.skip(f"gguf is not in {PACKAGES}; tools/test.sh puts it there")
    done = subprocess.run([sys.executable, "-c", TENSORS, str(PACKAGES), str(path)], text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.no_model
@pytest.mark.parametrize("family, tokenizer, said", [
    ("bert", word_piece(lowercase=False), "no key for what it does to capital letters"),
    ("bert", word_piece(strip_accents=False), "no key for what it does to capital letters"),
    ("bert", {**word_piece(), "post_processor": None}, "one token before a text and one behind it"),
    ("bert", {**byte_level(), "normalizer": {"type": "Lowercase"}}, "its normalizer Lowercase"),
    ("xlm_roberta", {**unigram(), "normalizer": {"type": "Lowercase"}},
     "no keys for all that it does to a text"),
    ("mpnet", None, "GGUF has no architecture for models of the family mpnet")])
def test_encoders_that_gguf_cannot_express(alone, tmp_path, family, tokenizer, said):
    folder = encoder(tmp_path, family, tokenizer)
    # Without this file, a BERT lower-cases whatever tokenizer.json says, as in transformers.
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    outcome = alone.troupe("convert", folder, "--to", "gguf", "-o", tmp_path / "made.gguf")
    assert outcome.status == 1 and said in outcome.err, str(outcome)
    assert not (tmp_path / "made.gguf").exists()


@pytest.mark.no_model
@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_ternary_formats(alone, tmp_path, kind):
    """The tiny models' rows are too short for their blocks, but for an inner width over 256."""
    made = tmp_path / "made.gguf"
    written = alone.json("convert", TINY / "llama", "--to", "gguf", "--type", kind, "-o", made)
    assert formats_in(made) == written["formats"]
    assert set(written["formats"]) <= {kind, "F32", "Q4_0", "Q4_K", "Q5_0", "Q6_K", "Q8_0", "F16"}
    assert alone.troupe("run", made, "--prompt-ids", "5,6,7", "-n", 2).status == 0


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
