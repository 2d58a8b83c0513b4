"""Models with one thing wrong or unknown each, made from the committed tiny models by a seed.

Each case is a file or folder and what the sentence of `troupe show` must contain. All files are
sound: what is wrong was written on purpose, so that fetching one again would bring the same.
"""
import dataclasses
import json
import pathlib
import random
import shutil
import struct
import typing

import harness
import tiny_folder
from gguf_file import ARRAY, I32, STRING, U16, U32, EditableGguf

GOLDEN = harness.ROOT / "tests" / "data" / "golden"
TINY, TINY_GGUF = GOLDEN / "tiny", GOLDEN / "tiny_gguf"
CAUSAL = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "glm4", "granite", "olmo2",
          "phi3", "smollm3", "qwen2_moe", "qwen3_moe", "mixtral"]
ENCODERS = ["bert", "distilbert", "roberta", "modernbert", "mpnet"]


@dataclasses.dataclass
class Case:
    name: str
    build: typing.Callable[[pathlib.Path], pathlib.Path]  # writes into a new folder
    said: typing.Sequence[str]
    runs: str = ""  # what "runs" begins with, if the model runs all the same


# ---------------------------------------------------------------- GGUF files

def gguf_of(family, change, version=3):
    def build(folder):
        file = EditableGguf((TINY_GGUF / f"{family}.gguf").read_bytes())
        if change is not None:
            change(file)
        path = folder / "model.gguf"
        path.write_bytes(file.written(version))
        return path
    return build


def gguf_cases(chance):
    """One thing wrong in a GGUF file of a family that is drawn anew for each."""
    def one(name, said, change, families=("llama_biased", "granite", "olmo2", "smollm3"), **more):
        family = chance.choice(families)
        said = [word.replace("ARCH", arch_of(family)) for word in said]
        return Case(f"GGUF of {family}: {name}", gguf_of(family, change), said, **more)

    def arch_of(family):
        return EditableGguf((TINY_GGUF / f"{family}.gguf").read_bytes()).keys["general.architecture"][1]

    def put(key, kind, value):
        def change(file):
            name = key.replace("ARCH", file.keys["general.architecture"][1])
            file.keys[name] = [kind, value]
        return change

    def drop(key):
        return lambda file: file.keys.pop(key.replace("ARCH", file.keys["general.architecture"][1]))

    for arch in ("mamba", "rwkv7", "gemma9", "clip", "t5", "whisper", "deepseek2", "nomic-bert",
                 "llama4", "qwen35", "lfm2", "falcon-h1"):
        yield one(f"architecture {arch}", [arch, "this version can run"],
                  put("general.architecture", STRING, arch))
    for key in ("ARCH.block_count", "ARCH.embedding_length", "ARCH.feed_forward_length",
                "ARCH.attention.head_count", "ARCH.context_length"):
        yield one(f"without {key}", [key, "missing"], drop(key))
        yield one(f"{key} as a text", [key, "integer"], put(key, STRING, "many"))
        yield one(f"{key} of 0", ["0"], put(key, U32, 0))
    for kind in ("spiral", "mrope"):
        yield one(f"RoPE scaling {kind}", [kind], put("ARCH.rope.scaling.type", STRING, kind))
    yield one("an odd rotary dimension", ["rotary dimension 7"],
              put("ARCH.rope.dimension_count", U32, 7))
    yield one("no heads that divide", ["head", "7"], put("ARCH.attention.head_count", U32, 7))
    yield one("more layers than the file has", ["blk."], put("ARCH.block_count", U32, 9))
    yield one("fewer layers than the file has", ["blk.1"], put("ARCH.block_count", U32, 1))
    for model in ("plamo2", "rwkv", "t5x"):
        yield one(f"tokenizer {model}", [model, "tokenizer.ggml.model"], tokenizer(model, "default"))
    for pre in ("of-tomorrow", "kimi-k9"):
        yield one(f"pre-tokenizer {pre}", [pre, "tokenizer.ggml.pre"], tokenizer("gpt2", pre))
    yield one("a tokenizer without tokens", ["tokenizer.ggml.tokens"], tokenizer("gpt2", "gpt-2", 0))
    yield one("a merge of one word", ["merge 0", "'ab'"],
              tokenizer("gpt2", "gpt-2", merges=["ab"]))
    for source, said in broken_templates():
        yield one(f"template {source[:30]}", said,
                  tokenizer("gpt2", "gpt-2", template=source), runs="yes, with --raw")
    for name in ("token_embd.weight", "blk.1.attn_q.weight", "output_norm.weight"):
        yield one(f"without {name}", [name, "missing"], lambda file, name=name: file.tensors.pop(name),
                  families=("llama_biased", "granite", "smollm3"))
    for kind, type_name in ((15, "Q8_K"), (4, "Q4_2"), (31, "Q4_0_4_4"), (36, "IQ4_NL_4_4"), (77, "77")):
        def retype(file, kind=kind):
            file.tensors["blk.0.ffn_up.weight"][1] = kind
        yield one(f"tensor type {type_name}", ["blk.0.ffn_up.weight", type_name], retype,
                  families=("llama_biased", "granite"))
    yield one("a tensor of another width", ["blk.0.attn_q.weight"], lambda file: file.tensors.update(
        {"blk.0.attn_q.weight": [[8, 4], 0, bytes(128)]}), families=("llama_biased", "granite"))
    yield one("a tensor of another model", ["blk.0.ssm_in.weight"], lambda file: file.tensors.update(
        {"blk.0.ssm_in.weight": [[8], 0, bytes(32)]}))
    yield one("one tensor twice a layer", ["blk.0.attn_k_norm.weight"], lambda file: file.tensors.update(
        {"blk.0.attn_k_norm.weight": [[8], 0, bytes(32)]}), families=("llama_biased",))
    yield one("a file without weights", ["token_embd.weight"], lambda file: file.tensors.clear())
    yield one("an adapter", ["adapter", "--adapter"], put("general.type", STRING, "adapter"))
    yield one("an importance matrix", ["imatrix"], put("general.type", STRING, "imatrix"))
    yield one("a projector for pictures", ["mmproj"], put("general.type", STRING, "mmproj"))
    def first_part(file):
        file.keys.update({"split.no": [U16, 0], "split.count": [U16, 3]})
    yield one("one part of several", ["model.gguf", "00001-of-00003"], first_part)
    for version in (1, 4):
        yield Case(f"GGUF of version {version}", gguf_of("granite", None, version),
                   ["version", str(version)])
    yield Case("GGUF of a big-endian machine", big_endian, ["big-endian", "convert"])


