"""Tokenizers against Python's `tokenizers` and `sentencepiece`: vocabularies trained here, the same
10,000 lines through both. The packages lie in build/python (tools/test.sh puts them there)."""
import io
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, os.environ.get("TROUPE_PYTHON_PACKAGES", str(ROOT / "build" / "python")))

import sentencepiece  # noqa: E402
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,  # noqa: E402
                        pre_tokenizers, processors, trainers)

import gguf_writer as gguf  # noqa: E402
from lines import SCRIPTS, documents, lines  # noqa: E402

DRIVER = os.environ.get("TROUPE_TEXT_DRIVER", str(ROOT / "build" / "test" / "text_driver"))
COUNT = 10_000
TEXTS = lines(COUNT, seed=20)
CORPUS = documents() + SCRIPTS * 20 + lines(2000, seed=21)

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"


def by_case(endings, digits):
    start, rest = r"[^\r\n\p{L}\p{N}]?", r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    return (f"{start}{UPPER}*{LOWER}+{endings}|{start}{UPPER}+{LOWER}*{endings}|{digits}{rest}")


GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
             r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_LETTERS = (
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ"
    "ἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\u1f5f-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌ\u1fd0-\u1fd3\u1fd6-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ"
    "\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+")
SCRIPTS_OF_DEEPSEEK = "[一-龥ࠀ-一가-\ud7ff]+"


def split(*patterns):
    return [pre_tokenizers.Split(Regex(one), "isolated") for one in patterns]


def bytes_last(*steps):
    return pre_tokenizers.Sequence(
        [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def digits_first():
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False)])


# name in GGUF files: (pre-tokenizer, normalizer, ignore_merges)
FAMILIES = {
    "gpt-2": lambda: (pre_tokenizers.ByteLevel(add_prefix_space=False), None, False),
    "smollm": lambda: (digits_first(), None, False),
    "starcoder": lambda: (digits_first(), None, False),
    "llama-bpe": lambda: (bytes_last(*split(LLAMA3)), None, True),
    "qwen2": lambda: (bytes_last(*split(QWEN2)), normalizers.NFC(), False),
    "qwen35": lambda: (bytes_last(*split(QWEN35)), normalizers.NFC(), False),
    "falcon3": lambda: (bytes_last(*split(LLAMA3)), None, True),
    "tekken": lambda: (bytes_last(*split(by_case("", r"\p{N}"))), None, True),
    "gpt-4o": lambda: (bytes_last(*split(by_case(ENDINGS, r"\p{N}{1,3}"))), None, False),
    "default": lambda: (bytes_last(*split(r"[\p{P}\$\+<=>\^~\|]+", GPT2_WORDS, r"\p{N}+",
                                          "[0-9][0-9][0-9]")), None, False),
    "deepseek-llm": lambda: (bytes_last(
        *split("[\r\n]", DEEPSEEK_LETTERS, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$",
               SCRIPTS_OF_DEEPSEEK), pre_tokenizers.Digits(individual_digits=True)), None, False),
    "deepseek-coder": lambda: (bytes_last(
        *split("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", SCRIPTS_OF_DEEPSEEK),
        pre_tokenizers.Digits(individual_digits=True)), None, False),
    "deepseek-v3": lambda: (bytes_last(*split(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3)),
                            None, False),
}
SPECIAL = ["<|begin|>", "<|end|>", "<|im_start|>"]


