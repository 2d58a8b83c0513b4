"""Records how transformers reads tokenizers whose files disagree or name tokens apart.

Every case is a base tokenizer.json with a JSON merge patch, and the files beside it. The answers
are the ids that AutoTokenizer gives. Run it where transformers 5 is installed:
    python3 tests/oracles/make_tokenizer_files.py BASES > tests/data/golden/tokenizer_files.json
BASES is an earlier tokenizer_files.json, whose base tokenizers are kept.
"""
import json
import os
import pathlib
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from transformers import AutoTokenizer  # noqa: E402

TEXTS = ["<|im_start|>user\nHi<|im_end|>", "<tool>a<|im_end|> b", "x </s> y", "a <tool> b<tool>",
         "the<tool>the <TOOL> x", ""]
BERT_TEXTS = ["Hello World Größe", "naïve 中文 x", "ÀÉ[MASK] ab", ""]
MARK = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


def mark(content, special=True, **flags):
    return {"content": content, **MARK, "special": special, **flags}


def decoder(*tokens, first=400):
    return {"added_tokens_decoder": {str(first + i): token for i, token in enumerate(tokens)}}


def bpe(name, config=None, **files):
    return {"kind": "named", "name": name, "base": "bpe", "files": {
        "tokenizer_config.json": config if config is not None else {}, **files}}


def bert(name, config, patch=None, model="bert"):
    files = {"config.json": {"model_type": model}}
    if config is not None:
        files["tokenizer_config.json"] = config
    return {"kind": "bert", "name": name, "base": "bert", "patch": patch or {}, "files": files}


def cases():
    yield bpe("decoder", decoder(mark("<|im_start|>"), mark("<|im_end|>")))
    yield bpe("decoder, out of order", {"added_tokens_decoder": {
        "401": mark("<|im_end|>"), "400": mark("<tool>", special=False)}})
    yield bpe("decoder with a gap", {"added_tokens_decoder": {
        "410": mark("<|im_end|>"), "405": mark("<tool>")}})
    yield bpe("decoder changes flags", {"added_tokens_decoder": {
        "2": mark("</s>", lstrip=True, rstrip=True), "400": mark("<tool>", lstrip=True)}})
    yield bpe("decoder and a named token", {
        **decoder(mark("<tool>")), "eos_token": "<|im_end|>", "pad_token": "<tool>"})
    yield bpe("decoder hides the map", decoder(mark("<tool>")),
              **{"special_tokens_map.json": {"eos_token": "<|im_end|>"},
                 "added_tokens.json": {"<|im_start|>": 401}})
    yield bpe("map", {}, **{"special_tokens_map.json": {
        "eos_token": "<|im_end|>", "pad_token": {k: v for k, v in mark("<tool>").items()
                                                 if k != "special"}}})
    yield bpe("map over config", {"eos_token": "</s>", "bos_token": "<s>"},
              **{"special_tokens_map.json": {"eos_token": "<|im_end|>"}})
    yield bpe("map with additional tokens", {},
              **{"special_tokens_map.json": {"additional_special_tokens": ["<tool>",
                                                                           "<|im_start|>"]}})
    yield bpe("map flags", {}, **{"special_tokens_map.json": {
        "mask_token": {"content": "<tool>", "lstrip": True, "rstrip": True, "normalized": True,
                       "single_word": False}}})
    yield bpe("config names a plain token", {"eos_token": "the"})
    yield bpe("config names tokens", {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
                                      "unk_token": "<tool>"})
    yield bpe("config names objects", {"eos_token": {"__type": "AddedToken", **mark("<|im_end|>")},
                                       "pad_token": {"__type": "AddedToken",
                                                     **mark("<tool>", special=False)}})
    yield bpe("order of names", {"mask_token": "<tool>", "sep_token": "<|im_start|>",
                                 "cls_token": "<|im_end|>"})
    yield bpe("model specific", {"image_token": "<tool>", "eos_token": "<|im_end|>"})
    yield bpe("additional", {"additional_special_tokens": ["<tool>", "<|im_end|>"]})
    yield bpe("extra", {"extra_special_tokens": ["<tool>", "<|im_end|>"]})
    yield bpe("extra as object", {"extra_special_tokens": {"image_token": "<tool>"}})
    yield bpe("extra and additional", {"extra_special_tokens": ["<tool>"],
                                       "additional_special_tokens": ["<|im_end|>"]})
    yield bpe("added", {}, **{"added_tokens.json": {"<tool>": 400, "<|im_end|>": 401}})
    yield bpe("added, out of order", {}, **{"added_tokens.json": {"<tool>": 401, "<|im_end|>": 400}})
    yield bpe("added and named", {"eos_token": "<|im_end|>"},
              **{"added_tokens.json": {"<tool>": 401, "<|im_end|>": 400}})
    yield bpe("added that is known", {}, **{"added_tokens.json": {"</s>": 2, "<tool>": 400}})
    for name in ("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizerFast",
                 "ElectraTokenizer"):
        yield bert(f"{name}, cased", {"tokenizer_class": name, "do_lower_case": False})
    yield bert("cased json, flag says lower", {"tokenizer_class": "BertTokenizer",
                                               "do_lower_case": True},
               {"normalizer": {"lowercase": False}})
    yield bert("cased json, no flag", {"tokenizer_class": "BertTokenizer"},
               {"normalizer": {"lowercase": False}})
    yield bert("accents kept", {"tokenizer_class": "BertTokenizer", "do_lower_case": True,
                                "strip_accents": False})
    yield bert("accents stripped, cased", {"tokenizer_class": "BertTokenizer",
                                           "do_lower_case": False, "strip_accents": True})
    yield bert("ideographs together", {"tokenizer_class": "BertTokenizer",
                                       "tokenize_chinese_chars": False})
    yield bert("no class, bert", {"do_lower_case": False})
    yield bert("no class, another model", {"do_lower_case": False}, model="llama")
    yield bert("no config, bert", None, {"normalizer": {"lowercase": False}})
    yield bert("plain class", {"tokenizer_class": "PreTrainedTokenizerFast",
                               "do_lower_case": False})
    yield from pattern_cases()


