"""Makes tests/data/golden/tiny_gguf/FAMILY.gguf: what llama.cpp's converter makes of the folders that
make_tiny_models.py wrote.

    python3 tests/oracles/make_tiny_gguf.py LLAMA_CPP [FOLDER...]

LLAMA_CPP is the folder of llama.cpp in the source package of llama-cpp-python 0.3.36
(vendor/llama.cpp). Needs what make_tiny_models.py needs; no test does. The models have no tokenizer, so
that the converter's steps for vocabularies are left out.
"""
import json
import pathlib
import shutil
import sys
import tempfile

llama_cpp = pathlib.Path(sys.argv[1]).resolve()
sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]

import gguf  # noqa: E402
from conversion import ModelBase, ModelType, get_model_architecture, get_model_class  # noqa: E402

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden"
FOLDERS = ["gemma2", "gemma3", "phi3", "phi3_long", "olmo2", "smollm3", "granite", "glm4",
           "llama_biased", "mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "roberta", "xlm_roberta", "distilbert",
           "modernbert"]


def convert(name, scratch):
    folder = scratch / name
    shutil.copytree(GOLDEN / "tiny" / name, folder)
    # The converter's step for Gemma counts the tokens.
    vocabulary = {str(i): i for i in range(96)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary},
                                                       "added_tokens": []}))
    hparams = ModelBase.load_hparams(folder, False)
    kind = get_model_class(get_model_architecture(hparams, ModelType.TEXT))
    out = GOLDEN / "tiny_gguf" / f"{name}.gguf"
    out.parent.mkdir(exist_ok=True)
    model = kind(folder, gguf.LlamaFileType.ALL_F32, out)
    model.set_vocab = lambda: None
    model.write()
    print(name, out.stat().st_size, "bytes")


with tempfile.TemporaryDirectory() as scratch_folder:
    for chosen in sys.argv[2:] or FOLDERS:
        convert(chosen, pathlib.Path(scratch_folder))