def big_endian(folder):
    path = folder / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 1, 1) + bytes(64))
    return path


def tokenizer(model, pre, count=None, merges=("a b",), template="{{ messages[0].content }}"):
    """Gives a file a tokenizer of the bytes and as many further tokens as it has rows."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    texts = [chr(byte) for byte in plain] + [chr(256 + i) for i in range(256 - len(plain))]

    def change(file):
        tokens = [*texts, "ab", "<s>", "</s>"][:count]
        file.keys.update({
            "tokenizer.ggml.model": [STRING, model], "tokenizer.ggml.pre": [STRING, pre],
            "tokenizer.ggml.tokens": [ARRAY, [STRING, tokens]],
            "tokenizer.ggml.token_type": [ARRAY, [I32, [1] * len(tokens)]],
            "tokenizer.ggml.merges": [ARRAY, [STRING, list(merges)]],
            "tokenizer.chat_template": [STRING, template]})
        for key in ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                    "tokenizer.ggml.scores"):
            file.keys.pop(key, None)
    return change


def broken_templates():
    """(source, what is said of it)"""
    return [("{% include 'x' %}", ["include", "line 1"]),
            ("{% for m in messages %}\n{{ m.content }}", ["template", "endfor"]),
            ("{{ messages | of_tomorrow }}", ["of_tomorrow", "line 1"]),
            ("a\n{% wibble %}", ["wibble", "line 2"]),
            ("{{ messages[0 }}", ["template", "line 1"]),
            ("{% if x is curious %}{% endif %}", ["curious", "line 1"])]


# ---------------------------------------------------------------- folders

class Tensors:
    """A safetensors file as name -> [dtype, shape, bytes]."""

    def __init__(self, content):
        size, = struct.unpack("<Q", content[:8])
        header = json.loads(content[8:8 + size])
        header.pop("__metadata__", None)
        self.found = {name: [one["dtype"], one["shape"],
                             content[8 + size + one["data_offsets"][0]:
                                     8 + size + one["data_offsets"][1]]]
                      for name, one in header.items()}

    def written(self):
        header, data = {}, b""
        for name, (dtype, shape, content) in self.found.items():
            header[name] = {"dtype": dtype, "shape": shape,
                            "data_offsets": [len(data), len(data) + len(content)]}
            data += content
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + data


def folder_of(family, change):
    def build(folder):
        path = folder / "a-model"
        path.mkdir()
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(TINY / family / name, path / name)
        change(path)
        return path
    return build


def edited(field, value):
    """Changes config.json: `value` None takes the field away."""
    def change(path):
        config = json.loads((path / "config.json").read_text())
        if value is None:
            config.pop(field)
        else:
            config[field] = value
        (path / "config.json").write_text(json.dumps(config))
    return change


def with_tensors(change):
    def edit(path):
        file = Tensors((path / "model.safetensors").read_bytes())
        change(file.found)
        (path / "model.safetensors").write_bytes(file.written())
    return edit


def with_file(name, content):
    def change(path):
        (path / name).parent.mkdir(exist_ok=True)
        data = content if isinstance(content, (bytes, str)) else json.dumps(content)
        (path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return change


def with_tokenizer(change):
    """tiny_folder's tokenizer.json with one thing changed (for the tiny llama, of 128 rows)."""
    def build(path):
        made = tiny_folder.byte_level_tokenizer()
        change(made)
        (path / "tokenizer.json").write_text(json.dumps(made))
    return build


