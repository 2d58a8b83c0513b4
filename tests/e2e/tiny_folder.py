"""A very small model as a Hugging Face folder, with a tokenizer of single characters."""
import json
import shutil

import harness

TINY = harness.ROOT / "tests" / "data" / "golden" / "tiny" / "llama"
CHAT = ("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<pad>"]


def byte_level_tokenizer():
    """Makes a tokenizer.json of the model's 128 tokens: the printable characters of ASCII, space,
    newline, special tokens, and words that no text becomes."""
    vocabulary = {chr(c): c - 33 for c in range(33, 127)} | {"Ġ": 94, "Ċ": 95}
    vocabulary |= {f"word{i}": i for i in range(96 + len(SPECIAL), 128)}
    added = [{"id": 96 + i, "content": text, "special": True, "normalized": False,
              "single_word": False, "lstrip": False, "rstrip": False}
             for i, text in enumerate(SPECIAL)]
    return {"added_tokens": added, "normalizer": None, "post_processor": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                              "use_regex": True},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                        "use_regex": True},
            "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}


class Folder:
    """A copy of the tiny llama with a tokenizer; `config` is its tokenizer_config.json. With
    `context`, the model has that number of positions."""

    def __init__(self, path, config=None, context=None, **files):
        self.path = path
        shutil.copytree(TINY, path)
        self.write("tokenizer.json", byte_level_tokenizer())
        if config is not None:
            self.write("tokenizer_config.json", config)
        if context is not None:
            model = json.loads((path / "config.json").read_text())
            self.write("config.json", {**model, "max_position_embeddings": context})
        for name, content in files.items():
            self.write(name.replace("__", "."), content)

    def write(self, name, content):
        text = content if isinstance(content, str) else json.dumps(content)
        (self.path / name).write_text(text, encoding="utf-8")
