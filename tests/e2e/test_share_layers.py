"""Three daemons with a third of the layers each answer as one process does."""
import hashlib
import pathlib
import time

import harness
from file_server import FileServer

THIRDS = "0-9,10-19,20-29"
PROMPT = "The capital of France is"


def test_three_daemons_share_the_layers(three, alone):
    answer = three.run(PROMPT, "--raw", "-n", 24, "--layers", THIRDS)
    expected = alone.json("run", harness.MODEL, PROMPT, "--raw", "-n", 24)
    assert answer["token_ids"] == expected["token_ids"]
    assert answer["text"] == expected["text"]
    assert answer["finish_reason"] == expected["finish_reason"]
    assert [stage["layers"] for stage in answer["nodes"]] == THIRDS.split(",")
    assert len({stage["name"] for stage in answer["nodes"]}) == 3
    assert [stage["layers"] for stage in expected["nodes"]] == ["0-29"]


def test_a_chat_question_is_answered_across_them(three, alone):
    question = "Why is the sky blue?"
    answer = three.run(question, "-n", 16, "--layers", THIRDS)
    assert answer["token_ids"] == alone.json("run", harness.MODEL, question, "-n", 16)["token_ids"]
    assert len(answer["prompt_token_ids"]) > 10, "the chat template surrounds the question"


def test_no_daemon_holds_the_whole_model(three, tmp_path):
    three.run(PROMPT, "--raw", "-n", 1, "--layers", THIRDS)
    shared = {node["name"]: node for node in three.status()["nodes"]}
    assert {node["layers"] for node in shared.values()} == set(THIRDS.split(","))
    whole = harness.Cluster(tmp_path, 0)
    try:
        whole.run(PROMPT, "--raw", "-n", 1)
        total = whole.status()["nodes"][0]["weights_bytes"]
    finally:
        whole.close()
    weights = {name: node["weights_bytes"] for name, node in shared.items()}
    assert all(0 < share < 0.75 * total for share in weights.values()), weights
    # The embedding is tied to the output matrix: the first stage and the last each hold it.
    middle = [node["weights_bytes"] for node in shared.values() if node["layers"] == "10-19"][0]
    embedding = sum(weights.values()) - total
    assert 0 <= embedding < total / 2, (weights, total)
    for node in shared.values():
        holds_embedding = node["layers"] != "10-19"
        expected = middle + (embedding if holds_embedding else 0)
        assert abs(node["weights_bytes"] - expected) < 65536, (weights, total)


def test_a_hop_carries_one_hidden_state_a_position(three):
    three.run(PROMPT, "--raw", "-n", 1, "--layers", THIRDS)
    time.sleep(1)  # counters come with the heartbeats
    before = {node["layers"]: node for node in three.status()["nodes"]}
    # Rows of drafted tokens travel, too.
    answer = three.run(PROMPT, "--raw", "-n", 12, "--layers", THIRDS, "--no-speculation")
    time.sleep(1)
    after = {node["layers"]: node for node in three.status()["nodes"]}
    # The last token that is generated is not fed in again.
    positions = len(answer["prompt_token_ids"]) + len(answer["token_ids"]) - 1
    for layers in THIRDS.split(","):
        sent = after[layers]["hidden_bytes_out"] - before[layers]["hidden_bytes_out"]
        is_last = layers.endswith("29")
        assert sent == (0 if is_last else positions * harness.CHANNELS * 4), (layers, positions)


def test_this_homes_daemon_is_the_cluster(three):
    """Without --cluster, a client with the head's home finds it, and says so."""
    outcome = three.place.troupe("run", harness.MODEL, PROMPT, "--raw", "-n", 2, "--home",
                                 three.head.home)
    assert outcome.status == 0, str(outcome)
    assert three.head.address in outcome.err
    assert "layers" in outcome.err, "who ran what is said on stderr"


def test_a_token_is_all_that_another_machine_needs(three, tmp_path):
    """Another machine: no run-time folder in common."""
    elsewhere = harness.Place(tmp_path)
    words = ("run", harness.MODEL, PROMPT, "--raw", "-n", 4)
    expected = elsewhere.json(*words)["token_ids"]
    refused = elsewhere.troupe(*words, "--cluster", three.head.address)
    assert refused.status == 1, str(refused)
    # The line with which nodes join does not admit clients.
    wrong = elsewhere.troupe(*words, "--cluster", three.head.join)
    assert wrong.status == 1 and "for the role node" in wrong.err, str(wrong)
    token = three.place.json("key", "new", "--role", "user", "--cluster", three.head.address)["token"]
    answer = elsewhere.json(*words, "--cluster", token)
    assert answer["token_ids"] == expected