def both(*changes):
    def change(path):
        for one in changes:
            one(path)
    return change


def first_matrix(found):
    return next(name for name in sorted(found) if len(found[name][1]) == 2 and "layers.0." in name)


def config_cases(chance):
    def one(name, said, change, families=CAUSAL, **more):
        family = chance.choice(families)
        return Case(f"folder of {family}: {name}", folder_of(family, change), said, **more)

    for kind in ("mamba", "llama4", "deepseek_v3", "t5", "whisper", "qwen9", "phi9", "cohere2"):
        yield one(f"model_type {kind}", ["config.json", kind, "this version can run"],
                  edited("model_type", kind))
    for field in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                  "max_position_embeddings"):
        families = ["llama", "qwen3", "glm4", "olmo2", "smollm3", "bert", "roberta"]
        yield one(f"{field} as a text", ["config.json", field], edited(field, "many"), families)
        yield one(f"{field} of 0", [field], edited(field, 0), families)
        yield one(f"{field} of half", [field, "1.5"], edited(field, 1.5), families)
    for field in ("hidden_size", "num_hidden_layers", "num_attention_heads", "model_type"):
        yield one(f"without {field}", ["config.json", field], edited(field, None),
                  ["llama", "qwen3", "glm4", "olmo2", "bert", "roberta"])
    for act in ("relu2", "swish9", "xielu"):
        yield one(f"activation {act}", ["hidden_act", act], edited("hidden_act", act),
                  ["llama", "qwen2", "qwen3", "olmo2", "bert", "glm4", "smollm3"])
    for kind in ("spiral", "ntk-by-parts"):
        yield one(f"RoPE {kind}", [kind, "rope"], edited(
            "rope_parameters", {"rope_type": kind, "rope_theta": 10000.0, "factor": 2.0}),
            ["llama", "qwen3", "olmo2", "mistral"])
        yield one(f"older RoPE {kind}", [kind, "rope"], both(edited("rope_parameters", None), edited(
            "rope_scaling", {"type": kind, "factor": 2.0})), ["llama", "qwen3", "olmo2", "mistral"])
    yield one("YaRN without a factor", ["factor"], edited(
        "rope_parameters", {"rope_type": "yarn", "rope_theta": 10000.0}), ["llama", "qwen3"])
    for method, more in [("gptq", {"bits": 4}), ("awq", {"bits": 4}), ("bitsandbytes", {}),
                         ("hqq", {}), ("exl2", {"bits": 4}), ("aqlm", {}), ("torchao", {}),
                         ("quanto", {}), ("eetq", {}), ("higgs", {}), ("mxfp4", {})]:
        yield one(f"quantized by {method}", ["quantization_config", method, "GGUF"], edited(
            "quantization_config", {"quant_method": method, **more}),
            ["llama", "qwen3", "mistral", "gemma3"])
    yield one("quantized for MLX", ["quantization", "MLX"], both(
        edited("quantization", {"group_size": 64, "bits": 4}),
        with_tensors(lambda found: found.update(
            {first_matrix(found): ["U32", [64, 8], bytes(2048)]}))), ["llama", "qwen3", "mistral"])
    yield one("pictures alone", ["clip_vision_model"], both(
        edited("model_type", "clip_vision_model"), edited("vision_config", {"hidden_size": 8})))
    for text, said in [("", ["config.json"]), ("[]", ["config.json", "object"]),
                       ("{'model_type': 'llama'}", ["config.json", "JSON", "byte 2"]),
                       ("<html>", ["config.json", "web page"]), ("null", ["config.json", "object"])]:
        yield one(f"config.json is {text!r}", said, with_file("config.json", text))


