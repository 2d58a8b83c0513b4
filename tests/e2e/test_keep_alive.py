"""Models stay loaded for --keep-alive, go when asked, and are placed where there is memory."""
import re
import threading
import time

import pytest

import harness
from test_bad_input import check


def deployments(place, head):
    return place.json("ps", "--cluster", head.address)["deployments"]


def ask(place, head, *flags, **more):
    return place.json("run", harness.MODEL, "The capital of France is", "--raw", "-n", 4,
                      "--cluster", head.address, *flags, **more)


def wait_until(done, seconds=20):
    harness.wait_until("the models are not in the state that is expected", done, seconds)


def test_a_model_goes_after_its_time_and_comes_back(place):
    head = place.start("head", "--head", "--keep-alive", "3s")
    node = place.start("node", "--join", head.join)
    first = ask(place, head, "--layers", "0-14,15-29")
    [loaded] = deployments(place, head)
    assert loaded["keep_alive_s"] == 3 and 0 < loaded["unload_in_s"] <= 3 and not loaded["busy"]
    assert re.search(r"\b[123]s\b", place.troupe("ps", "--cluster", head.address).out)
    time.sleep(2)
    again = ask(place, head)  # every request restarts the time
    asked = time.monotonic()
    assert again["token_ids"] == first["token_ids"]
    time.sleep(max(0, asked + 2 - time.monotonic()))
    assert len(deployments(place, head)) == 1
    wait_until(lambda: deployments(place, head) == [], 5)
    assert time.monotonic() - asked > 2.5
    nodes = {entry["name"]: entry for entry in place.json("status", "--cluster", head.address)["nodes"]}
    wait_until(lambda: all(
        entry["weights_bytes"] == 0
        for entry in place.json("status", "--cluster", head.address)["nodes"]), 5)
    assert nodes["node"]["layers"] == ""
    assert "nobody has used it for 3 s" in head.said()
    assert ask(place, head)["token_ids"] == first["token_ids"]
    assert node.alive()


def test_no_time_at_all_and_for_ever(place):
    head = place.start("head", "--head", "--keep-alive", "0")
    expected = ask(place, head)["token_ids"]
    wait_until(lambda: deployments(place, head) == [], 5)
    # Three requests run at once, and none unloads the model that the others use.
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(place, head)["token_ids"]))
               for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 3
    ever = place.start("ever", "--head", "--keep-alive", "forever")
    ask(place, ever)
    [loaded] = deployments(place, ever)
    assert loaded["keep_alive_s"] is None and loaded["unload_in_s"] is None
    assert "forever" in place.troupe("ps", "--cluster", ever.address).out


def test_a_model_that_lost_a_node_stays_its_time_and_goes(place):
    head = place.start("head", "--head", "--keep-alive", "6s")
    node = place.start("node", "--join", head.join)
    expected = ask(place, head, "--layers", "0-14,15-29")["token_ids"]
    [loaded] = deployments(place, head)
    # The client that brought the model is gone, so the node's layers must lie on the head's disk, too.
    wait_until(lambda: [stage["disks"] for stage in deployments(place, head)[0]["stages"]] == [2, 2])
    node.kill()
    wait_until(lambda: [d["state"] for d in deployments(place, head)] == ["ready"], 3)
    [moved] = deployments(place, head)
    assert moved["id"] == loaded["id"] and moved["epoch"] > loaded["epoch"]
    assert [stage["node"] for stage in moved["stages"]] == ["head"]
    assert ask(place, head)["token_ids"] == expected
    [asked] = deployments(place, head)
    assert asked["id"] == loaded["id"] and asked["requests"] == 2
    assert 0 < asked["unload_in_s"] <= 6
    wait_until(lambda: deployments(place, head) == [], 10)


def test_unloading_what_waits_for_a_node(place):
    head = place.start("head", "--head", "--no-work")
    node = place.start("node", "--join", head.join)
    ask(place, head)
    node.kill()
    wait_until(lambda: [d["state"] for d in deployments(place, head)] == ["waiting"], 5)
    [waiting] = deployments(place, head)
    assert waiting["unload_in_s"] is None
    assert place.troupe("unload", harness.MODEL, "--cluster", head.address).status == 0
    assert deployments(place, head) == []