def test_the_head_serves_what_its_store_holds(tmp_path, alone):
    """A client that has no file names the model by its hash; the nodes fetch from the head."""
    content = pathlib.Path(harness.MODEL).read_bytes()
    server = FileServer(content)
    cluster = harness.Cluster(tmp_path, 2)
    try:
        digest = hashlib.sha256(content).hexdigest()
        cluster.place.json("pull", server.url(), "--name", "mine", "--sha256", digest, "--home",
                           cluster.head.home)
        words = (PROMPT, "--raw", "-n", 8)
        answer = cluster.place.json("run", "sha256:" + digest, *words, "--layers", THIRDS, "--cluster",
                                    cluster.head.address)
        assert answer["token_ids"] == alone.json("run", harness.MODEL, *words)["token_ids"]
        time.sleep(1)  # counters come with the heartbeats
        fetched = {node["layers"]: node["weights_fetched_bytes"]
                   for node in cluster.status()["nodes"]}
        assert fetched["0-9"] == 0, "the head has the file"
        assert 0 < fetched["10-19"] < fetched["20-29"] < len(content), fetched
    finally:
        cluster.close()
        server.shutdown()
        server.server_close()


def test_the_key_of_a_client_that_left_is_forgotten_everywhere(tmp_path):
    place = harness.Place(tmp_path)
    try:
        head = place.start("head", "--head", "--no-work")
        node = place.start("node", "--join", head.join, "-v")
        place.json("run", harness.MODEL, PROMPT, "--raw", "-n", 1, "--cluster", head.address)
        deadline = time.monotonic() + 5
        while "is no longer allowed" not in node.said():
            assert time.monotonic() < deadline, node.said()
            time.sleep(0.1)
    finally:
        place.close()


def test_a_home_that_joined_joins_again(tmp_path):
    place = harness.Place(tmp_path)
    try:
        head = place.start("head", "--head")
        node = place.start("node", "--join", head.join)
        assert node.stop() == 0, node.said()
        again = place.start("node", port=node.port)
        assert again.ready["role"] == "node" and head.address in again.said()
        names = [entry["name"] for entry in place.json("status", "--cluster", head.address)["nodes"]
                 if entry["state"] == "ready"]
        assert sorted(names) == ["head", "node"]
        assert again.stop() == 0, again.said()
        refused = place.troupe("start", "--head", "--home", node.home)
        assert refused.status == 2 and "--home" in refused.err, str(refused)
        refused = place.troupe("start", "--join", head.join, "--home", head.home, "--listen",
                               node.address)
        assert refused.status == 1, "its daemon runs: " + str(refused)
        assert head.stop() == 0, head.said()
        refused = place.troupe("start", "--join", head.join, "--home", head.home)
        assert refused.status == 2 and "--home" in refused.err, str(refused)
    finally:
        place.close()


def test_bench_measures_the_cluster(three):
    flags = ("--prompt", 24, "--decode", 6, "--repeats", 1, "--batch", "1,3")
    result = three.place.json("bench", harness.MODEL, *flags, "--layers", THIRDS, "--cluster",
                              three.head.address)
    assert result["prompt_tok_s_median"] > 0 and result["decode_tok_s_best"] > 0
    assert [one["n"] for one in result["batch"]] == [1, 3]
    assert all(one["decode_tok_s"] > 0 for one in result["batch"])
    assert [node["layers"] for node in result["nodes"]] == THIRDS.split(",")
    # Three processes hold the model's 98 MB, and the tied embedding twice.
    assert 98e6 < result["rss_bytes"] < 10 * 98e6
    assert result["isa"] in ("scalar", "avx2", "avx512")
    here = three.place.json("bench", harness.MODEL, *flags[:6], env={"TROUPE_CLUSTER": "none"})
    assert set(here) == set(result) - {"nodes"}
    for wrong in (("--threads", 1, "--cluster", three.head.address), ("--layers", THIRDS),
                  ("--replicas",)):
        outcome = three.place.troupe("bench", harness.MODEL, *flags, *wrong)
        assert outcome.status == 2 and wrong[0] in outcome.err, str(outcome)


def test_f16_activations_do_not_depend_on_the_split(three, alone):
    """Rounded after every layer in one process, too: the same tokens, half the bytes between."""
    words = (PROMPT, "--raw", "-n", 24, "--activations", "f16", "--logprobs", 1)
    expected = alone.json("run", harness.MODEL, *words)
    plain = alone.json("run", harness.MODEL, PROMPT, "--raw", "-n", 24, "--logprobs", 1)
    assert expected["logprobs"] != plain["logprobs"], "rounding changes bits"
    for layers in ("0-29", "0-12,13-29", THIRDS):
        time.sleep(1)  # counters come with the heartbeats
        before = {node["name"]: node for node in three.status()["nodes"]}
        answer = three.run(*words, "--layers", layers, "--no-speculation")
        assert answer["token_ids"] == expected["token_ids"]
        assert answer["logprobs"] == expected["logprobs"]
        time.sleep(1)
        sent = sum(node["hidden_bytes_out"] - before[node["name"]]["hidden_bytes_out"]
                   for node in three.status()["nodes"])
        positions = len(answer["prompt_token_ids"]) + len(answer["token_ids"]) - 1
        assert sent == layers.count(",") * positions * harness.CHANNELS * 2
