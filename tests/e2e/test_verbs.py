"""The verbs as scripts and people use them: objects, streams, what they say."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

import harness


def test_run_prints_the_object(alone):
    answer = alone.json("run", harness.MODEL, "The capital of France is", "--raw", "-n", 30)
    assert set(answer) == {"text", "token_ids", "prompt_token_ids", "finish_reason",
                           "cached_tokens", "prompt_tok_s", "decode_tok_s", "ttft_ms", "nodes"}
    assert answer["prompt_token_ids"] == [504, 3575, 282, 4649, 314]
    assert " Paris" in answer["text"]
    assert answer["prompt_tok_s"] > 0 and answer["decode_tok_s"] > 0 and answer["ttft_ms"] > 0


def test_one_token_has_no_rate(alone):
    words = ("run", harness.MODEL, "The capital of France is", "--raw", "-n", 1)
    answer = alone.json(*words)
    assert answer["decode_tok_s"] is None
    assert answer["prompt_tok_s"] > 0 and answer["ttft_ms"] > 0
    said = alone.troupe(*words).err
    assert re.search(r"5 tokens read at [0-9.]+ tokens/s, 1 written, the first after \d+ ms; ", said)
    assert " 0.0" not in said


def test_the_end_token_is_in_the_ids_and_not_in_the_text(alone):
    answer = alone.json("run", harness.MODEL, "Say hello.", "-n", 200)
    assert answer["finish_reason"] == "stop"
    assert answer["token_ids"][-1] == 2
    assert "<|im_end|>" not in answer["text"]


def test_stop_text_and_length(alone):
    words = ("run", harness.MODEL, "Count: 1, 2, 3,", "--raw", "-n", 20)
    whole = alone.json(*words)
    assert whole["finish_reason"] == "length"
    assert len(whole["token_ids"]) == 20
    middle = whole["text"][10:13]
    cut = alone.json(*words, "--stop", middle)
    assert cut["finish_reason"] == "stop"
    assert cut["text"] == whole["text"][:whole["text"].index(middle)]


def test_a_cut_answer_says_so(alone):
    words = ("run", harness.MODEL, "Count: 1, 2, 3,", "--raw")
    said = alone.troupe(*words, "-n", 20).err
    assert "answer ended at -n 20 tokens; a larger -n" in said, said
    said = alone.troupe(*words, "-n", 20, "-c", 16).err
    assert "answer ended where the context of 16 positions is full; a larger -c" in said, said
    assert alone.json(*words, "-n", 20, "-c", 16)["finish_reason"] == "length"
    assert "answer ended" not in alone.troupe(*words, "-n", 20, "--stop", "5").err
    assert "answer ended" not in alone.troupe("run", harness.MODEL, "Say hello.", "-n", 200).err


def test_text_and_stdin_and_ids_are_one(alone):
    text = "The capital of France is"
    answers = [alone.json("run", harness.MODEL, text, "--raw", "-n", 4),
               alone.json("run", harness.MODEL, "-", "--raw", "-n", 4, input=text),
               alone.json("run", harness.MODEL, "-", "--raw", "-n", 4, input=text + "\n"),
               alone.json("run", harness.MODEL, "--prompt-ids", "504,3575,282,4649,314", "-n", 4)]
    assert len({tuple(answer["token_ids"]) for answer in answers}) == 1


def test_results_on_stdout_all_else_on_stderr(alone):
    outcome = alone.troupe("run", harness.MODEL, "The capital of France is", "--raw", "-n", 8)
    assert outcome.status == 0
    expected = alone.json("run", harness.MODEL, "The capital of France is", "--raw", "-n", 8)
    assert outcome.out == expected["text"] + "\n"
    assert "using this process" in outcome.err
    assert re.search(r"tokens/s.*layers 0-29 on", outcome.err), outcome.err


def test_a_seed_is_drawn_and_said(alone):
    words = ("run", harness.MODEL, "A story:", "--raw", "-n", 16, "--temperature", "1.2")
    first = alone.troupe(*words)
    seed = re.search(r"--seed (\d+)", first.err)[1]
    assert alone.troupe(*words, "--seed", seed).out == first.out
    assert alone.troupe(*words).out != first.out
    assert "--seed" not in alone.troupe("run", harness.MODEL, "A", "--raw", "-n", 1).err


def test_pull_twice(alone):
    first = alone.json("pull", "smollm2-135m", env={"TROUPE_HOME": ""} | home_of_model())
    second = alone.json("pull", "smollm2-135m", env=home_of_model())
    assert not second["fetched"]
    assert {**first, "fetched": False} == second
    assert second["sha256"] == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert os.path.getsize(second["path"]) == second["bytes"] == 98362432
    listed = alone.json("ls", env=home_of_model())
    assert "smollm2-135m" in [entry["name"] for entry in listed["models"]]


def home_of_model():
    """The home whose store holds the test's model; skips where the model lies elsewhere."""
    path = os.path.realpath(harness.MODEL)
    folder = os.path.dirname(os.path.dirname(path))
    if os.path.basename(folder) != "store":
        pytest.skip("TROUPE_TEST_MODEL lies in no store")
    return {"TROUPE_HOME": os.path.dirname(folder)}


