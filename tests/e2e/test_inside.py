"""What a model makes of texts, without running it: render, detokenize; chats of folders."""
import json
import re

import pytest

import harness
from tiny_folder import CHAT, TINY, Folder

TEMPLATES = harness.ROOT / "tests" / "data" / "templates"
MESSAGES = [{"role": "system", "content": "Be <|im_end|> brief."},
            {"role": "user", "content": "Hello, 2 < 3?"}]


def written(folder, name, value):
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def messages(tmp_path):
    return written(tmp_path, "messages.json", MESSAGES)


def chat_text(end="<|im_start|>assistant\n"):
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>" for m in MESSAGES) + end


def test_render_of_the_real_model(alone, golden, tmp_path):
    case = golden("smollm2_logits.json")["generations"][5]
    said = [{"role": "system", "content": "You answer in one word."},
            {"role": "user", "content": "What is the opposite of hot?"}]
    file = written(tmp_path, "m.json", said)
    plain = alone.troupe("render", harness.MODEL, "--messages", file)
    assert plain.status == 0 and plain.out == case["prompt"] and plain.err == ""
    assert alone.json("render", harness.MODEL, "--messages", file) == {"text": case["prompt"]}
    piped = alone.troupe("render", harness.MODEL, "--messages", "-", input=json.dumps(said))
    assert piped.out == case["prompt"]
    without = alone.troupe("render", harness.MODEL, "--messages", file, "--no-generation-prompt")
    assert case["prompt"] == without.out + "<|im_start|>assistant\n"


@pytest.mark.no_model
@pytest.mark.parametrize("files", [
    {"config": {"chat_template": CHAT}},
    {"config": {}, "chat_template__jinja": CHAT},
    {"config": {"chat_template": "old"}, "chat_template__jinja": CHAT},
    {"config": None, "chat_template__json": {"chat_template": CHAT}},
    {"config": {"chat_template": [{"name": "tool_use", "template": "t"},
                                  {"name": "default", "template": CHAT}]}},
])
def test_render_of_a_folder(place, messages, files):
    folder = Folder(place.folder / "model", **files)
    assert place.troupe("render", folder.path, "--messages", messages).out == chat_text()
    assert place.troupe("render", folder.path, "--messages", messages,
                        "--no-generation-prompt").out == chat_text(end="")


@pytest.mark.no_model
def test_a_chat_with_a_folder_needs_no_raw(place):
    folder = Folder(place.folder / "model", {"chat_template": CHAT, "eos_token": "<|im_end|>"})
    answer = place.json("run", folder.path, "Hi <|im_end|> you", "--system", "S", "-n", 5)
    text = "<|im_start|>system\nS<|im_end|><|im_start|>user\nHi "
    before = place.json("tokenize", folder.path, text)["ids"]
    behind = place.json("tokenize", folder.path, " you<|im_end|><|im_start|>assistant\n")["ids"]
    typed = place.json("tokenize", folder.path, "<|im_end|>", "--no-special")["ids"]
    assert len(typed) == len("<|im_end|>"), "what a user writes is not a special token"
    assert answer["prompt_token_ids"] == before + typed + behind
    same = place.json("run", folder.path, "--prompt-ids", ",".join(map(str, before + typed + behind)),
                      "-n", 5)
    assert same["token_ids"] == answer["token_ids"]


@pytest.mark.no_model
def test_a_chat_without_a_template_is_plain_text(place):
    """A turn goes on from all that was written so far, and that is said at the start."""
    folder = Folder(place.folder / "model", {})
    words = ("run", folder.path, "-n", 4)
    first = place.json(*words, "--raw", "ab")["text"]
    second = place.json(*words, "--raw", f"ab{first}\ncd")["text"]
    talk = place.troupe(*words, input="ab\ncd\n")
    assert talk.status == 0 and talk.out == f"{first}\n{second}\n", str(talk)
    assert talk.err.count("has no chat template: turns are plain text") == 1, str(talk)
    again = place.troupe(*words, input="ab\n/clear\nab\n")
    assert again.out == f"{first}\n{first}\n", str(again)
    with_system = place.json(*words, "--raw", "S\nab")["text"]
    assert place.troupe(*words, "--system", "S", input="ab\n").out == with_system + "\n"