def weight_cases(chance):
    def one(name, said, change, families=("llama", "qwen3", "mistral", "smollm3"), **more):
        family = chance.choice(families)
        return Case(f"folder of {family}: {name}", folder_of(family, change), said, **more)

    def only(name):
        def change(path):
            (path / "model.safetensors").rename(path / name)
        return change

    for name in ("pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "tf_model.h5",
                 "flax_model.msgpack", "model.onnx", "consolidated.00.pth"):
        yield one(f"weights as {name}", [name, "convert"], only(name))
    yield one("weights with a name of their own", ["weights.safetensors", "model.safetensors"],
              only("weights.safetensors"))
    yield one("an original checkpoint", ["consolidated.safetensors", "model.safetensors"],
              only("consolidated.safetensors"))
    yield one("one shard alone", ["model-00001-of-00002.safetensors", "index"],
              only("model-00001-of-00002.safetensors"))
    yield one("an adapter alone", ["adapter", "--adapter"], both(
        only("adapter_model.safetensors"), lambda path: (path / "config.json").unlink(),
        with_file("adapter_config.json", {"peft_type": "LORA", "r": 4})))
    yield one("GGUF files alone", ["mine.gguf"], both(
        only("mine.gguf"), lambda path: (path / "config.json").unlink()))
    yield one("no config.json", ["config.json"], lambda path: (path / "config.json").unlink())
    yield one("a pointer of Git LFS", ["model.safetensors", "git lfs"], with_file(
        "model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64
        + "\nsize 269060552\n"))
    yield one("a page of the web", ["model.safetensors", "web page"], with_file(
        "model.safetensors", "<!DOCTYPE html><html><head><title>Sign in</title>" + " " * 99))
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors",
                            "model.norm.weight": "model-00002-of-00002.safetensors"}}
    yield one("a shard is missing", ["model-00002-of-00002.safetensors"], both(
        only("model-00001-of-00002.safetensors"),
        with_file("model.safetensors.index.json", index)))
    for wrong in ({}, {"weight_map": {}}, {"weight_map": {"a": "../x.safetensors"}},
                  {"weight_map": {"a": 7}}):
        yield one(f"the index {json.dumps(wrong)}", ["model.safetensors.index.json"], both(
            only("x.safetensors"), with_file("model.safetensors.index.json", wrong)))

    def tensor(said, change, name, **more):
        return one(name, said, with_tensors(change), **more)

    for family, lost in (("llama", "lm_head.weight"), ("qwen3", "model.norm.weight"),
                         ("mistral", "model.layers.1.mlp.up_proj.weight"),
                         ("gemma3", "model.layers.0.self_attn.q_norm.weight"),
                         ("bert", "bert.encoder.layer.1.output.dense.weight"),
                         ("mixtral", "model.layers.0.block_sparse_moe.gate.weight")):
        yield tensor([gguf_word(lost), "missing"], lambda found, lost=lost: found.pop(lost),
                     f"without {lost}", families=(family,))
    yield tensor(["self_attn.q_proj.weight", "I32"], lambda found: found.update(
        {"model.layers.0.self_attn.q_proj.weight": ["I32", [64, 64], bytes(4 * 64 * 64)]}),
        "integers", families=("llama",))
    yield tensor(["self_attn.q_proj.qweight", "GPTQ"], lambda found: found.update(
        {"model.layers.0.self_attn.q_proj.qweight": ["I32", [8, 64], bytes(4 * 8 * 64)]}),
        "GPTQ's tensors", families=("llama",))
    yield tensor(["self_attn.q_proj.weight", "F64"], lambda found: found.update(
        {"model.layers.0.self_attn.q_proj.weight": ["F64", [64, 64], bytes(8 * 64 * 64)]}),
        "doubles", families=("llama",))
    yield tensor(["F4"], lambda found: found.update(
        {"model.layers.0.self_attn.q_proj.weight": ["F4", [64, 64], bytes(2048)]}),
        "a dtype of tomorrow", families=("llama",))
    yield tensor(["attn_q.weight"], lambda found: found.update(
        {"model.layers.0.self_attn.q_proj.weight": ["F32", [32, 64], bytes(4 * 32 * 64)]}),
        "a matrix of half the rows", families=("llama",))
    yield tensor(["vocab_size"], lambda found: found.update(
        {"model.embed_tokens.weight": ["F32", [100, 64], bytes(4 * 100 * 64)]}),
        "an embedding of other rows", families=("llama",))
    yield tensor(["lora_A", "adapter"], lambda found: found.update(
        {"model.layers.0.self_attn.q_proj.lora_A.weight": ["F32", [4, 64], bytes(1024)]}),
        "an adapter among the weights", families=("llama",))
    yield tensor(["num_hidden_layers", "8 layers"], lambda found: found.update(
        {"model.layers.7.input_layernorm.weight": ["F32", [64], bytes(256)]}),
        "a layer too many", families=("llama",))