def run(kind, *files, texts=None, **options):
    request = {"texts": TEXTS if texts is None else texts, **options}
    done = subprocess.run([DRIVER, kind, *map(str, files)], input=json.dumps(request).encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    assert answer["whole"]
    return answer


def compare(ours, theirs, texts=None):
    for text, got, expected in zip(texts or TEXTS, ours, theirs, strict=True):
        assert got == expected, f"{text!r}: {got} instead of {expected}"


def train_bytes(family):
    pre, normalizer, ignore = FAMILIES[family]()
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def by_id(tokenizer):
    tokens = sorted(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda one: one[1])
    assert [one[1] for one in tokens] == list(range(len(tokens)))
    return [one[0] for one in tokens]


def write_byte_level(path, tokenizer, family):
    tokens = by_id(tokenizer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    gguf.write(path, {
        "tokenizer.ggml.model": (gguf.STRING, "gpt2"), "tokenizer.ggml.pre": (gguf.STRING, family),
        "tokenizer.ggml.tokens": (gguf.STRING, tokens),
        "tokenizer.ggml.token_type": (gguf.INT32, [3 if one in SPECIAL else 1 for one in tokens]),
        "tokenizer.ggml.merges": (gguf.STRING, [" ".join(one) for one in merges]),
        "tokenizer.ggml.add_bos_token": (gguf.BOOL, False)})


@pytest.mark.parametrize("family", FAMILIES)
def test_byte_level(family, tmp_path):
    tokenizer = train_bytes(family)
    expected = [one.ids for one in tokenizer.encode_batch(TEXTS)]
    write_byte_level(tmp_path / "t.gguf", tokenizer, family)
    ours = run("gguf", tmp_path / "t.gguf")
    compare(ours["ids"], expected)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    ours = run("json", tmp_path / "tokenizer.json")
    compare(ours["ids"], expected)
    back = [tokenizer.decode(ids) for ids in expected]
    compare(ours["texts"], back)


@pytest.mark.parametrize("markup", [True, False])
def test_markup_in_the_text(markup, tmp_path):
    tokenizer = train_bytes("llama-bpe")
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("->", normalized=False),
                          AddedToken("word", single_word=True, normalized=False),
                          AddedToken("<l>", lstrip=True, normalized=False),
                          AddedToken("<r>", rstrip=True, normalized=False),
                          AddedToken("<|im_start|>x", normalized=False)])
    tokenizer.encode_special_tokens = not markup
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A <|end|>", special_tokens=[("<|begin|>", 0), ("<|end|>", 1)])
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    added = [*SPECIAL, "<tool>", "word", "<l>", "<r>", "<|im_start|>x", "<|im_", "start|>"]
    texts = []
    for i, text in enumerate(TEXTS[:3000]):
        at = (i * 7) % (len(text) + 1)
        gap = ["", " ", " \n\t "][i % 3]
        texts.append(text[:at] + gap + added[i % len(added)] + gap + text[at:])
    for special in (True, False):
        ours = run("json", tmp_path / "tokenizer.json", texts=texts, add_special=special,
                   parse_special=markup)
        compare(ours["ids"], [one.ids for one in tokenizer.encode_batch(
            texts, add_special_tokens=special)], texts)


def train_sentences(**options):
    written = io.BytesIO()
    corpus = [one.replace("\n", " ") for one in CORPUS if 0 < len(one) < 4000 and "\0" not in one]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=written, model_type="bpe",
        split_digits=True, allow_whitespace_only_pieces=True, minloglevel=2,
        **{"vocab_size": 3000, "normalization_rule_name": "identity",
           "remove_extra_whitespaces": False, "byte_fallback": True, "character_coverage": 0.98,
           **options})
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


def sentence_types(model):
    types = []
    for i in range(len(model)):
        types.append(2 if model.is_unknown(i) else 3 if model.is_control(i) else
                     6 if model.is_byte(i) else 5 if model.is_unused(i) else 1)
    return types


def write_sentences(path, model, types, **more):
    count = len(model)
    gguf.write(path, {
        "tokenizer.ggml.model": (gguf.STRING, "llama"),
        "tokenizer.ggml.tokens": (gguf.STRING, [model.id_to_piece(i) for i in range(count)]),
        "tokenizer.ggml.scores": (gguf.FLOAT32, [model.get_score(i) for i in range(count)]),
        "tokenizer.ggml.token_type": (gguf.INT32, types),
        "tokenizer.ggml.bos_token_id": (gguf.UINT32, model.bos_id()),
        "tokenizer.ggml.eos_token_id": (gguf.UINT32, model.eos_id()), **more})


@pytest.mark.parametrize("options,more", [
    ({}, {}),
    ({"byte_fallback": False}, {}),
    ({"add_dummy_prefix": False}, {"tokenizer.ggml.add_space_prefix": (gguf.BOOL, False)}),
    ({"remove_extra_whitespaces": True},
     {"tokenizer.ggml.remove_extra_whitespaces": (gguf.BOOL, True)}),
    ({"user_defined_symbols": ["<tool>", "(x)", "de"]}, {}),
], ids=["plain", "no fallback", "no prefix", "no extra spaces", "user defined"])
def test_sentence_pieces(options, more, tmp_path):
    model = train_sentences(**options)
    types = sentence_types(model)
    for symbol in options.get("user_defined_symbols", []):
        types[model.piece_to_id(symbol)] = 4
    write_sentences(tmp_path / "t.gguf", model, types, **more)
    texts = [one + ("<tool>a (x)" if i % 5 == 0 else "") for i, one in enumerate(TEXTS)]
    expected = model.encode(texts)
    ours = run("gguf", tmp_path / "t.gguf", texts=texts, add_special=False, parse_special=False)
    compare(ours["ids"], expected, texts)
    if options.get("byte_fallback", True):  # unknown characters have a sign of their own there
        compare(ours["texts"], [model.decode(ids) for ids in expected], texts)
    ours = run("gguf", tmp_path / "t.gguf", texts=["a", ""])
    assert [ids[0] for ids in ours["ids"]] == [model.bos_id()] * 2