@pytest.mark.no_model
def test_special_tokens_of_a_folder(place, messages):
    """tokenizer_config.json says which they are, else special_tokens_map.json, in two notations."""
    template = "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}"
    configs = [
        {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": False},
         "pad_token": "<pad>"},
        {"bos_token": "<s>", "pad_token": None},
        {},
    ]
    for i, config in enumerate(configs):
        folder = Folder(place.folder / f"model-{i}", {"chat_template": template, **config},
                        special_tokens_map__json={"eos_token": "</s>",
                                                  "bos_token": {"content": "<s>"},
                                                  "pad_token": "<pad>"})
        assert place.troupe("render", folder.path, "--messages", messages).out == "<s>|</s>|<pad>"


@pytest.mark.no_model
def test_generation_ends_where_the_folder_says(place):
    folder = Folder(place.folder / "model", {"chat_template": CHAT})
    words = ("run", folder.path, "--prompt-ids", "5,6,7", "-n", 6)
    folder.write("generation_config.json", {"eos_token_id": 100})
    free = place.json(*words)
    assert free["finish_reason"] == "length" and len(free["token_ids"]) == 6
    last = free["token_ids"][2]
    folder.write("generation_config.json", {"eos_token_id": [100, last]})
    ended = place.json(*words)
    assert ended["finish_reason"] == "stop"
    assert ended["token_ids"] == free["token_ids"][:free["token_ids"].index(last) + 1]


@pytest.mark.no_model
def test_render_with_everything(place, messages):
    folder = Folder(place.folder / "model", {"chat_template": [
        {"name": "default", "template": "{{ documents[0].text }}{{ thinking }}"},
        {"name": "tool_use", "template": "{{ tools[0].name }}{{ messages|length }}"}]})
    tools = written(place.folder, "tools.json", [{"name": "find", "parameters": {}}])
    assert place.troupe("render", folder.path, "--messages", messages, "--tools",
                        tools).out == "find2"
    more = written(place.folder, "more.json", {"documents": [{"text": "ü"}], "thinking": False})
    assert place.json("render", folder.path, "--messages", messages, "--variables",
                      more) == {"text": "üFalse"}
    other = written(place.folder, "other.jinja", "{% for m in messages %}{{ m.role }}\n{% endfor %}")
    assert place.troupe("render", folder.path, "--messages", messages, "--template",
                        other).out == "system\nuser\n"
    made = place.troupe("render", folder.path, "--messages", messages, "--template",
                        TEMPLATES / "qwen25_tools.jinja", "--tools", tools)
    assert '<tools>\n{"name": "find", "parameters": {}}\n</tools>' in made.out


@pytest.mark.no_model
def test_render_says_what_is_wrong(place, messages):
    folder = Folder(place.folder / "model", {})
    bad = written(place.folder, "bad.json", "[{]")
    none = written(place.folder, "object.json", {})
    refuses = written(place.folder, "no.jinja", "{{ raise_exception('Not like this') }}")
    broken = written(place.folder, "broken.jinja", "a\n{% include 'x' %}")
    latin = place.folder / "latin.jinja"
    latin.write_bytes(b"caf\xe9")
    for flags, status, said in [
            (["--messages", messages], 1, "no chat template; give one with --template"),
            (["--messages", place.folder / "absent.json"], 1, "absent.json"),
            (["--messages", bad, "--template", refuses], 1, "bad.json"),
            (["--messages", none, "--template", refuses], 1, "object.json is a JSON object, "
                                                             "expected a list"),
            (["--messages", messages, "--template", refuses, "--variables", messages], 1,
             "messages.json is a JSON array, expected an object"),
            (["--messages", messages, "--template", refuses], 1, "Not like this"),
            (["--messages", messages, "--template", broken], 1, "line 2: the tag 'include'"),
            (["--messages", messages, "--template", broken], 1, "broken.jinja"),
            (["--messages", messages, "--template", refuses], 1, "no.jinja"),
            (["--messages", messages, "--template", latin], 1, "latin.jinja is not UTF-8"),
            (["--messages", bad, "--template", refuses], 1, "correct what is written there"),
            (["--messages", "-", "--tools", "-"], 2, "stdin"),
            ([], 2, "--messages")]:
        outcome = place.troupe("render", folder.path, *flags)
        assert outcome.status == status and said in outcome.err, str(outcome)
        assert outcome.out == "" and "fetch" not in outcome.err, str(outcome)
        as_json = place.troupe("render", folder.path, *flags, "--json")
        assert as_json.status == status and said in json.loads(as_json.out)["error"]["message"]


USER = {"role": "user", "content": "Hi"}


