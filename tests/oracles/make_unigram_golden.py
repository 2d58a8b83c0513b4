"""Makes tests/data/golden/unigram.json: a small unigram model, and the ids that `sentencepiece` and
`tokenizers` give to short texts with it.

    python3 tests/oracles/make_unigram_golden.py

The packages lie in build/python (tools/test.sh puts them there). The model's map of characters has a
few rules only, because that of NFKC is large: test_unigram.py has it.
"""
import base64
import json
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, os.environ.get("TROUPE_PYTHON_PACKAGES", str(ROOT / "build" / "python")))

from lines import SCRIPTS, documents, lines  # noqa: E402
from unigram_models import charsmap_of, json_tokenizer, train  # noqa: E402

RULES = {"ﬁ": "fi", "㎏": "kg", "\t": " ", "\u3000": " ", "\r": " ", "e": "e", "é": "é", "e\u0301": "é",
         "Ａ": "A", "\u200b": "", "…": "..."}
TEXTS = ["", " ", "the ﬁrst e\u0301tude of 3 ㎏", "  two  spaces\tand\r\nlines\u3000", "cafe\u0301\u0301 …",
         "Ａ\u200bB", "<tool> in (x)<tool>", "</s> <unk> <s>", "\U0001f600\U0001f600 smile", "日本語 text",
         "e\u0301\u0323", "aaaaaaaaaaaa bbbb"]


def rules_file(folder):
    path = pathlib.Path(folder) / "rules.tsv"
    path.write_text("".join(
        " ".join(f"{ord(c):x}" for c in source) + "\t" + " ".join(f"{ord(c):x}" for c in to) + "\n"
        for source, to in RULES.items()), encoding="utf-8")
    return str(path)


def main():
    with tempfile.TemporaryDirectory() as folder:
        model = train(documents() + SCRIPTS[:3], vocab_size=320, user_defined_symbols=["<tool>"],
                      normalization_rule_tsv=rules_file(folder), character_coverage=0.9995)
    tokenizer = json_tokenizer(model, "one word")
    texts = TEXTS + [one for one in lines(400, seed=5) if len(one) < 40][:120]
    count = len(model)
    # SentencePiece writes no special token for text that looks like one.
    marked = [one for one in texts if "</s>" not in one]
    golden = {
        "charsmap": base64.b64encode(charsmap_of(model)).decode(),
        "tokens": [model.id_to_piece(i) for i in range(count)],
        "scores": [model.get_score(i) for i in range(count)],
        "types": [2 if model.is_unknown(i) else 3 if model.is_control(i) else
                  4 if model.id_to_piece(i) == "<tool>" else 1 for i in range(count)],
        "sentencepiece": {one: model.encode(one) for one in texts},
        "tokenizer": json.loads(tokenizer.to_str()),
        "tokenizers": {one: tokenizer.encode(one).ids for one in marked},
    }
    path = ROOT / "tests" / "data" / "golden" / "unigram.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(path.stat().st_size, "bytes,", count, "tokens")


main()
