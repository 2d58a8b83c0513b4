"""`troupe plan`: which layers go where, measured and predicted before any lies there."""
import re

import concurrent.futures
import time

import harness

PROMPT = "The capital of France is"


def test_plan_measures_predicts_and_is_kept(tmp_path, alone):
    cluster = harness.Cluster(tmp_path, 1)
    try:
        plan = cluster.place.json("plan", harness.MODEL, "--context", 1024, "--cluster",
                                  cluster.head.address)
        assert plan["context"] == 1024
        assert {node["name"] for node in plan["nodes"]} == {"head", "node-1"}
        for node in plan["nodes"]:
            cost = node["cost"]
            assert 0 < cost["layer_row_us"] <= 1.5 * cost["layer_rows_us"] < 1e6, node
            assert cost["layer_prompt_row_us"] < cost["layer_row_us"], "many rows share the weights"
            assert cost["head_row_us"] > cost["layer_row_us"], "49,152 rows of weights, not 9,000"
        ways = {(way["from"], way["to"]): way for way in plan["ways"]}
        assert 1 < ways["head", "node-1"]["latency_us"] < 1e6
        assert 1e6 < ways["head", "node-1"]["bytes_s"] < 1e11
        for name in ("prompt_tok_s", "decode_tok_s", "streams_tok_s"):
            assert plan["prediction"][name] > 1
        assert plan["equal_split"]["layers"] == "0-14,15-29"
        assert plan["whole_on"] == ["head", "node-1"]
        # Nothing has been loaded, and no weights have been fetched.
        status = cluster.status()
        assert status["deployments"] == []
        assert all(node["weights_fetched_bytes"] < 10e6 for node in status["nodes"])
        # The measurements decide where the layers are placed.
        answer = cluster.run(PROMPT, "--raw", "-n", 8)
        expected = alone.json("run", harness.MODEL, PROMPT, "--raw", "-n", 8)
        assert answer["token_ids"] == expected["token_ids"]
        placed = cluster.place.json("plan", harness.MODEL, "--cluster", cluster.head.address)
        assert [stage["layers"] for stage in placed["stages"]] == \
            [stage["layers"] for stage in answer["nodes"]]
    finally:
        cluster.close()


def test_nothing_is_measured_again_after_a_restart(tmp_path):
    """The figures are equal to the last digit, as those of two measurements never are."""
    place = harness.Place(tmp_path)
    head = place.start("head", "--head")
    node = place.start("node", "--join", head.join)

    def costs():
        plan = place.json("plan", harness.MODEL, "--cluster", head.address)
        return {node["name"]: node["cost"] for node in plan["nodes"]}

    def wait_for_both():
        until = time.monotonic() + 10
        while True:
            nodes = place.json("nodes", "--cluster", head.address)["nodes"]
            if sum(one["state"] == "ready" for one in nodes) == 2:
                return
            assert time.monotonic() < until, nodes
            time.sleep(0.05)

    try:
        before = costs()
        assert set(before) == {"head", "node"}
        head.kill()
        head = place.start("head", "--head", port=head.port)
        wait_for_both()
        assert costs() == before
        node.kill()
        node = place.start("node", "--join", head.join)
        wait_for_both()
        assert costs() == before
        # Other threads are another device.
        node.kill()
        node = place.start("node", "--join", head.join, threads=2)
        wait_for_both()
        assert costs()["node"] != before["node"]
    finally:
        place.close()


def test_a_slow_node_gets_fewer_layers(tmp_path, alone):
    """Its kernels are plain C++: thirty times slower than vectors."""
    cluster = harness.Cluster(tmp_path, 1, envs=[None, {"TROUPE_ISA": "scalar"}])
    try:
        plan = cluster.place.json("plan", harness.MODEL, "--cluster", cluster.head.address)
        costs = {node["name"]: node["cost"] for node in plan["nodes"]}
        assert costs["node-1"]["layer_prompt_row_us"] > 3 * costs["head"]["layer_prompt_row_us"]
        layers = {stage["node"]: stage["layers"] for stage in plan["stages"]}
        first, last = map(int, layers["head"].split("-"))
        assert first == 0 and last >= 19, layers
        assert plan["prediction"]["prompt_tok_s"] > 1.3 * plan["equal_split"]["prompt_tok_s"]
        answer = cluster.run(PROMPT, "--raw", "-n", 8)
        expected = alone.json("run", harness.MODEL, PROMPT, "--raw", "-n", 8)
        assert answer["token_ids"] == expected["token_ids"]
        assert answer["nodes"][0]["layers"] == layers["head"]
    finally:
        cluster.close()


