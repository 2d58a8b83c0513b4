"""Texts for comparing tokenizers: real words, and Unicode of all kinds. Seeded."""
import json
import pathlib
import random

ROOT = pathlib.Path(__file__).resolve().parents[2]

SCRIPTS = [
    "The quick brown fox's DON'T we'll I'VE they'RE it'd", "Zażółć gęślą jaźń ÀÉÎÕÜ ßẞ ŒœÆæ ŁĐıİ",
    "Привет, мир! Ёлка ЩИТ", "Καλημέρα κόσμε ΣΊΣΥΦΟΣ ᾼᾴ", "שָׁלוֹם עולם", "مرحبا بِالعالَم ٠١٢٣ ۴۵",
    "नमस्ते दुनिया क्षत्रिय १२३", "สวัสดีชาวโลก ๑๒๓", "你好，世界。龥㐀𠀀", "こんにちは世界 カタカナ ｶﾀｶﾅ",
    "안녕하세요 세계 한글", "Xin chào thế giới Việt Nam", "ⅠⅫ ½ ¾ ² ³ ① ⑳ ㊿ 𝟘𝟡 Ⅷ", "ﬁﬂ ﷺ ℌ ℝ Å Ω ㎏ ™ ⑴",
    "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪🇯🇵 ☺️ ✂︎ 🧑🏻‍🚀", "“quoted” ‘single’ «guillemets» – — … ‽ ¿¡ 、。〃「」",
    "def f(x):\n\treturn {'a': x[0]**2 != 3.14e-10}  # comment", "<div class=\"a\">&nbsp;</div>",
    "if (a->b && c<<2 || !d) { x += 0xFF; }", "SELECT * FROM t WHERE id=42;--", "C:\\path\\file.txt ~/.x",
    "https://example.org/a?b=c&d=%20#e me@example.org", "$12.50 €99 £1,000,000 100% 3+4=7 1e9 12345678"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", " \n ", "\u00a0", "\u2003", "\u3000",
          "\u200b", "\u2028", "\x85", "\x0b", "\x0c", "\u180e", "\ufeff", "\u202f"]
MARKS = ["\u0301", "\u0308", "\u0327", "\u0323\u0302", "\u20dd", "\u093f", "\u064e", "\ufe0f", "\u200d"]
RANGES = [(0x20, 0x7f), (0xa0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xe00),
          (0x1e00, 0x2100), (0x2100, 0x2c00), (0x3000, 0x3400), (0x4e00, 0xa000), (0xac00, 0xd7a4),
          (0xf900, 0x10000), (0x10000, 0x12000), (0x1d400, 0x1d800), (0x1f000, 0x1fb00)]


def documents():
    """Real short texts."""
    path = ROOT / "tests" / "data" / "debian_sections" / "train.jsonl"
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def character(dice):
    kind = dice.random()
    if kind < 0.5:
        first, last = dice.choice(RANGES)
        return chr(dice.randrange(first, last))
    if kind < 0.6:
        return chr(dice.randrange(0, 0x20))
    while True:
        code = dice.randrange(0x110000)
        if not 0xd800 <= code < 0xe000:
            return chr(code)


def piece(dice, words):
    kind = dice.random()
    if kind < 0.4:
        return dice.choice(words)
    if kind < 0.55:
        text = dice.choice(SCRIPTS)
        begin = dice.randrange(len(text))
        return text[begin:begin + dice.randrange(1, 24)]
    if kind < 0.65:
        return "".join(dice.choice("0123456789") for _ in range(dice.randrange(1, 9)))
    if kind < 0.75:
        return dice.choice(words) + dice.choice(MARKS) * dice.randrange(1, 3)
    if kind < 0.85:
        return dice.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") * dice.randrange(1, 5)
    return "".join(character(dice) for _ in range(dice.randrange(1, 6)))


def lines(count, seed):
    dice = random.Random(seed)
    words = sorted({word for text in documents() for word in text.split()})
    out = ["", " ", "a", " a", "a ", "\n", "  a  b  "]
    while len(out) < count:
        text = ""
        for _ in range(dice.randrange(1, 12)):
            text += piece(dice, words)
            if dice.random() < 0.7:
                text += " " if dice.random() < 0.7 else dice.choice(SPACES)
        out.append(text)
    return out