def test_unload(place):
    head = place.start("head", "--head")
    ask(place, head)
    [loaded] = deployments(place, head)
    gone = place.json("unload", harness.MODEL, "--cluster", head.address)
    assert gone["model_id"] == loaded["model_id"] and gone["deployments"] == 1
    assert deployments(place, head) == []
    check(place.troupe("unload", harness.MODEL, "--cluster", head.address), 1,
          f"not loaded '{harness.MODEL}'")
    ask(place, head)
    by_name = place.troupe("unload", loaded["model"], "--cluster", head.address)
    assert by_name.status == 0, str(by_name)
    ask(place, head)
    assert place.troupe("unload", "model:" + loaded["model_id"], "--cluster",
                        head.address).status == 0
    check(place.troupe("unload", "no-such-model", "--cluster", head.address), 1, "no-such-model")


def test_deployments_of_one_model_are_told_apart(place):
    """Only what is not as usual is said."""
    head = place.start("head", "--head")
    for flags, kv, activations, said in (
            ((), None, "f32", ""), (("--kv", "f32"), "f32", "f32", " (kv f32)"),
            (("--activations", "f16"), None, "f16", " (activations f16)"),
            (("--kv", "f16", "--activations", "f16"), "f16", "f16", " (kv f16, activations f16)")):
        ask(place, head, *flags)
        [loaded] = deployments(place, head)
        assert (loaded["kv"], loaded["activations"], loaded["replica"]) == (kv, activations, False)
        for verb in ("ps", "status"):
            out = place.troupe(verb, "--cluster", head.address).out
            assert f"{loaded['model']}{said}  ready  0-29 on head" in out, out


def test_bytes_are_those_that_are_there(place):
    """Not those of a node that died, and once where two deployments share them."""
    head = place.start("head", "--head", "--no-work")
    node = place.start("node", "--join", head.join)
    ask(place, head)
    [loaded] = deployments(place, head)
    weights = loaded["stages"][0]["weights_bytes"]
    long = place.spawn("run", harness.MODEL, "Tell me a very long story.", "-n", 2000,
                       "--temperature", "1.0", "--seed", 1, "--cluster", head.address,
                       stdout=harness.subprocess.DEVNULL, stderr=harness.subprocess.DEVNULL)
    wait_until(lambda: deployments(place, head)[0]["running"] == 1)
    ask(place, head, "--kv", "f32")
    assert [d["stages"][0]["weights_bytes"] for d in deployments(place, head)] == [weights] * 2

    def of_node():
        nodes = place.json("status", "--cluster", head.address)["nodes"]
        return [entry["weights_bytes"] for entry in nodes if entry["name"] == "node"]

    wait_until(lambda: weights <= of_node()[0] < 1.1 * weights, 5)
    long.kill()
    place.json("unload", harness.MODEL, "--force", "--cluster", head.address)
    ask(place, head)
    assert deployments(place, head)[0]["stages"][0]["weights_bytes"] == weights
    node.kill()
    wait_until(lambda: deployments(place, head)[0]["state"] == "waiting", 5)
    assert deployments(place, head)[0]["stages"][0]["weights_bytes"] == 0
    assert of_node() == [0]


def test_unloading_what_is_in_use(place):
    head = place.start("head", "--head")
    ask(place, head)
    long = place.spawn("run", harness.MODEL, "Tell me a very long story.", "-n", 2000,
                       "--temperature", "1.0", "--seed", 1, "--cluster", head.address,
                       stdout=harness.subprocess.PIPE, stderr=harness.subprocess.PIPE)
    wait_until(lambda: deployments(place, head)[0]["running"] == 1)
    assert "in use" in place.troupe("ps", "--cluster", head.address).out
    check(place.troupe("unload", harness.MODEL, "--cluster", head.address), 1, "in use", "--force")
    assert long.poll() is None
    assert place.troupe("unload", harness.MODEL, "--force", "--cluster", head.address).status == 0
    _, err = long.communicate(timeout=20)
    assert long.returncode == 1 and b"troupe unload" in err, err