@pytest.mark.parametrize("style", ["prepend", "metaspace", "metaspace first"])
def test_sentence_pieces_as_json(style, tmp_path):
    """As Llama-2's and Mistral's tokenizer.json describe them."""
    model = train_sentences()
    tokens = [model.id_to_piece(i) for i in range(len(model))]
    ranks = {}
    for i in sorted(range(len(model)), key=lambda one: (-model.get_score(one), one)):
        piece = tokens[i]
        if not (model.is_control(i) or model.is_byte(i) or
                model.is_unknown(i)):
            for cut in range(1, len(piece)):
                if model.piece_to_id(piece[:cut]) and model.piece_to_id(piece[cut:]):
                    ranks[(piece[:cut], piece[cut:])] = len(ranks)
    tokenizer = Tokenizer(models.BPE({one: i for i, one in enumerate(tokens)}, list(ranks),
                                     unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if style == "prepend":
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
             decoders.Strip(" ", 1, 0)])
    else:
        scheme = "first" if "first" in style else "always"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split="first" not in style)
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
             decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A",
                                                             special_tokens=[("<s>", 1)])
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    texts = [one + ("</s>b" if i % 5 == 0 else "") for i, one in enumerate(TEXTS)]
    ours = run("json", tmp_path / "tokenizer.json", texts=texts)
    expected = [one.ids for one in tokenizer.encode_batch(texts)]
    compare(ours["ids"], expected, texts)
    compare(ours["texts"], [tokenizer.decode(ids) for ids in expected], texts)


def train_word_pieces(lowercase, accents):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(
        vocab_size=4000, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False))
    return tokenizer


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_pieces(lowercase, tmp_path):
    tokenizer = train_word_pieces(lowercase, None)
    tokens = by_id(tokenizer)
    cls, sep = tokens.index("[CLS]"), tokens.index("[SEP]")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    texts = [one + ("[MASK] x" if i % 9 == 0 else "") for i, one in enumerate(TEXTS)]
    expected = [one.ids for one in tokenizer.encode_batch(texts)]
    ours = run("json", tmp_path / "tokenizer.json", texts=texts)
    compare(ours["ids"], expected, texts)
    compare(ours["texts"], [tokenizer.decode(ids) for ids in expected], texts)

    # GGUF files mark the starts of words in place of the continuations, and have no key for the
    # length of words.
    tokenizer.model.max_input_chars_per_word = 100
    expected = [one.ids for one in tokenizer.encode_batch(texts)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    marked = [one if one in special else one[2:] if one.startswith("##") else "▁" + one
              for one in tokens]
    for texts_of_file in (tokens, marked):
        gguf.write(tmp_path / "t.gguf", {
            "tokenizer.ggml.model": (gguf.STRING, "bert"),
            "tokenizer.ggml.tokens": (gguf.STRING, texts_of_file),
            "tokenizer.ggml.token_type": (gguf.INT32, [3 if one in special else 1 for one in tokens]),
            "tokenizer.ggml.cls_token_id": (gguf.UINT32, cls),
            "tokenizer.ggml.seperator_token_id": (gguf.UINT32, sep),
            "tokenizer.ggml.unknown_token_id": (gguf.UINT32, tokens.index("[UNK]"))})
        compare(run("gguf", tmp_path / "t.gguf", texts=texts)["ids"], expected, texts)


STEPS = {
    "whitespace": (None, pre_tokenizers.Whitespace()),
    "white space only": (normalizers.NFKC(), pre_tokenizers.WhitespaceSplit()),
    "punctuation": (normalizers.NFKD(), pre_tokenizers.Punctuation("merged_with_previous")),
    "digits": (normalizers.Lowercase(), pre_tokenizers.Digits(individual_digits=False)),
    "strip": (normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(),
                                    normalizers.Strip()]), pre_tokenizers.BertPreTokenizer()),
    "replace": (normalizers.Sequence([normalizers.Replace("a", "bb"),
                                      normalizers.Replace(Regex(r"\s+"), "_")]),
                pre_tokenizers.Split("_", "merged_with_next")),
    "previous": (None, pre_tokenizers.Split(Regex(r"\w+"), "merged_with_previous", invert=True)),
    "contiguous": (None, pre_tokenizers.Split(Regex(r"[aeiou\d]"), "contiguous")),
    "removed": (None, pre_tokenizers.Split(" ", "removed")),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps(name, tmp_path):
    """Normalizers and pre-tokenizers that the families above do not use."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=name != "digits"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = STEPS[name]
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["[UNK]"], show_progress=False, limit_alphabet=300))
    tokenizer.add_tokens(["Word", AddedToken("The", single_word=True)])
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    texts = [one + (" Word The There" if i % 9 == 0 else "") for i, one in enumerate(TEXTS)]
    ours = run("json", tmp_path / "tokenizer.json", texts=texts)
    compare(ours["ids"], [one.ids for one in tokenizer.encode_batch(texts)], texts)