def gguf_word(name):
    """A part of the name that a folder's tensor has as one of a GGUF file, or its own."""
    return {"lm_head.weight": "output.weight", "model.norm.weight": "output_norm.weight",
            "model.layers.1.mlp.up_proj.weight": "blk.1.ffn_up.weight",
            "model.layers.0.self_attn.q_norm.weight": "blk.0.attn_q_norm.weight",
            "bert.encoder.layer.1.output.dense.weight": "blk.1.ffn_down.weight",
            "model.layers.0.block_sparse_moe.gate.weight": "blk.0.ffn_gate_inp.weight"}[name]


def tokenizer_cases(chance):
    def one(name, said, change, **more):
        return Case(f"tokenizer: {name}", folder_of("llama", change), said, **more)

    for part, unknown in (("pre_tokenizer", "UnicodeScripts9"), ("normalizer", "Wibble"),
                          ("decoder", "OfTomorrow"), ("post_processor", "Sandwich")):
        yield one(f"{part} {unknown}", ["tokenizer.json", unknown],
                  with_tokenizer(lambda made, part=part, unknown=unknown: made.update(
                      {part: {"type": unknown}})))
    for model in ("WordLevel9", "Morphemes"):
        yield one(f"model {model}", ["tokenizer.json", model], with_tokenizer(
            lambda made, model=model: made["model"].update(type=model)))
    for wrong, said in (("(", ["(", "regular expression"]), ("[z-a]", ["[z-a]"]),
                        ("(?<=a+)b", ["(?<=a+)b"])):
        yield one(f"pattern {wrong}", ["tokenizer.json", *said], with_tokenizer(
            lambda made, wrong=wrong: made.update({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": wrong}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}})))
    yield one("a merge of unknown words", ["tokenizer.json", "zz"], with_tokenizer(
        lambda made: made["model"].update(merges=[["zz", "yy"]])))
    yield one("a merge of one word", ["tokenizer.json", "merge"], with_tokenizer(
        lambda made: made["model"].update(merges=["ab"])))
    yield one("no model", ["tokenizer.json", "model"], with_tokenizer(lambda made: made.pop("model")))
    yield one("no vocabulary", ["tokenizer.json", "vocab"], with_tokenizer(
        lambda made: made["model"].pop("vocab")))
    yield one("an id twice", ["tokenizer.json", "0"], with_tokenizer(
        lambda made: made["model"]["vocab"].update({"zz": 0})))
    yield one("a negative id", ["tokenizer.json", "-1"], with_tokenizer(
        lambda made: made["model"]["vocab"].update({"zz": -1})))
    yield one("a page of the web", ["tokenizer.json"], with_file("tokenizer.json", "<html></html>"))
    yield one("a pointer of Git LFS", ["tokenizer.json", "git lfs"], with_file(
        "tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\n"))
    yield one("a SentencePiece model alone", ["tokenizer.model", "tokenizer.json"],
              with_file("tokenizer.model", b"\n\x0e\n\x05<unk>"), runs="yes, on token ids")
    yield one("Mistral's tekken.json alone", ["tekken.json", "tokenizer.json"],
              with_file("tekken.json", "{}"), runs="yes, on token ids")
    yield one("vocab.json and merges.txt alone", ["vocab.json", "tokenizer.json"], both(
        with_file("vocab.json", "{}"), with_file("merges.txt", "")), runs="yes, on token ids")
    yield one("no tokenizer at all", ["no tokenizer"], lambda path: None, runs="yes, on token ids")
    whole = with_tokenizer(lambda made: None)
    for source, said in broken_templates():
        yield one(f"template {source[:30]}", said, both(
            whole, with_file("chat_template.jinja", source)), runs="yes, with --raw")
    yield one("no template", ["no chat template"], whole, runs="yes, with --raw")
    for wrong, said in (({"chat_template": 7}, ["chat_template", "number"]),
                        ({"chat_template": [{"name": "rag", "template": "x"}]}, ["rag", "default"]),
                        ({"chat_template": [7]}, ["chat_template"])):
        yield one(f"tokenizer_config.json {json.dumps(wrong)[:40]}",
                  ["tokenizer_config.json", *said], both(
                      whole, with_file("tokenizer_config.json", wrong)), runs="yes, with --raw")
    yield one("tokenizer_config.json is not an object", ["tokenizer_config.json"], both(
        whole, with_file("tokenizer_config.json", "[]")))


# ---------------------------------------------------------------- files that are not models

def other_files(chance):
    def one(name, content, said, file="model.gguf"):
        def build(folder):
            path = folder / file
            path.write_bytes(content)
            return path
        return Case(f"a file: {name}", build, said)

    weights = (TINY / chance.choice(CAUSAL) / "model.safetensors").read_bytes()
    yield one("safetensors", weights, ["safetensors", "folder"], "model.safetensors")
    yield one("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:"
              + b"a" * 64 + b"\nsize 98362432\n", ["Git LFS", "git lfs pull"])
    yield one("a page of the web", b"<!DOCTYPE html>\n<html><head>" + b" " * 500,
              ["web page", "address"])
    yield one("a page of the web, shorter", b"<html><body>Not Found</body></html>", ["web page"])
    yield one("an error as JSON", b'{"error":"Invalid username or password."}', ["JSON"])
    yield one("config.json", (TINY / "llama" / "config.json").read_bytes(), ["JSON", "folder"],
              "config.json")
    yield one("a zip file, as PyTorch writes", b"PK\x03\x04" + bytes(500), ["PyTorch", "convert"],
              "pytorch_model.bin")
    yield one("a gzip file", b"\x1f\x8b\x08" + bytes(200), ["gzip"], "model.gguf.gz")
    yield one("Zstandard", b"\x28\xb5\x2f\xfd" + bytes(200), ["Zstandard"], "model.gguf.zst")
    yield one("GGML of before GGUF", b"lmgg" + bytes(200), ["GGML", "convert"], "ggml-model.bin")
    yield one("GGJT of before GGUF", b"tjgg" + bytes(200), ["GGML", "convert"], "ggml-model.bin")
    yield one("NumPy", b"\x93NUMPY" + bytes(200), ["NumPy"], "weights.npy")
    yield one("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(200), ["HDF5"], "tf_model.h5")
    yield one("a pickle", b"\x80\x02}q\x00" + bytes(200), ["PyTorch", "convert"], "model.bin")
    yield one("a program", b"\x7fELF" + bytes(200), ["'GGUF'"], "model.bin")
    yield one("Mach's text", b"hello there, this is a text", ["hell"], "model.txt")


def cases(seed):
    chance = random.Random(seed)
    for kind in (gguf_cases, config_cases, weight_cases, tokenizer_cases, other_files):
        yield from kind(chance)
