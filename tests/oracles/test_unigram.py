"""Unigram tokenizers against Python's `tokenizers` and `sentencepiece`: vocabularies trained here, the
same 10,000 lines through both. The packages lie in build/python (tools/test.sh puts them there)."""
import functools
import json

import pytest

import gguf_writer as gguf
from test_tokenizers import CORPUS, TEXTS, compare, run, sentence_types
from unigram_models import charsmap_of, json_tokenizer, train

SYMBOLS = "<tool>,(x),de,ﬁ"


@functools.cache
def model_of(**options):
    return train(CORPUS, **options)


@pytest.mark.parametrize("options,more", [
    ({}, {}),
    ({"normalization_rule_name": "nfkc_cf"}, {}),
    ({"byte_fallback": True}, {}),
    ({"add_dummy_prefix": False}, {"tokenizer.ggml.add_space_prefix": (gguf.BOOL, False)}),
    ({"remove_extra_whitespaces": False},
     {"tokenizer.ggml.remove_extra_whitespaces": (gguf.BOOL, False)}),
    ({"user_defined_symbols": SYMBOLS}, {}),
], ids=["plain", "case folded", "byte fallback", "no prefix", "all spaces", "user defined"])
def test_gguf(options, more, tmp_path):
    model = model_of(**options)
    count, types = len(model), sentence_types(model)
    if "user_defined_symbols" in options:
        for symbol in SYMBOLS.split(","):
            types[model.piece_to_id(symbol)] = 4
    gguf.write(tmp_path / "t.gguf", {
        "tokenizer.ggml.model": (gguf.STRING, "t5"),
        "tokenizer.ggml.pre": (gguf.STRING, "default"),
        "tokenizer.ggml.tokens": (gguf.STRING, [model.id_to_piece(i) for i in range(count)]),
        "tokenizer.ggml.scores": (gguf.FLOAT32, [model.get_score(i) for i in range(count)]),
        "tokenizer.ggml.token_type": (gguf.INT32, types),
        "tokenizer.ggml.unknown_token_id": (gguf.UINT32, model.unk_id()),
        "tokenizer.ggml.bos_token_id": (gguf.UINT32, model.bos_id()),
        "tokenizer.ggml.eos_token_id": (gguf.UINT32, model.eos_id()),
        "tokenizer.ggml.add_space_prefix": (gguf.BOOL, True),
        "tokenizer.ggml.remove_extra_whitespaces": (gguf.BOOL, True),
        "tokenizer.ggml.precompiled_charsmap": (gguf.UINT8, list(charsmap_of(model))), **more})
    texts = [one + ("<tool>a ﬁ(x)" if i % 5 == 0 else "") for i, one in enumerate(TEXTS)]
    ours = run("gguf", tmp_path / "t.gguf", texts=texts, add_special=False, parse_special=False)
    compare(ours["ids"], model.encode(texts), texts)
    ours = run("gguf", tmp_path / "t.gguf", texts=["a", ""])
    assert [ids[-1] for ids in ours["ids"]] == [model.eos_id()] * 2


@pytest.mark.parametrize("style", ["xlm-r", "xlm-r of late", "one word", "byte fallback", "bare"])
def test_json(style, tmp_path):
    model = model_of(**({"byte_fallback": True} if style == "byte fallback" else {}))
    tokenizer = json_tokenizer(model, style)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    texts = [one + ("</s>b" if i % 5 == 0 else "") for i, one in enumerate(TEXTS)]
    ours = run("json", tmp_path / "tokenizer.json", texts=texts)
    expected = [one.ids for one in tokenizer.encode_batch(texts)]
    compare(ours["ids"], expected, texts)
    if style != "bare":
        compare(ours["texts"], [tokenizer.decode(ids) for ids in expected], texts)


def test_equal_scores(tmp_path):
    """Many ways to cut a text have the same score: the order of the search decides."""
    model = model_of()
    tokenizer = json_tokenizer(model, "xlm-r")
    file = json.loads(tokenizer.to_str())
    for scale in (4.0, 1.0):
        for one in file["model"]["vocab"]:
            one[1] = round(one[1] / scale) * scale
        text = json.dumps(file)
        (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
        same = type(tokenizer).from_str(text)
        ours = run("json", tmp_path / "tokenizer.json")
        compare(ours["ids"], [one.ids for one in same.encode_batch(TEXTS)])