def test_the_context_that_is_asked_for_is_what_layers_are_sized_for(place):
    """-c counts in `run` as it does in `plan`; without it both count 4096 positions."""
    first = place.start("roomy", "--head")
    needs = [place.json("plan", harness.MODEL, "-c", context, "--cluster",
                        first.address)["memory_bytes"] for context in (512, 4096)]
    assert needs[0] < needs[1]
    first.stop()
    head = place.start("tight", "--head", "--memory", f"{sum(needs) // 2}B")
    at = ("--cluster", head.address)
    for verb in ("plan", "run"):
        words = (verb, harness.MODEL) + (() if verb == "plan" else (PROMPT, "-n", 4))
        assert "missing" in place.troupe(*words, *at).err
        place.json(*words, "-c", 512, *at)
    # A model that nobody uses would make room, as it does for a run.
    place.json("plan", harness.MODEL, "-c", 512, *at)


def test_two_plans_at_once_are_one_measurement(tmp_path):
    cluster = harness.Cluster(tmp_path, 1)
    try:
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            plans = list(pool.map(lambda pause: time.sleep(pause) or cluster.place.json(
                "plan", harness.MODEL, "--cluster", cluster.head.address), (0, 0.3, 0.6)))
        assert time.monotonic() - began < 15, "one of them waited until its patience was over"
        assert plans[0]["nodes"] == plans[1]["nodes"] == plans[2]["nodes"]
    finally:
        cluster.close()


def test_plan_of_one_process_and_what_it_refuses(alone, tmp_path):
    plan = alone.json("plan", harness.MODEL)
    assert [stage["layers"] for stage in plan["stages"]] == ["0-29"]
    assert plan["prediction"]["decode_tok_s"] > 1
    words = alone.troupe("plan", harness.MODEL)
    assert words.status == 0 and "predicted:" in words.out, str(words)
    wrong = alone.troupe("plan", harness.MODEL, "--context", 100000)
    assert wrong.status == 2 and "100000" in wrong.err, str(wrong)
    wrong = alone.troupe("plan", harness.MODEL, "--layers", "0-9,11-29")
    assert wrong.status == 2 and "missing" in wrong.err, str(wrong)
    wrong = alone.troupe("plan", harness.MODEL, "--nodes", "nobody")
    assert wrong.status == 1 and "'nobody'" in wrong.err, str(wrong)
    wrong = alone.troupe("plan", harness.MODEL, "--nodes", "local,local")
    assert wrong.status == 2 and "names 'local' more than once" in wrong.err, str(wrong)
    small = harness.Place(tmp_path)
    try:
        head = small.start("head", "--head", "--memory", "50MiB")
        outcome = small.troupe("plan", harness.MODEL, "--cluster", head.address)
        assert outcome.status == 1, str(outcome)
        # The numbers in the message add up, and it says for which context they were counted.
        said = re.search(r"needs ([\d.]+) MiB with keys and values of 4096 positions, and the node "
                         r"has ([\d.]+) MiB left: ([\d.]+) MiB are missing", outcome.err)
        needed, there, missing = (round(10 * float(number)) for number in said.groups())
        assert there == 500 and needed - there == missing > 0, str(outcome)
        forced = small.troupe("run", harness.MODEL, "hi", "--layers", "0-29", "--cluster",
                              head.address)
        said = re.search(r"layers 0-29 need ([\d.]+) MiB with keys and values of \d+ positions, and "
                         r"node head has ([\d.]+) MiB left: ([\d.]+) MiB are missing", forced.err)
        needed, there, missing = (round(10 * float(number)) for number in said.groups())
        assert there == 500 and needed - there == missing > 0, str(forced)
    finally:
        small.close()