@pytest.mark.no_model
@pytest.mark.parametrize("message, said", [
    ("hi", "message 2 of 2: it is a JSON string, expected an object"),
    ({"content": "x"}, 'message 2 of 2: "role" is missing'),
    ({"role": 3, "content": "x"}, 'message 2 of 2: "role" is not text'),
    ({"role": "user"}, 'message 2 of 2: "content" is neither a text nor a list'),
    ({"role": "user", "content": 5}, '"content" is neither'),
    ({"role": "user", "content": {"text": "x"}}, '"content" is neither'),
    ({"role": "user", "content": ["x", 5]}, '"content" is neither'),
    ({"role": "assistant", "content": None}, '"content" is neither'),
    ({"role": "assistant", "content": None, "tool_calls": []}, '"content" is neither'),
])
def test_messages_that_are_none(place, message, said):
    folder = Folder(place.folder / "model", {"chat_template": CHAT})
    file = written(place.folder, "chat.json", [USER, message])
    outcome = place.troupe("render", folder.path, "--messages", file)
    assert outcome.status == 1 and said in outcome.err and "chat.json" in outcome.err, str(outcome)
    assert "fetch" not in outcome.err


@pytest.mark.no_model
@pytest.mark.parametrize("message", [
    {"role": "user", "content": [{"type": "text", "text": "x"}, "y"]},
    {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "find"}}]},
    {"role": "assistant", "tool_calls": [{"function": {"name": "find"}}]},
    {"role": "tool", "content": {"found": 3}},
])
def test_messages_that_are_no_texts(place, message):
    folder = Folder(place.folder / "model", {"chat_template": "{{ messages|length }}"})
    file = written(place.folder, "chat.json", [USER, message])
    assert place.troupe("render", folder.path, "--messages", file).out == "2"


@pytest.mark.no_model
@pytest.mark.parametrize("config, said", [
    ({"chat_template": 7}, "tokenizer_config.json"),
    ({"chat_template": [{"name": "rag", "template": ""}]}, "'rag'"),
    ({"chat_template": "{{ x"}, "line 1"),
])
def test_a_folder_with_a_bad_template(place, messages, config, said):
    folder = Folder(place.folder / "model", config)
    outcome = place.troupe("render", folder.path, "--messages", messages)
    assert outcome.status == 1 and said in outcome.err, str(outcome)
    outcome = place.troupe("run", folder.path, "Hi", "-n", 1)
    assert outcome.status == 1 and said in outcome.err and "--raw" in outcome.err, str(outcome)


def test_detokenize_is_the_way_back(alone):
    text = "The capital of France is <|im_end|>\n  Köln — 你好 👩‍👧 "
    ids = alone.json("tokenize", harness.MODEL, text)["ids"]
    listed = ",".join(map(str, ids))
    assert alone.json("detokenize", harness.MODEL, "--ids", listed) == {"text": text}
    assert alone.troupe("detokenize", harness.MODEL, "--ids", listed).out == text
    assert alone.troupe("detokenize", harness.MODEL, "--ids", "-", input=listed + "\n").out == text
    assert alone.troupe("detokenize", harness.MODEL, "--ids", listed,
                        "--no-special").out == text.replace("<|im_end|>", "")


def test_half_a_character(alone):
    ids = alone.json("tokenize", harness.MODEL, "\U00010348")["ids"]
    assert len(ids) > 1
    assert "\ufffd" in alone.troupe("detokenize", harness.MODEL, "--ids", ids[0]).out


@pytest.mark.no_model
def test_detokenize_says_what_is_wrong(place):
    folder = Folder(place.folder / "model", {})
    for ids, said in [("1,128", "128"), ("5,99999999", "99999999"), ("1,,2", "--ids"),
                      ("-1", "-1"), ("x", "'x'")]:
        outcome = place.troupe("detokenize", folder.path, f"--ids={ids}")
        assert outcome.status == 2 and said in outcome.err and outcome.out == "", str(outcome)
    assert place.troupe("detokenize", folder.path, "--ids", "0,100").out == "!<pad>"
    bare = place.troupe("detokenize", TINY, "--ids", "1,2")
    assert bare.status == 1 and "no tokenizer" in bare.err
    assert place.troupe("detokenize", folder.path).status == 2


@pytest.mark.no_model
@pytest.mark.parametrize("verb", ["render", "detokenize"])
def test_help_teaches(place, verb):
    text = place.troupe(verb, "--help").out
    assert re.search(rf"Examples:\n.*troupe {verb}", text, re.S)