def test_names_and_hashes(alone):
    env = home_of_model()
    by_name = alone.json("tokenize", "smollm2-135m", "hello", env=env)
    sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert alone.json("tokenize", "sha256:" + sha256, "hello", env=env) == by_name
    assert alone.json("tokenize", harness.MODEL, "hello", env=env) == by_name


def test_bench(alone):
    result = alone.json("bench", harness.MODEL, "--threads", 1, "--prompt", 32, "--decode", 4,
                        "--repeats", 2, "--batch", "1,3")
    assert set(result) == {"prompt_tok_s_median", "prompt_tok_s_best", "decode_tok_s_median",
                           "decode_tok_s_best", "batch", "isa", "rss_bytes"}
    assert [one["n"] for one in result["batch"]] == [1, 3]
    assert all(one["decode_tok_s"] > 0 for one in result["batch"])
    assert result["prompt_tok_s_best"] >= result["prompt_tok_s_median"] > 0
    assert result["decode_tok_s_best"] >= result["decode_tok_s_median"] > 0
    assert result["rss_bytes"] > 50 << 20
    forced = alone.json("bench", harness.MODEL, "--threads", 1, "--prompt", 4, "--decode", 1,
                        "--repeats", 1, env={"TROUPE_ISA": "scalar"})
    assert forced["isa"] == "scalar"


def test_bench_shared_prefix(alone):
    result = alone.json("bench", harness.MODEL, "--threads", 2, "--shared-prefix", 200,
                        "--requests", 3, "--decode", 4, "--repeats", 1)
    assert {name: result[name] for name in ("requests", "prefix_tokens", "end_tokens",
                                            "decode_tokens")} == {
        "requests": 3, "prefix_tokens": 200, "end_tokens": 16, "decode_tokens": 4}
    # Three blocks of 64 tokens, which the first request of three computes if nobody did.
    assert result["cached_tokens"] == {"cold": 2 * 192, "warm": 3 * 192}
    assert set(result["tok_s"]) == {"apart", "cold", "warm"}
    assert all(rate > 0 for rate in result["tok_s"].values())
    assert 0 < result["first_token_ms"]["warm"] < result["first_token_ms"]["cold"]
    for *wrong, named in (("--shared-prefix", 0, "--shared-prefix"), ("--requests", 4, "--requests"),
                          ("--shared-prefix", 64, "--batch", "1", "--batch"),
                          ("--shared-prefix", 64, "--layers", "0-29", "--layers")):
        outcome = alone.troupe("bench", harness.MODEL, *wrong)
        assert outcome.status == 2 and named in outcome.err, str(outcome)
    long = alone.troupe("bench", harness.MODEL, "--shared-prefix", 1 << 20, "--repeats", 1)
    assert long.status == 2 and "context" in long.err, str(long)


def test_perplexity(alone, golden):
    result = alone.json("perplexity", harness.MODEL, "-f", harness.GPL, "--window", 512,
                        "--windows", 4)
    recorded = golden("smollm2_logits.json")["perplexity"]
    assert len(result["window_nll"]) == 4
    # Quantized activations move the mean by about 0.1 %; the recorded run has none.
    assert abs(result["mean_nll"] / recorded["mean_nll"] - 1) < 0.005


@pytest.mark.no_model
def test_doctor(alone):
    found = alone.json("doctor")
    assert found["cpu"]["usable"] >= 1
    assert "scalar" in found["isa"]["supported"]
    assert found["memory"]["total_bytes"] > 0
    assert found["memory_bandwidth_bytes_s"] > 1e8
    assert isinstance(found["missing"], list)
    assert isinstance(found["gpu"]["devices"], list)
    cuda = found["gpu"]["cuda"]
    assert bool(cuda["usable"]) == (cuda["why_off"] is None)
    assert found["huge_pages"]["page_bytes"] >= 4096
    assert found["limits"]["nofile"] > 0 and "memlock" in found["limits"]
    assert found["python3"]["found"], "it runs this test"
    assert alone.troupe("doctor").out.startswith("cpu ")


@pytest.mark.no_model
def test_a_gpu_that_is_not_there_is_refused_in_words(alone):
    why = alone.json("doctor")["gpu"]["cuda"]["why_off"] or "there is no GPU cuda:99"
    for verb in (["run", "nothing", "hello", "--cluster", "none"], ["bench", "nothing"],
                 ["serve", "nothing", "--cluster", "none"]):
        wrong = alone.troupe(*verb, "--device", "gpu")
        assert wrong.status == 2 and "such as cuda:0" in wrong.err
    missing = alone.troupe("bench", "nothing", "--device", "cuda:99")
    assert missing.status != 0 and why in missing.err