def test_a_watch_shows_what_is_under_way(place):
    """Tokens a second, what runs and what was answered, while an answer is written."""
    head = place.start("head", "--head")
    ask(place, head)
    shown = place.spawn("status", "--watch", "--interval", "0.3", "--cluster", head.address,
                        stdout=harness.subprocess.PIPE, stderr=harness.subprocess.DEVNULL, text=True)
    answer = place.json("run", harness.MODEL, "Count: 1, 2, 3,", "--raw", "-n", 150, "--cluster",
                        head.address)
    time.sleep(1)
    shown.terminate()
    out, _ = shown.communicate(timeout=10)
    rows = re.findall(r"ready +([\d.]+) +(\d+) +(\d+) +(\d+) +(\S.*)", out)
    busy = [row for row in rows if row[1] == "1"]
    assert busy and busy[-1][4] == "in use", out[-2000:]
    # A block shows the mean of a third of a second, and the answer's own rate is a mean, too.
    assert 0.2 < max(float(row[0]) for row in busy) / answer["decode_tok_s"] < 3, out[-2000:]
    assert rows[-1][1:4] == ("0", "0", "2") and rows[-1][4] != "in use"


def test_layers_go_where_there_is_memory(place):
    expected = ask(place, place.start("whole", "--head"))["token_ids"]
    # The head alone has too little memory: the model takes 98 MB, and keys and values come on top.
    head = place.start("head", "--head", "--memory", "60MiB", threads=2)
    place.start("a", "--join", head.join, "--memory", "300MiB")
    answer = ask(place, head)
    assert answer["token_ids"] == expected
    layers = {stage["name"]: stage["layers"] for stage in answer["nodes"]}
    nodes = {entry["name"]: entry for entry in place.json("status", "--cluster", head.address)["nodes"]}
    assert nodes["head"]["memory_bytes"] == 60 << 20
    assert nodes["head"]["weights_bytes"] < 60 << 20
    first, last = map(int, layers["a"].split("-"))
    assert last == 29 and last - first >= 18, layers
    # An explicit split does not fit.
    check(place.troupe("run", harness.MODEL, "hi", "--cluster", head.address, "--layers",
                       "0-19,20-29"), 1, "layers 0-19", "node head", "are missing", "--memory")


def test_too_little_memory(place):
    head = place.start("head", "--head", "--memory", "40MiB")
    outcome = place.troupe("run", harness.MODEL, "hi", "--cluster", head.address)
    check(outcome, 1, "are missing", "--memory")
    assert re.search(r"needs \d+\.\d MiB", outcome.err), outcome.err
    place.start("a", "--join", head.join, "--memory", "300MiB")
    assert ask(place, head)["finish_reason"]


def needed_bytes(place, model, *words):
    """What the error of a head without memory says that a model takes."""
    head = place.start("tiny-head", "--head", "--memory", "1KiB")
    outcome = place.troupe("run", model, *words, "--cluster", head.address)
    head.stop()
    number, unit = re.search(r"needs ([\d.]+) ([KM])iB", outcome.err).groups()
    return float(number) * (1 << 20 if unit == "M" else 1 << 10)


def test_nothing_makes_room_for_what_would_not_fit(place):
    head = place.start("head", "--head", "--memory", "160MiB")
    place.start("small", "--join", head.join, "--memory", "90MiB")
    words = ("run", harness.MODEL, "--raw", "-n", 1, "Hello", "--cluster", head.address)
    place.json(*words, "--layers", "0-23,24-29")
    [before] = deployments(place, head)
    for layers in ("0-2,3-29", "0-29"):
        check(place.troupe(*words, "--layers", layers), 1, "missing")
    [after] = deployments(place, head)
    assert (after["id"], after["epoch"]) == (before["id"], before["epoch"])


def test_a_model_that_nobody_uses_makes_room(place):
    """Where two models do not fit together, the one that is idle goes for the other."""
    tiny = harness.ROOT / "tests" / "data" / "golden" / "tiny" / "llama"
    words = ("--prompt-ids", "1,2,3", "-n", 2)
    # The figure is rounded up to a tenth of a MiB, and is less than the second model takes.
    large, small = needed_bytes(place, harness.MODEL, "hi"), needed_bytes(place, tiny, *words)
    assert 0.15 * (1 << 20) < small < large
    head = place.start("head", "--head", "--memory", int(large))
    expected = ask(place, head)["token_ids"]
    [loaded] = deployments(place, head)
    place.json("run", tiny, *words, "--cluster", head.address)
    [other] = deployments(place, head)
    assert other["model_id"] != loaded["model_id"]
    assert ask(place, head)["token_ids"] == expected
    assert [entry["model_id"] for entry in deployments(place, head)] == [loaded["model_id"]]


@pytest.mark.no_model
def test_unload_without_a_cluster(place):
    check(place.troupe("unload", "m"), 1, "troupe start")