PATTERN_TEXTS = ["a1234567 b12", "x  y\n\n z\t", "Don't STOP-me now_1!", "naïve Größe 中文123 ²½", "a\u00a0b\u2003c",
                 "\r\nx\ry", "f00 BAR deadbeef ZZ", "e\u0301 \U0001f642 ٣٤", "&&[]a-b^", ""]
PATTERNS = [
    r"\p{N}{1,3}+", r"a\p{N}{2}?", r"b\p{N}{,2}", r"[a-z]{2,}?", r"\s++|\S++", r"[^\S\n]+", r"[\S]+",
    r"[^\P{L}]+", r"[\P{L}]+", r"[[:alpha:]]+", r"[[:^alpha:]]+", r"[^[:space:]]+", r"[[:digit:][:punct:]]",
    r"[[:upper:]][[:lower:]]*", r"[[:xdigit:]]+", r"\b\w", r"\B\w", r"\h+", r"\H+", r"\R", r"[\h]+",
    r"[a-z&&[^aeiou]]+", r"[\p{L}&&[^\p{Lu}]]+", r"[^\p{L}&&[a-z]]+", r"[a-c[x-z]]+", r"[\w&&\P{N}]+",
    r"[\p{Han}]+|[\p{L}&&[^\p{Han}]]+", r"(?i:don't|stop)", r"(?m:x.)", r"x.", r"(?<n>ab?)", r"(?>a|ab)",
    r"[]a]", r"[a\-b]", r"[-a]", r"[a-]", r"[\]\[]", r"{", r"a{x}", r"\x{61}|\x62", r"\u0063", r"\t|\v",
    r"^.", r".$", r"\A.", r".\z", r"(?=1)1", r"(?<!a)1", r"\p{Letter}+", r"\p{^L}+", r"\p{Alnum}+",
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"]


def split(pattern, behavior="Isolated"):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def steps(name, *pretokenizers):
    return {"kind": "steps", "name": name, "base": "bpe", "files": {"tokenizer_config.json": {}},
            "patch": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(pretokenizers)}},
            "texts": PATTERN_TEXTS}


def pattern_cases():
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": False}
    words = {**level, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": False}
    signs = {"type": "Punctuation", "behavior": "Contiguous"}
    for pattern in PATTERNS:
        yield {**steps(pattern, split(pattern), level), "kind": "regex"}
    yield steps("falcon", signs, words, digits, split("[0-9][0-9][0-9]"))
    yield steps("digits last", words, {"type": "Digits", "individual_digits": True})
    yield steps("signs last", level, {"type": "Punctuation", "behavior": "Isolated"})
    yield steps("letters after bytes", level, split(r"\p{L}+"))
    yield steps("removed after bytes", words, split("[0-9]", "Removed"))
    yield steps("merged after bytes", level, split("o", "MergedWithPrevious"))
    yield steps("delimiter", {"type": "CharDelimiterSplit", "delimiter": "-"}, words)
    yield steps("delimiter after bytes", words, {"type": "CharDelimiterSplit", "delimiter": "1"})


def merge(value, patch):
    """JSON Merge Patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    out = dict(value) if isinstance(value, dict) else {}
    for key, one in patch.items():
        if one is None:
            out.pop(key, None)
        else:
            out[key] = merge(out.get(key), one)
    return out


def answer(bases, case):
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        files = {"config.json": {"model_type": "llama"},
                 "tokenizer.json": merge(bases[case["base"]], case.get("patch", {})),
                 **case["files"]}
        for name, content in files.items():
            (place / name).write_text(json.dumps(content))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        texts = case.pop("texts", BERT_TEXTS if case["base"] == "bert" else TEXTS)
        case["ids"] = {text: tokenizer(text)["input_ids"] for text in texts}
    return case


def main():
    bases = json.loads(pathlib.Path(sys.argv[1]).read_text())["bases"]
    made = [answer(bases, case) for case in cases()]
    print(json.dumps({"bases": bases, "cases": made}, ensure_ascii=True, separators=(",", ":")))


main()