@pytest.mark.no_model
def test_help_and_version(alone):
    assert re.fullmatch(r"troupe \d+\.\d+\.\d+\n", alone.troupe("--version").out)
    overview = alone.troupe("--help")
    assert overview.status == 0
    verbs = re.findall(r"^  (\w+) +\w", overview.out.split("Subcommands:")[1].split("\n\n")[0], re.M)
    assert {"start", "stop", "status", "nodes", "ps", "doctor", "pull", "ls", "rm", "show", "run",
            "tokenize", "detokenize", "render", "perplexity", "logits", "bench"} <= set(verbs)
    for verb in verbs:
        text = alone.troupe(verb, "--help")
        assert text.status == 0, verb
        examples = text.out.split("Examples:\n")[1]
        assert re.search(rf"^  troupe {verb}\b", examples, re.M), verb
    assert alone.troupe().status == 2


@pytest.mark.no_model
def test_start_and_stop(place):
    port = harness.free_port()
    head = place.spawn("start", "--listen", f"127.0.0.1:{port}", stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL)
    line = head.stdout.readline().decode()
    assert re.fullmatch(rf"troupe start --join \S+@127\.0\.0\.1:{port}\n", line)
    node_home = place.folder / "node"
    node = place.spawn(*line.split()[1:], "--home", node_home, "--listen",
                       f"127.0.0.1:{harness.free_port()}", stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while len(place.json("nodes")["nodes"]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    status = place.json("status")
    assert {"role", "cluster", "nodes", "deployments", "counters"} <= set(status)
    assert {"name", "address", "state", "layers", "weights_bytes", "kv_bytes",
            "threads"} <= set(status["nodes"][0])
    assert place.json("ps")["deployments"] == []
    assert place.troupe("status").out.startswith("cluster ")
    assert place.json("stop", "--all")["all"] is True
    assert head.wait(10) == 0
    assert node.wait(10) == 0
    assert place.troupe("stop").status == 1
    assert head.stdout.read() == b"", "one line on stdout and no more"


@pytest.mark.no_model
def test_a_head_finds_its_nodes_again(place):
    """The same homes, started again: the token still holds, the node needs no new one."""
    head = place.start("head", "--head")
    node = place.start("node", "--join", head.join)
    node.stop()
    head.stop()
    again = place.start("head", "--head", port=head.port)
    assert again.join != head.join
    place.start("node", "--join", head.join, port=node.port)
    names = [entry["name"] for entry in place.json("nodes", "--cluster", again.address)["nodes"]]
    assert sorted(names) == ["head", "node"]


def test_environment_and_flag_choose_the_cluster(place):
    head = place.start("head", "--head")
    other = place.start("other", "--head", "--no-work")
    by_variable = place.troupe("status", env={"TROUPE_CLUSTER": head.address})
    assert head.address in by_variable.err
    by_flag = place.troupe("status", "--cluster", other.address,
                           env={"TROUPE_CLUSTER": head.address})
    assert other.address in by_flag.err
    nobody = place.troupe("run", harness.MODEL, "hi", "--cluster", other.address, timeout=30)
    assert nobody.status == 1, "a cluster where nobody works cannot answer"


def test_the_object_is_the_last_thing_on_stdout(alone):
    outcome = alone.troupe("run", harness.MODEL, "hi", "-n", 2, "--json")
    assert json.loads(outcome.out)["finish_reason"] == "length"
    assert outcome.out.count("\n") == 1


def test_interrupted_before_its_first_token(tmp_path):
    """An answer whose turn has not come ends at once, too."""
    cluster = harness.Cluster(tmp_path, 1)
    try:
        words = ("run", harness.MODEL, "--raw", "--cluster", cluster.head.address)
        cluster.place.troupe(*words, "Hi", "-n", 1)
        ids = [100 + 7 * i % 40000 for i in range(6000)]
        long = [cluster.place.spawn(*words, *harness.ids_flag(ids[i:]), "-n", 1,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for i in range(8)]
        time.sleep(1)
        # A short prompt would pass the long ones.
        asked = cluster.place.spawn(*words, *harness.ids_flag(ids[8:]), "-n", 4,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.5)
        began = time.monotonic()
        asked.send_signal(signal.SIGINT)
        out, err = asked.communicate(timeout=20)
        assert any(process.poll() is None for process in long), "there was no queue"
        assert asked.returncode == 130 and time.monotonic() - began < 2, err
        assert out.strip() == b"", "its turn had come"
    finally:
        cluster.close()


@pytest.mark.parametrize("where", ["none", "three"])
def test_interrupted_in_the_middle(three, where):
    """What was written until then, and that it was cancelled: no end of the model's own."""
    ends = ("--logit-bias", "0=-100", "--logit-bias", "2=-100")  # the model writes none of its end tokens
    asked = three.place.spawn("run", harness.MODEL, "Once", "--raw", "-n", 8000, "--json", "-vv",
                              *ends, "--cluster", three.head.address if where == "three" else where,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if where == "three":
        deadline = time.monotonic() + 60
        while not any(one["running"] for one in three.status()["deployments"]):
            assert time.monotonic() < deadline
    else:
        assert any(b"accepted: " in line for line in asked.stderr)
    time.sleep(1)
    asked.send_signal(signal.SIGINT)
    out, err = asked.communicate(timeout=20)
    assert asked.returncode == 130, err
    answer = json.loads(out)
    assert answer["finish_reason"] == "cancelled" and "error" not in answer
    assert 0 < len(answer["token_ids"]) < 8000 and answer["text"]
